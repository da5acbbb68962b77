"""Corpora described by a table: every form it may have, and every fault."""

from __future__ import annotations

import json
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from stages import augment, evaluate, featurize, ingest, manifest, report, select, split, train
from stages.acquire import table
from stages.base import params
from stages.base.errors import InputError
from stages.base.files import MANIFEST, METRICS, PREDICTIONS, RAW, SELECTED
from stages.data import tables
from stages.splitting import protocols
from stages.splitting.leak import LeakError
from tests.support import long_splits, shipped

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = shipped.values()
FOLDER = Path("data/sources/calls")
TABLE = FOLDER / "labels.csv"
RATE_HZ = 16_000
COLUMNS = {"path": "file", "speaker": "who", "label": "felt"}
Project = Callable[..., None]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Moves into an empty project; returns what writes params.yaml and the table of the corpus `calls`."""
    monkeypatch.chdir(tmp_path)
    FOLDER.mkdir(parents=True)

    def write(content: str | bytes = "", /, split: dict[str, Any] | None = None, **block: Any) -> None:
        block = {"table": str(TABLE), "columns": COLUMNS} | block
        values = SHIPPED | {
            "corpus": ["calls"],
            "corpora": SHIPPED["corpora"] | {"calls": block},
            "split": SHIPPED["split"] | {"n_folds": 3} | (split or {}),
            "compute": SHIPPED["compute"] | {"workers": 1},
            "augment": SHIPPED["augment"] | {"copies": 0},
            "evaluate": {"n_resamples": 100},
            "report": {"n_audio": 1},
        }
        Path("params.yaml").write_text(json.dumps(values))
        if content:
            TABLE.write_bytes(content.encode() if isinstance(content, str) else content)

    return write


def sound(name: str, seconds: float = 0.5, seed: int = 0) -> None:
    path = FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng([seed, *name.encode()]).normal(0, 0.1, int(seconds * RATE_HZ))
    syllables = np.where(np.sin(20 * np.pi * np.arange(len(noise)) / RATE_HZ) > 0, 1, 0.1)
    soundfile.write(path, noise * syllables, RATE_HZ)


def listed() -> pd.DataFrame:
    """Runs ingest and manifest and returns the manifest by clip."""
    ingest.main()
    manifest.main()
    return tables.read(MANIFEST, tables.MANIFEST).set_index("clip")


def rows_of_calls() -> pd.DataFrame:
    """Returns the table of the corpus `calls` in one form."""
    rows: pd.DataFrame = params.read().corpus_of("calls").rows()
    return rows


def grid(labels: tuple[str, ...] = ("joy", "Anger", "awe"), speakers: str = "abc", takes: int = 2) -> str:
    """Writes a recording per speaker, label and take; returns the rows of a table."""
    rows = ["file,who,felt"]
    for speaker in speakers:
        for label in labels:
            for take in range(takes):
                name = f"{speaker}/{label}{take}.wav"
                sound(name)
                rows.append(f"{name},{speaker},{label}")
    return "\n".join(rows)


@pytest.mark.slow
def test_labels_that_nobody_knows_pass_through_the_whole_pipeline(project: Project) -> None:
    project(grid())
    for stage in (select, ingest, manifest, split, augment, featurize, train, evaluate, report):
        stage.main()
    assert set(long_splits.read()["label"]) == {"joy", "anger", "awe"}
    measured = json.loads((METRICS / "test.json").read_text())
    assert set(measured["recall"]) == {"joy", "anger", "awe"}
    assert measured["sex"] == {}
    assert "p_awe" in tables.read(PREDICTIONS, tables.PREDICTIONS)
    page = (METRICS / "report.html").read_text()
    assert "awe" in page
    assert 'id="sexes"' not in page


def test_facts_and_names_are_read_whatever_the_form_of_the_table(project: Project) -> None:
    names = ["a b.wav", "Größe/ü.wav"]
    for name in names:
        sound(name)
    header = "file;who;felt;gender;years;words;part\r\n"
    rows = "a b.wav;s1;hap;F;31;hello;train\r\nGröße\\ü.wav;s2;sad;;;;dev\r\n"
    optional = {"sex": "gender", "age": "years", "text": "words", "partition": "part"}
    labels = {"hap": "happiness", "sad": "sadness"}
    tabular = header.replace(";", "\t") + rows.replace(";", "\t")
    columns = COLUMNS | optional
    read = []
    for content in (
        (header + rows).encode(),
        (header + rows).encode("utf-8-sig"),
        (header + rows).encode("utf-16"),
        tabular.encode(),
    ):
        project(content, columns=columns, labels=labels)
        read.append(rows_of_calls())
    frame = pd.DataFrame([line.split(";") for line in rows.splitlines()], columns=header.strip().split(";"))
    frame.to_parquet(FOLDER / "labels.parquet")
    project(table=str(FOLDER / "labels.parquet"), columns=columns, labels=labels)
    read.append(rows_of_calls().assign(row=read[0]["row"]))
    for other in read[1:]:
        pd.testing.assert_frame_equal(other, read[0])
    table = listed()
    first, second = table.loc["calls/a b.wav"], table.loc["calls/Größe/ü.wav"]
    assert (first["problem"], second["problem"]) == ("", "")
    assert (first["speaker"], first["sex"], first["age"]) == ("calls/s1", "female", 31)
    assert (first["sentence"], first["emotion"], first["partition"]) == ("calls/hello", "happiness", "train")
    assert second[["sex", "age", "sentence"]].isna().all()
    assert (second["emotion"], second["partition"]) == ("sadness", "validation")


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ("/etc/x.wav,s,joy", ["row 2", "/etc/x.wav"]),
        ("C:\\\\x.wav,s,joy", ["row 2", "C:"]),
        ("a.wav,s,joy\n../x.wav,s,joy", ["row 3", "../x.wav"]),
        ("a.wav,s,joy\nb.wav,s,joy\na.wav,s,awe", ["rows 2 and 4", "a.wav"]),
        ("a.wav,s,joy+awe", ["row 2", "joy+awe"]),
        (",s,joy", ["row 2", "path"]),
        ("a.wav,s,joy\nb.wav,s,well, awe", ["row 3", "quotes", " awe"]),
    ],
)
def test_a_faulty_table_is_refused_with_row_and_value(project: Project, rows: str, named: list[str]) -> None:
    sound("a.wav")
    project(f"file,who,felt\n{rows}\n")
    with pytest.raises(InputError) as error:
        ingest.main()
    assert all(part in str(error.value) for part in [str(TABLE), *named])
    assert not list(RAW.rglob("*.wav"))


def test_rows_of_one_recording_may_be_segments_whose_columns_are_not_named(project: Project) -> None:
    rows = [
        "a.wav,s,joy,0,1,F",
        "a.wav,s,awe,1,2,F",
        "b.wav,s,joy,0,1,F",
        "b.wav,s,joy,1,2,F",
        "c.wav,s,joy,0,1,F",
    ]
    content = "\n".join(["file,who,felt,Beginn,Ende,sex", *rows])
    project(content)
    with pytest.raises(InputError) as error:
        rows_of_calls()
    named = [
        "rows 2 and 3",
        "'a.wav'; 4 rows",
        "params.corpora.calls.columns; not used so far: Beginn, Ende.",
    ]
    assert all(part in str(error.value) for part in named)
    columns = COLUMNS | {"start": "Beginn", "end": "Ende"}
    project(content, columns=columns)
    assert rows_of_calls()["problem"].tolist() == [""] * 5
    project(content.replace("a.wav,s,awe,1,2", "a.wav,s,awe,0,1"), columns=columns)
    with pytest.raises(InputError, match=r"2 rows share a recording with another row\. Keep one\.$"):
        rows_of_calls()


@pytest.mark.parametrize("name", ["felt", " felt "])
def test_a_column_that_occurs_twice_is_refused(project: Project, name: str) -> None:
    sound("a.wav")
    project(f"file,who,felt,{name}\na.wav,s,joy,awe\n")
    with pytest.raises(InputError, match=r"labels\.csv.*'felt'.*2 times"):
        ingest.main()


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_table_of_another_encoding_is_refused_with_the_row(project: Project, line_end: bytes) -> None:
    sound("a.wav")
    project("file,who,felt\na.wav,s,joy\n")
    TABLE.write_bytes(line_end.join([b"file,who,felt", b"a.wav,s,joy", b"b.wav,M\xfcller,joy", b""]))
    with pytest.raises(InputError, match=r"row 3, 'b\.wav,M.*UTF-8"):
        ingest.main()


@pytest.mark.parametrize(
    ("column", "cells", "named"),
    [
        ("sex", ("F", "x"), ["row 3", "'x'", "female", "man, or leave it empty"]),
        ("sex", ("F", "M"), ["row 3", "'s'", "row 2"]),
        ("age", ("31", "old"), ["row 3", "'old'"]),
        ("partition", ("train", "later"), ["row 3", "'later'", "partitions"]),
        ("start", ("0", "-1"), ["row 3", "'-1'"]),
        ("start", ("0", '"0,5"'), ["row 3", "'0,5'", "decimal point"]),
        ("channel", ("speech", "shout"), ["row 3", "'shout'", "song"]),
        ("clip", ("x", "x"), ["row 3", "'x'"]),
        ("clip", ("x", "y#1"), ["row 3", "'y#1'"]),
    ],
)
def test_a_wrong_cell_is_refused(
    project: Project, column: str, cells: tuple[str, str], named: list[str]
) -> None:
    for name in ("a.wav", "b.wav"):
        sound(name)
    project(f"file,who,felt,{column}\na.wav,s,joy,{cells[0]}\nb.wav,s,joy,{cells[1]}\n")
    with pytest.raises(InputError) as error:
        ingest.main()
    assert all(part in str(error.value) for part in [str(TABLE), *named])


@pytest.mark.parametrize(
    ("block", "named"),
    [
        ({"url": "javascript:alert(1)"}, ["params.corpora.calls.url", "https://"]),
        ({"columns": COLUMNS | {"sex": "gendre"}}, ["columns.sex", "'gendre'", "gender"]),
        ({"columns": {"path": "file", "speaker": "who"}}, [str(TABLE), "'label'", "felt"]),
        ({"columns": COLUMNS | {"colour": "who"}}, ["columns", "'colour'"]),
        ({"labels": {"hapy": "happiness"}}, ["labels", "'hapy'", "happy"]),
        ({"labels": {"happy": ""}}, ["params.corpora.calls.labels", "'happy'", "null"]),
        ({"partitions": {"happy": ""}}, ["params.corpora.calls.partitions", "'train'"]),
        ({"table": "/tmp/labels.csv"}, ["table", "/tmp/labels.csv"]),
        ({"table": "data/sources/../labels.csv"}, ["table", ".."]),
        ({"table": "data/sources/calls/nothing.csv"}, ["nothing.csv"]),
        ({"tabel": "x"}, ["tabel", "table"]),
    ],
)
def test_a_wrong_block_is_refused(project: Project, block: dict[str, Any], named: list[str]) -> None:
    project("file,who,felt,gender\na.wav,s,happy,F\n", **block)
    with pytest.raises(InputError) as error:
        ingest.main()
    assert all(part in str(error.value) for part in named)


def test_rows_that_cannot_be_used_are_excluded_with_their_reason(project: Project) -> None:
    for name in ("good.wav", "no_label.wav", "no_speaker.wav", "out.wav"):
        sound(name)
    project(
        "file,who,felt\ngood.wav,s,joy\nno_label.wav,s,\nno_speaker.wav,,joy\nout.wav,s,xxx\ngone.wav,s,joy\n",
        labels={"xxx": None},
    )
    problems = listed()["problem"]
    assert problems["calls/good.wav"] == ""
    for clip, reason in {
        "no_label": ["no label", "row 3"],
        "no_speaker": ["no speaker", "row 4"],
        "out": ["xxx", "row 5"],
        "gone": ["missing", "gone.wav", "row 6"],
    }.items():
        assert all(part in problems[f"calls/{clip}.wav"] for part in reason)


def test_rows_that_are_left_out_on_purpose_hide_no_missing_file(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", *"pqrstu"):
        sound(f"{name}.wav", seed=ord(name))
    left_out = "".join(f"{name}.wav,s,xxx\n" for name in "pqrstu")
    project(f"file,who,felt\n{left_out}a.wav,s,joy\nz1.wav,s,joy\nz2.wav,s,joy\n", labels={"xxx": None})
    listed()
    printed = capsys.readouterr().out.splitlines()
    start = printed.index("manifest: calls: 1 of 9 recordings are usable")
    assert printed[start + 1] == "  excluded: 8: 6 label left out, 2 missing"
    assert [line.split()[1:3] for line in printed[start + 2 : start + 5]] == [
        ["calls/z1.wav:", "missing:"],
        ["calls/z2.wav:", "missing:"],
        ["calls/p.wav:", "label"],
    ]


def test_a_table_without_a_usable_row_names_the_most_frequent_fault(project: Project) -> None:
    rows = "p.wav,s,xxx\nq.wav,s,xxx\nr.wav,s,xxx\nb.wav,s,\na.wav,s,joy\nc.wav,s,awe\n"
    project(f"file,who,felt\n{rows}", labels={"xxx": None})
    with pytest.raises(
        InputError, match=r"none of its 6 rows is usable; .*\(2 rows\): missing: a\.wav .*row 6"
    ):
        ingest.main()
    project("file,who,felt\na.wav,s,xxx\n", labels={"xxx": None})
    with pytest.raises(
        InputError, match=r"none of its 1 rows is usable; .*\(1 rows\): label left out: xxx, row 2"
    ):
        ingest.main()


def test_segments_are_cut_exactly_and_those_that_overlap_or_lie_outside_are_excluded(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound("long.wav", seconds=4)
    decoded = []
    read = soundfile.read
    monkeypatch.setattr(soundfile, "read", lambda *a, **k: decoded.append(a) or read(*a, **k))
    project(
        "file,who,felt,start,end\nlong.wav,s,joy,0.5,1\nlong.wav,s,awe,1,2\nlong.wav,t,joy,1.9,2.5\n"
        "long.wav,t,awe,3.5,9\nlong.wav,t,joy,3,2.8\nlong.wav,t,joy,2.5,3\n"
    )
    rows = listed()
    assert len(decoded) == 1
    samples, _ = soundfile.read(FOLDER / "long.wav", dtype="int16")
    cut, rate_hz = soundfile.read(RAW / rows.iloc[0]["path"], dtype="int16")
    assert rate_hz == RATE_HZ
    np.testing.assert_array_equal(cut, samples[RATE_HZ // 2 : RATE_HZ])
    problems = rows.set_index("path")["problem"].str.split(",").str[0]
    assert problems.str.split(":").str[0].value_counts().to_dict() == {
        "": 3,
        "overlap": 1,
        "outside": 1,
        "empty segment": 1,
    }
    raw = {path.name: path.read_bytes() for path in (RAW / "calls").iterdir()}
    ingest.main()
    assert raw == {path.name: path.read_bytes() for path in (RAW / "calls").iterdir()}


def test_an_unknown_speaker_is_refused_unless_the_protocol_leaks(project: Project) -> None:
    table = grid(takes=6)
    project(table, columns=COLUMNS | {"speaker": "unknown"})
    with pytest.raises(InputError, match=r"params\.split\.protocol.*speakers.*unknown"):
        select.main()
    project(table, columns=COLUMNS | {"speaker": "unknown"}, split={"protocol": "random"})
    select.main()


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({"labels": ("joy",)}, ["joy", "only label"]),
        ({"speakers": "a"}, ["speaker"]),
    ],
)
def test_one_label_or_one_speaker_is_refused_before_a_recording_is_read(
    project: Project, table: dict[str, Any], named: list[str]
) -> None:
    rows = grid(**table)
    shutil.rmtree(FOLDER / "a")
    project(rows, split={"protocol": "leave_one_speaker_out"})
    with pytest.raises(InputError) as error:
        select.main()
    assert all(part in str(error.value) for part in named)


def test_fewer_speakers_than_folds_leave_one_out_and_say_so_first(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    project(grid(), split={"n_folds": 6})
    select.main()
    assert "leave_one_speaker_out" in caplog.text
    for stage in (ingest, manifest, split):
        stage.main()
    assert json.loads((METRICS / "split.json").read_text())["n_folds"] == 3


def partitioned(leaking: bool) -> str:
    head, *rows = grid(speakers="abcd").splitlines()
    role = {"a": "train", "b": "train", "c": "dev", "d": "test"}
    cells = [f"{row},{role[row[0]]}" for row in rows]
    if leaking:
        cells[0] = cells[0].replace("train", "test")
    return "\n".join([f"{head},partition", *cells])


def test_the_official_partition_is_taken(project: Project) -> None:
    project(partitioned(leaking=False), split={"protocol": "official"})
    for stage in (select, ingest, manifest, split):
        stage.main()
    splits = long_splits.read()
    of_role = splits.groupby("role")["speaker"].agg(lambda names: "".join(sorted({*names.str[-1]})))
    assert of_role.to_dict() == {"train": "ab", "validation": "c", "test": "d"}


def test_what_leaks_in_a_given_partition_is_named_before_a_recording_is_read(project: Project) -> None:
    project(partitioned(leaking=True), split={"protocol": "official"})
    with pytest.raises(LeakError, match=r"official.*speaker 'calls/a'.*calls/a/joy0\.wav"):
        select.main()


STAGES = (select, ingest, manifest, split, augment, featurize, train, evaluate)


def described(corpus: str, folder: Path) -> str:
    """Copies a corpus's usable recordings to `folder` under other names; returns a table of them.

    Its columns and labels have other names too, and its rows another order.
    """
    folder.mkdir(parents=True)
    table = tables.read(MANIFEST, tables.MANIFEST)
    rows = []
    for number, row in table[table["problem"] == ""].sample(frac=1, random_state=1).reset_index().iterrows():
        name = f"take {number}.wav"
        shutil.copy(RAW / row["path"], folder / name)
        cells = [row[column].removeprefix(f"{corpus}/") for column in ("clip", "speaker", "sentence")]
        rows.append([name, *cells, row["sex"][0].upper(), f"<{row['emotion']}>"])
    frame = pd.DataFrame(rows, columns=["sound", "id", "person", "words", "gender", "mood"])
    return frame.to_csv(index=False, sep=";")


def same_as_built_in(corpus: str, built_in: Path, by_table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the pipeline on a corpus in `built_in` and on a table of it in `by_table`; compares the scores."""
    monkeypatch.chdir(built_in)
    for stage in STAGES:
        stage.main()
    folder = by_table / "data/sources/mine"
    table = described(corpus, folder)
    (folder / "list.csv").write_text(table)
    values = json.loads(Path("params.yaml").read_text())
    block = {
        "table": "data/sources/mine/list.csv",
        "columns": {
            **{"path": "sound", "clip": "id", "speaker": "person"},
            **{"text": "words", "sex": "gender", "label": "mood"},
        },
        "labels": {cell: cell[1:-1] for cell in {line.split(";")[-1] for line in table.splitlines()[1:]}},
    }
    values["corpora"][corpus] = block  # the same name: split and augmentation depend on it
    (by_table / "params.yaml").write_text(json.dumps(values))
    monkeypatch.chdir(by_table)
    for stage in STAGES:
        stage.main()
    assert (by_table / METRICS / "test.json").read_bytes() == (built_in / METRICS / "test.json").read_bytes()
    assert (by_table / PREDICTIONS).read_bytes() == (built_in / PREDICTIONS).read_bytes()


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """Two empty projects."""
    for name in ("built_in", "by_table"):
        (tmp_path / name / "data/sources").mkdir(parents=True)
    return tmp_path / "built_in", tmp_path / "by_table"


@pytest.mark.slow
def test_a_table_of_a_corpus_gives_its_scores_to_the_digit(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = SHIPPED | {
        "split": SHIPPED["split"] | {"n_folds": 3},
        "corpora": SHIPPED["corpora"] | {"demo": {"n_speakers": 4, "sentences": ["IEO"], "variability": 1.0}},
        "evaluate": {"n_resamples": 100},
        "featurize": SHIPPED["featurize"] | {"features": ["logmel", "mfcc", "rms", "zcr"]},
        "augment": SHIPPED["augment"] | {"copies": 0},
    }
    (places[0] / "params.yaml").write_text(json.dumps(values))
    same_as_built_in("demo", *places, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("corpus", "folders"),
    [
        ("ravdess", "Actor_0[1-4]"),
        pytest.param("ravdess", "*", marks=pytest.mark.faults),
        pytest.param("tess", "*", marks=pytest.mark.faults),
    ],
)
def test_a_table_of_real_recordings_gives_their_scores_to_the_digit(
    corpus: str, folders: str, corpora: Path, places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of four actors, each night those of both whole corpora."""
    found = sorted((corpora / corpus).glob(folders))
    assert found
    for path in filter(Path.is_dir, found):
        shutil.copytree(path, places[0] / "data/sources" / corpus / path.name)
    values = SHIPPED | {"corpus": [corpus], "augment": SHIPPED["augment"] | {"copies": 0}}
    if folders != "*":
        values["split"] = SHIPPED["split"] | {"n_folds": 3}
    (places[0] / "params.yaml").write_text(json.dumps(values))
    same_as_built_in(corpus, *places, monkeypatch)


def audformat_database(folder: Path) -> None:
    """Builds a database of `grid` with audformat: labels, speakers with a sex, a split, whole files."""
    audformat = pytest.importorskip("audformat")
    rows = [line.split(",") for line in grid().splitlines()[1:]]
    database = audformat.Database("calls")
    database.schemes["emotion"] = audformat.Scheme(labels=sorted({felt for _, _, felt in rows}))
    database.schemes["speaker"] = audformat.Scheme(labels={name: {"gender": "female"} for name in "abc"})
    database.splits["test"] = audformat.Split(type="test")
    table = audformat.Table(audformat.filewise_index([file for file, _, _ in rows]), split_id="test")
    database["emotion"] = table
    database["emotion"]["emotion"] = audformat.Column(scheme_id="emotion")
    database["emotion"]["emotion"].set([felt for _, _, felt in rows])
    database["emotion"]["speaker"] = audformat.Column(scheme_id="speaker")
    database["emotion"]["speaker"].set([who for _, who, _ in rows])
    database.save(str(folder))


def test_an_audformat_database_says_what_the_csv_says(project: Project) -> None:
    audformat_database(FOLDER)
    project(table=str(FOLDER / "db.yaml"), columns={"label": "emotion", "sex": "gender"})
    rows = rows_of_calls()
    lines = grid().splitlines()
    project(
        "\n".join([f"{lines[0]},gender,partition", *(f"{line},F,test" for line in lines[1:])]),
        columns=COLUMNS | {"sex": "gender"},
    )
    pd.testing.assert_frame_equal(rows.assign(row=0), rows_of_calls().assign(row=0))


def test_segments_of_an_audformat_database_are_read(project: Project) -> None:
    audformat = pytest.importorskip("audformat")
    sound("long.wav", seconds=2)
    database = audformat.Database("calls")
    index = audformat.segmented_index(["long.wav"] * 2, ["0s", "1s"], ["1s", "1.5s"])
    database["emotion"] = audformat.Table(index)
    for column, cells in {"emotion": ["joy", "awe"], "speaker": ["a", "b"]}.items():
        database["emotion"][column] = audformat.Column()
        database["emotion"][column].set(cells)
    database.save(str(FOLDER))
    project(table=str(FOLDER / "db.yaml"), columns={"label": "emotion"})
    rows = listed()
    assert rows["duration_s"].tolist() == [1.0, 0.5]
    assert rows["speaker"].tolist() == ["calls/a", "calls/b"]


def test_the_folds_of_emobox_are_taken_with_its_speakers_read_from_file_names(project: Project) -> None:
    names = {}
    for actor in ("01", "02", "03"):
        for emotion, label in {"03": "happy", "05": "angry"}.items():
            name = f"downloads/ravdess/Actor_{actor}/03-01-{emotion}-01-01-01-{actor}.wav"
            sound(name)
            names[name] = (actor, label)
    for fold, actor in enumerate(("01", "02", "03"), start=1):
        for part in ("train", "test"):
            file = FOLDER / f"data/ravdess/fold_{fold}/ravdess_{part}_fold_{fold}.jsonl"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(
                "".join(
                    json.dumps({"key": Path(name).stem, "dataset": "ravdess", "wav": name, "emo": label})
                    + "\n"
                    for name, (who, label) in names.items()
                    if (who == actor) == (part == "test")
                )
            )
    project(
        table=str(FOLDER / "data/ravdess"),
        root=str(FOLDER),
        parser="ravdess",
        columns={"path": "wav", "label": "emo"},
        labels={"happy": "happiness", "angry": "anger"},
        split={"protocol": "official", "validation_fraction": 0.0},
    )
    for stage in (select, ingest, manifest, split):
        stage.main()
    splits = long_splits.read()
    tested = splits[splits["role"] == "test"].groupby("fold")["speaker"].unique()
    assert [list(names) for names in tested] == [["calls/01"], ["calls/02"], ["calls/03"]]
    assert set(splits["sex"]) == {"female", "male"}
    assert (splits.groupby("fold").size() == 6).all()
    recorded = json.loads((SELECTED / "corpora.json").read_text())["code"]
    assert "corpora/ravdess.py" in recorded  # so an edit of the parser runs manifest again


def emobox(lists: dict[str, list[tuple[str, str, str]]]) -> Path:
    """Writes EmoBox's lists of key, path and label, by "<fold> <role>"; returns their folder."""
    folder = FOLDER / "data/x"
    for name, clips in lists.items():
        fold, role = name.split()
        file = folder / f"fold_{fold}/x_{role}_fold_{fold}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(dict(zip(("key", "wav", "emo"), clip, strict=True))) for clip in clips]
        file.write_text("\n".join(lines))
    return folder


ONE, TWO = ("x-1", "1.wav", "happy"), ("x-2", "2.wav", "sad")


@pytest.mark.parametrize(
    ("lists", "named"),
    [
        (
            {"1 train": [ONE], "1 test": [TWO], "2 train": [TWO], "2 test": [("x-1", "1.wav", "angry")]},
            [
                "'x-1'",
                "emo",
                "'happy' in fold_1/x_train_fold_1.jsonl",
                "'angry' in fold_2/x_test_fold_2.jsonl",
            ],
        ),
        (
            {"1 train": [ONE], "1 test": [TWO], "2 train": [("x-2", "3.wav", "sad")], "2 test": [ONE]},
            [
                "'x-2'",
                "wav",
                "'2.wav' in fold_1/x_test_fold_1.jsonl",
                "'3.wav' in fold_2/x_train_fold_2.jsonl",
            ],
        ),
        (
            {"1 train": [ONE, TWO], "1 test": [TWO]},
            ["'x-2'", "fold_1/x_test_fold_1.jsonl", "fold_1/x_train_fold_1.jsonl"],
        ),
        ({"1 train": [ONE, ONE], "1 test": [TWO]}, ["'x-1'", "fold_1/x_train_fold_1.jsonl"]),
    ],
)
def test_lists_of_emobox_that_disagree_on_a_clip_are_refused(
    project: Project, lists: dict[str, list[tuple[str, str, str]]], named: list[str]
) -> None:
    folder = emobox(lists)
    project(table=str(folder), columns={"path": "wav", "label": "emo", "speaker": "unknown"})
    with pytest.raises(InputError) as error:
        rows_of_calls()
    assert all(part in str(error.value) for part in [str(folder), *named])


def test_lists_of_emobox_that_agree_are_read(project: Project) -> None:
    folder = emobox({"1 train": [ONE], "1 test": [TWO], "2 train": [TWO], "2 test": [ONE], "10 test": [ONE]})
    project(table=str(folder), columns={"path": "wav", "label": "emo", "speaker": "unknown"})
    rows = rows_of_calls().set_index("path")
    assert rows["label"].to_dict() == {"1.wav": "happy", "2.wav": "sad"}


def test_json_lines_and_hugging_face_s_audiofolder_are_read(project: Project) -> None:
    lines = [line.split(",") for line in grid().splitlines()[1:]]
    (FOLDER / "metadata.jsonl").write_text(
        "".join(
            json.dumps(dict(zip(("file_name", "who", "felt"), line, strict=True))) + "\n" for line in lines
        )
    )
    pd.DataFrame(lines, columns=["file_name", "who", "felt"]).to_csv(FOLDER / "metadata.csv", index=False)
    read = []
    for name in ("metadata.jsonl", "metadata.csv"):
        project(table=str(FOLDER / name), columns=COLUMNS | {"path": "file_name"})
        read.append(rows_of_calls().assign(row=0))
    pd.testing.assert_frame_equal(*read)


def test_votes_are_spelled_as_the_labels(project: Project) -> None:
    table = "file,who,felt,listeners\na.wav,1,Anger,Anger\nb.wav,1,joy,joy+Sadness\nc.wav,1,x,Fear+y+x"
    project(table, labels={"joy": "Happiness", "x": None})
    rows = rows_of_calls()
    assert rows["label"].tolist() == ["anger", "happiness", ""]
    assert rows["listeners"].tolist() == ["anger", "happiness+sadness", "fear+x+y"]


def test_a_group_that_only_the_recordings_know_is_checked_by_split(project: Project) -> None:
    rows = ["file,who,felt"]
    for seconds, speaker in enumerate("abc", start=1):
        for label in ("joy", "Anger", "awe"):
            sound(f"{speaker}/{label}.wav", seconds)
            rows.append(f"{speaker}/{label}.wav,{speaker},{label}")
    project("\n".join(rows), split={"protocol": "group", "group_by": "duration_s", "n_folds": 3})
    for stage in (select, ingest, manifest, split):
        stage.main()
    tested = long_splits.read().query("role == 'test'").groupby("fold")["speaker"].agg(set)
    assert sorted(map(sorted, tested)) == [["calls/a"], ["calls/b"], ["calls/c"]]
    table = tables.read(MANIFEST, tables.MANIFEST)
    made = protocols.made_from(table, params.read())
    assert made != protocols.made_from(table.assign(duration_s=table["duration_s"] + 1), params.read())


def test_a_group_that_nothing_will_know_is_refused_before_a_recording_is_read(project: Project) -> None:
    project(grid(), split={"protocol": "group", "group_by": "duration", "n_folds": 3})
    with pytest.raises(InputError, match=r"group_by: no 'duration'; did you mean 'duration_s'"):
        select.main()
    head, first, *others = grid().splitlines()
    cells = "\n".join([f"{head},group", f"{first},", *(f"{row},x" for row in others)])
    project(cells, split={"protocol": "group", "group_by": "group", "n_folds": 3})
    with pytest.raises(InputError, match="1 of 18 clips have no group"):
        select.main()


@pytest.mark.parametrize("column", ["race", "age"])
def test_a_group_that_files_beside_the_recordings_give_is_checked_by_split(
    project: Project, column: str
) -> None:
    project(split={"protocol": "group", "group_by": column, "n_folds": 3})
    values = json.loads(Path("params.yaml").read_text()) | {"corpus": ["crema_d"]}
    Path("params.yaml").write_text(json.dumps(values))
    for actor in range(1001, 1004):
        for emotion in ("ANG", "SAD"):
            path = Path(f"data/sources/crema_d/{actor}_DFA_{emotion}_XX.wav")
            path.parent.mkdir(exist_ok=True)
            path.touch()
    select.main()


def test_group_and_session_protocols_test_whole_groups(project: Project) -> None:
    head, *rows = grid(speakers="abcdef").splitlines()
    cells = [f"{row},{'xyz'['abcdef'.index(row[0]) // 2]}" for row in rows]
    for column in ("session", "group"):
        project("\n".join([f"{head},{column}", *cells]), split={"protocol": column, "n_folds": 3})
        for stage in (select, ingest, manifest, split):
            stage.main()
        splits = long_splits.read()
        tested = (
            splits[splits["role"] == "test"]
            .groupby("fold")["speaker"]
            .agg(lambda s: "".join(sorted({*s.str[-1]})))
        )
        assert sorted(tested) == ["ab", "cd", "ef"]


def test_recordings_that_no_row_names_are_counted(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = grid().splitlines()
    project("\n".join(rows[:3] + rows[6:]))
    (FOLDER / "dangling.wav").symlink_to("nowhere")  # what no row names is not read
    ingest.main()
    assert "notice: 3 recordings are not in the table, the first is 'data/sources/calls/a/Anger0.wav'" in (
        printed := capsys.readouterr().out
    ), printed


def test_hidden_files_are_no_recordings_that_a_row_should_name(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = grid().splitlines()
    project("\n".join(rows[:-1]))
    for name in ("a/._joy0.wav", ".trash/joy0.wav"):
        (FOLDER / name).parent.mkdir(exist_ok=True)
        (FOLDER / name).touch()
    ingest.main()
    assert "notice: 1 recordings are not in the table, the first is 'data/sources/calls/c/awe1.wav'" in (
        printed := capsys.readouterr().out
    ), printed


@pytest.mark.parametrize("separator", [",", "\t"])
@pytest.mark.parametrize("end", ['5"', ""])
def test_a_quotation_mark_that_hides_rows_is_refused(project: Project, separator: str, end: str) -> None:
    rows = grid().splitlines()
    notes = ["note", "", '"loud', "", "", end, *[""] * 13]
    lines = [row.replace(",", separator) + separator + note for row, note in zip(rows, notes, strict=True)]
    project("\n".join(lines))
    with pytest.raises(InputError, match=r"labels\.csv: .*row 3: a quotation mark"):
        ingest.main()


def test_a_quotation_mark_that_hides_a_whole_table_is_refused(project: Project) -> None:
    rows = "".join(f"{number}.wav,s,joy,\n" for number in range(10_000))
    project('file,who,felt,note\na.wav,s,joy,"loud\n' + rows)
    with pytest.raises(InputError, match=r"labels\.csv: .*row 2: a quotation mark"):
        ingest.main()


def test_a_text_may_have_several_lines_and_rows_have_the_numbers_of_their_lines(project: Project) -> None:
    sound("a.wav")
    sound("b.wav")
    project('file,who,felt,note\n\n\na.wav,s,joy,"one\ntwo, ""three"""\n\nb.wav,,joy,\n')
    rows = rows_of_calls()
    assert rows["row"].tolist() == [4, 7]
    assert rows["problem"].tolist() == ["", "no speaker: row 7"]


def test_rows_of_separators_only_are_skipped_as_blank_lines_are(project: Project) -> None:
    project("file;who;felt\r\n;;\r\na.wav;s;joy\r\n ; ;\r\nb.wav;;awe\r\n;;\r\n;;;;\r\n")
    rows = rows_of_calls()
    assert rows["row"].tolist() == [3, 5]
    assert rows["problem"].tolist() == ["", "no speaker: row 5"]
    project("file;who;felt\n;s;joy\n")
    with pytest.raises(InputError, match=r"row 2, path ''"):
        rows_of_calls()


@pytest.mark.parametrize("line_end", ["\r\n", "\r"])
@pytest.mark.parametrize(
    ("lines", "separator", "row"),
    [
        (["", " ", "file;who;felt;note"], ";", 4),
        (["sep=;", "file;who;felt;note"], ";", 3),
        (["", "SEP=|", "", "file|who|felt|note"], "|", 5),
        (["sep=\t", "file\twho\tfelt\tnote"], "\t", 3),
        (["sep=,", "file,who,felt,note;;;;"], ",", 3),
    ],
)
def test_the_separator_is_that_of_the_header_or_the_one_that_the_first_line_names(
    project: Project, lines: list[str], separator: str, row: int, line_end: str
) -> None:
    rows = [["a.wav", "s", "joy", ""], ["b.wav", "", "awe", "no; quiet: 1;5"]]
    text = [*lines, separator.join(rows[0]), separator.join([*rows[1][:3], f'"{rows[1][3]}"'])]
    project(line_end.join(text).encode("utf-8-sig"))
    read = rows_of_calls()
    assert read["path"].tolist() == ["a.wav", "b.wav"]
    assert read["row"].tolist() == [row, row + 1]
    assert read["problem"].tolist() == ["", f"no speaker: row {row + 1}"]


def test_a_name_is_one_however_its_letters_are_composed(project: Project) -> None:
    names = [unicodedata.normalize(form, f"{name}é") for form in ("NFC", "NFD") for name in ("José", "Zoë")]
    lines = []
    for number, name in enumerate(names):
        sound(f"{number}.wav", seed=number)
        lines.append(f"{number}.wav,{name},{unicodedata.normalize('NFD', 'joië')}")
    project("\n".join(["file,who,felt", *lines]), labels={"joië": "joy"})
    rows = rows_of_calls()
    assert sorted(set(rows["speaker"])) == ["Joséé", "Zoëé"]
    assert set(rows["label"]) == {"joy"}


@pytest.mark.parametrize(
    ("column", "one", "other"),
    [
        *((column, "Köhler M.", "köhler  M.") for column in ("session", "group", "language", "intensity")),
        ("speaker", "Köhler M.", "KÖHLER M."),
        ("speaker", "Köhler M.", "Köhler\u00a0M."),
        ("speaker", "anna", "anna\u200b"),
        ("speaker", "an\u00adna", "anna"),
        ("speaker", "anna", "\ufeffanna"),
        ("speaker", "anna", "an\u034fna"),  # of category Mn, but not shown either
        ("speaker", "anna", "\uff41\uff4e\uff4e\uff41"),  # full width
        ("speaker", "\u0645\u06cc\u200c\u0646\u0627", "\u0645\u06cc\u0646\u0627"),  # Persian, without ZWNJ
        ("speaker", "1", "001"),
        ("speaker", "1.0", "1"),
        ("speaker", "7.00", "07"),
        ("speaker", "1,0", "1"),
        ("speaker", "0", "000"),
        ("speaker", "1", "\u0661"),  # an Arabic digit
        ("session", "1", "1.0"),
        ("group", "g", "g\u200d"),
    ],
)
def test_a_name_in_two_spellings_is_refused_because_one_could_train_and_the_other_test(
    project: Project, column: str, one: str, other: str
) -> None:
    names = {"speaker": ["a", "b", "c"], "felt": ["joy", "awe", "joy"], column: [one, "b", other]}
    content = pd.DataFrame({"file": ["a.wav", "b.wav", "c.wav"], **names}).to_csv(index=False)
    project(content, columns=COLUMNS | {"speaker": "speaker"})
    with pytest.raises(InputError) as error:
        rows_of_calls()
    assert f"{TABLE}: {column} {one!r} in row 2 and {other!r} in row 4" in str(error.value)


@pytest.mark.parametrize(
    "names",
    [
        ["1", "10", "100", "0"],
        ["1.1", "1.10", "1.01", "11"],
        ["s1", "s01", "1s", "1"],
        ["1" * 5000, "1" * 4999],
        ["\u0645\u06cc\u200c\u0646\u0627", "\u0915\u094d\u200d\u0937", "an\u00adna"],
    ],
)
def test_names_that_differ_in_more_are_kept_with_the_invisible_characters_that_they_need(
    project: Project, names: list[str]
) -> None:
    project("\n".join(["file,who,felt", *(f"{place}.wav,{name},joy" for place, name in enumerate(names))]))
    assert rows_of_calls()["speaker"].tolist() == names


def test_a_cell_without_a_visible_character_is_empty(project: Project) -> None:
    project(
        "file,who,felt,sentence\na.wav,\u200b,joy,\ufeff\nb.wav,s, \u2060 ,\u3164\nc.wav,unknown\u200b,awe,x"
    )
    rows = rows_of_calls()
    assert rows["problem"].tolist() == ["no speaker: row 2", "no label: row 3", ""]
    assert rows["sentence"].tolist() == ["", "", "x"]
    assert rows["speaker"].tolist() == ["", "s", "unknown"]


@pytest.mark.parametrize(
    ("sentences", "wanted"),
    [
        (["It's eleven o'clock.", "it’s  eleven O’CLOCK", "It's twelve o'clock."], [0, 0, 2]),
        (["It is eleven", "It is eleven.", "it is eleven …", "It is\u200b eleven!"], [0, 0, 0, 0]),
        (["s01", "s1", "s10", "S01"], [3, 1, 2, 3]),
        (["1.1", "11", "1.10", "1"], [0, 1, 2, 3]),
        (["01", "1", "1.0"], [0, 0, 0]),
        (["...", "?", ""], [0, 1, 2]),
        (["\u0915\u093f", "\u0915\u0940", "\u0915\u093f\u0964"], [0, 1, 0]),  # Hindi's vowels are marks
    ],
)
def test_texts_of_the_same_words_are_one_sentence(
    project: Project, sentences: list[str], wanted: list[int]
) -> None:
    files = [f"{place}.wav" for place in range(len(sentences))]
    frame = pd.DataFrame({"file": files, "who": "s", "felt": "joy", "sentence": sentences})
    for order in (1, -1):
        project(frame[::order].to_csv(index=False))
        found = rows_of_calls().set_index("path")["sentence"].sort_index()
        assert found.tolist() == [sentences[place] for place in wanted]


@pytest.mark.parametrize(
    ("felt", "labels", "named"),
    [
        (["Wütend", "WÜTEND"], {}, ["'Wütend' in row 2 and 'WÜTEND' in row 3", "map one to the other"]),
        (["very sad", "x"], {"x": "Very  sad"}, ["'very sad' in row 2 and 'Very  sad' in row 3"]),
        (["Wütend", "WÜTEND"], {"Wütend": "anger"}, ["row 3, label 'WÜTEND': ", "'Wütend'"]),
        (["unclear", "Unclear"], {"unclear": None}, ["row 3, label 'Unclear': ", "'unclear'"]),
        (["Angry", "x"], {"x": "anger"}, ["row 2, label 'Angry': ", "'anger'", "to itself"]),
        (["joy", "Happiness"], {}, ["row 2, label 'joy': ", "'happiness'", "to itself"]),
        (["joy", "happy"], {}, ["row 3, label 'happy': ", "'joy'", "to itself"]),
        (["awe", "awe\u200b"], {}, ["'awe' in row 2 and 'awe\\u200b' in row 3"]),
        (["1", "1.0"], {}, ["'1' in row 2 and '1.0' in row 3"]),
        (["1", "1.0"], {"1": "anger"}, ["row 3, label '1.0': ", "'1'"]),
        (["anger", "angry\u200b"], {}, ["row 3, label 'angry\\u200b': ", "'anger'"]),
    ],
)
def test_a_label_in_two_spellings_is_refused(
    project: Project, felt: list[str], labels: dict[str, str | None], named: list[str]
) -> None:
    content = "\n".join(["file,who,felt", *(f"{place}.wav,s,{cell}" for place, cell in enumerate(felt))])
    project(content, labels=labels)
    with pytest.raises(InputError) as error:
        rows_of_calls()
    assert all(part in str(error.value) for part in [str(TABLE), "params.corpora.calls.labels", *named])


def test_labels_of_similar_names_that_have_entries_are_kept(project: Project) -> None:
    project(
        "file,who,felt\na.wav,s,joy\nb.wav,s,Happiness\nc.wav,s,A\nd.wav,s,a\ne.wav,s,HAPPINESS",
        labels={"joy": "joy", "A": "anger", "a": "awe", "Happiness": "happiness"},
    )
    assert rows_of_calls()["label"].tolist() == ["joy", "happiness", "anger", "awe", "happiness"]


def test_an_emotion_of_ours_is_one_label_however_it_is_written(project: Project) -> None:
    felt = ["anger", "Anger", "anger\u200b", "\uff41\uff4e\uff47\uff45\uff52"]
    rows = [f"{place}.wav,s,{cell},{cell}+awe" for place, cell in enumerate(felt)]
    project("\n".join(["file,who,felt,listeners", *rows]))
    read = rows_of_calls()
    assert read["label"].tolist() == ["anger"] * 4
    assert read["listeners"].tolist() == ["anger+awe"] * 4


@pytest.mark.parametrize("word", ["NA", "nan", "<NA>", "null"])
def test_the_words_of_r_and_pandas_for_nothing_are_empty_cells(project: Project, word: str) -> None:
    for name in "abc":
        sound(f"{name}.wav")
    content = f"file,who,felt,sentence,sex\na.wav,s,joy,{word},{word}\nb.wav,{word},joy,,F\nc.wav,s,{word},,F"
    project(content)
    rows = rows_of_calls()
    assert rows["problem"].tolist() == ["", "no speaker: row 3", "no label: row 4"]
    assert rows["sentence"].tolist() == ["", "", ""]
    project(content, labels={word: "not applicable"})
    assert rows_of_calls()["label"].tolist() == ["joy", "joy", "not applicable"]


def test_a_word_for_nothing_can_be_mapped_as_a_partition(project: Project) -> None:
    for name in "ab":
        sound(f"{name}.wav")
    content = "file,who,felt,partition\na.wav,s,joy,train\nb.wav,t,joy,NA"
    project(content, partitions={"NA": None})
    assert rows_of_calls()["partition"].tolist() == ["train", "-"]
    project(content, partitions={"NA": "test"})
    assert rows_of_calls()["partition"].tolist() == ["train", "test"]


def test_rows_without_a_label_are_counted_as_one_reason(project: Project) -> None:
    for name in "abcd":
        sound(f"{name}.wav", seed=ord(name))
    project("file,who,felt\na.wav,s,joy\nb.wav,s,\nc.wav,s,\nd.wav,unknown,awe")
    listed()
    counts = json.loads((METRICS / "manifest.json").read_text())["calls"]
    assert counts["n_excluded"] == {"no label": 2}
    assert (counts["n_usable"], counts["n_speakers"]) == (2, 1)  # `unknown` is nobody


def test_a_column_of_our_name_can_be_ignored(project: Project) -> None:
    sound("a.wav")
    content = "file,who,felt,channel\na.wav,s,joy,mono"
    project(content)
    with pytest.raises(InputError, match=r"row 2, channel 'mono'"):
        rows_of_calls()
    project(content, columns=COLUMNS | {"channel": None})
    assert rows_of_calls()["channel"].tolist() == ["speech"]
    project(content, columns=COLUMNS | {"speaker": None})
    with pytest.raises(InputError, match=r"^params\.corpora\.calls\.columns\.speaker: null"):
        rows_of_calls()


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_whole_numbers_stay_whole_where_one_is_missing(project: Project, kind: str) -> None:
    path = FOLDER / f"labels.{kind}"
    speakers = [100000000000000001, 100000000000000002, None]
    if kind == "jsonl":
        rows = [
            {"file": "a.wav", "who": who, "felt": felt}
            for who, felt in zip(speakers, [0, 1, None], strict=True)
        ]
        path.write_text("\n".join(json.dumps(row) for row in rows))
        wanted = ["100000000000000001", "100000000000000002", ""]
    else:
        pd.DataFrame({"file": "a.wav", "who": [7.0, 8.0, np.nan], "felt": [0.0, 1.0, np.nan]}).to_parquet(
            path
        )
        wanted = ["7", "8", ""]
    read = table.read(path, None)
    assert read["who"].tolist() == wanted
    assert read["felt"].tolist() == ["0", "1", ""]


@pytest.mark.parametrize("block", [{}, {"root": str(FOLDER / "linked")}])
def test_a_linked_folder_below_the_sources_is_refused(project: Project, block: dict[str, str]) -> None:
    content = grid()
    outside = Path("outside").resolve()
    project(content, **block)
    if block:
        outside.mkdir()
        (FOLDER / "linked").symlink_to(outside)
        for speaker in "abc":
            shutil.move(FOLDER / speaker, outside / speaker)
    else:
        FOLDER.rename(outside)
        FOLDER.symlink_to(outside)
    with pytest.raises(InputError, match=rf"^{block.get('root', FOLDER)}: a symbolic link"):
        ingest.main()


def test_a_table_that_is_not_there_is_called_missing(project: Project) -> None:
    project(table="data/sources/calls/lables.csv")
    with pytest.raises(InputError, match=r"^data/sources/calls/lables\.csv: missing"):
        ingest.main()


@pytest.mark.parametrize("name", ["../sources/calls", "a/b", "/tmp/calls", "..", ""])
def test_the_name_of_a_corpus_leads_to_no_other_folder(project: Project, name: str) -> None:
    project(grid())
    values = json.loads(Path("params.yaml").read_text())
    values["corpora"][name] = values["corpora"].pop("calls")
    Path("params.yaml").write_text(json.dumps(values | {"corpus": [name]}))
    with pytest.raises(InputError, match=r"^params\.corp"):
        ingest.main()
    assert TABLE.is_file()


@pytest.mark.parametrize("name", ["my calls", "größe-2.1", "x"])
def test_a_corpus_may_be_called_like_most_folders(project: Project, name: str) -> None:
    project(grid())
    values = json.loads(Path("params.yaml").read_text())
    values["corpora"][name] = values["corpora"].pop("calls")
    Path("params.yaml").write_text(json.dumps(values | {"corpus": [name]}))
    ingest.main()
    assert len([*(RAW / name).rglob("*.wav")]) == 18


def test_tables_with_speakers_of_the_same_name_are_named(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project(grid())
    values = json.loads(Path("params.yaml").read_text())
    values["corpora"]["later"] = values["corpora"]["calls"]
    Path("params.yaml").write_text(json.dumps(values | {"corpus": ["calls", "later"]}))
    ingest.main()
    assert "notice: calls and later have 3 speaker names in common, such as 'a'" in capsys.readouterr().out


def test_a_text_of_json_lines_may_contain_other_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    rows = [{"file": "a.wav", "words": "one\u2028two\u0085three"}, {"file": "b.wav", "words": "four"}]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_bytes("\r\n".join(lines).encode())
    read = table.read(path, None)
    assert read.to_dict("records") == rows
