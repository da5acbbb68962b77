"""What `python -m stages.tools.predict` takes, and that an interrupted run continues."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages.base import errors
from stages.base.errors import InputError
from stages.inference.bundle import Prediction
from stages.tools import predict


class Model:
    """A model that knows nothing, and counts the files that it was asked about."""

    classes = ("anger", "fear")
    left_out = ()

    def __init__(self, normalize: str = "global") -> None:
        self.asked: list[str] = []
        self.others: list[str] = []
        self.facts = SimpleNamespace(
            notice=lambda: "svm trained on demo",
            model_dump=lambda: {"model": "svm"},
            train=SimpleNamespace(normalize=normalize),
        )

    def adapted(self, paths: Iterable[Path]) -> Model:
        self.others = [path.name for path in paths]
        return self

    def predict_files(self, paths: Iterable[Path]) -> Iterator[Prediction]:
        for path in paths:
            self.asked.append(path.name)
            status: Any = "failed" if path.suffix == ".txt" else "answered"
            yield Prediction(0.0, 1.0, True, status, "", {"anger": 0.6, "fear": 0.4})


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Model:
    monkeypatch.chdir(tmp_path)
    made = Model()
    monkeypatch.setattr(predict.chosen, "model", lambda *_: made)
    return made


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["predict", *arguments])
    predict.main()


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def test_folders_and_patterns_are_resolved(model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    touch("calls/b.mp3", "calls/deep/a.WAV", "calls/notes.doc", "x1.flac", "x2.flac")
    found = predict.found(["calls", "x*.flac", "x1.flac"], Path())
    assert [name for name, _ in found] == ["calls/b.mp3", "calls/deep/a.WAV", "x1.flac", "x2.flac", "x1.flac"]
    assert "1 files are not audio" in capsys.readouterr().err
    found = predict.found(["c*", "calls/**/*[!c]", "./x1.flac"], Path())
    assert [name for name, _ in found] == 2 * ["calls/b.mp3", "calls/deep/a.WAV"] + ["./x1.flac"]


def test_nothing_in_a_folder_is_left_out_in_silence(model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    touch("calls/a.wav", "elsewhere/b.wav")
    Path("calls/broken.wav").symlink_to("gone.wav")
    os.mkfifo("calls/pipe.wav")
    Path("calls/linked").symlink_to("../elsewhere")
    names = [name for name, _ in predict.found(["calls"], Path())]
    assert names == ["calls/a.wav", "calls/broken.wav", "calls/pipe.wav"]
    assert "linked folders are not followed" in (notice := capsys.readouterr().err)
    assert notice.endswith(": calls/linked\n")
    assert [name for name, _ in predict.found(["calls/linked"], Path())] == ["calls/linked/b.wav"]


def test_hidden_files_of_a_folder_are_skipped_unless_they_are_named(
    model: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    touch(".calls/a.flac", ".calls/._a.flac", ".calls/.trash/b.flac", ".calls/deep/c.flac")
    assert [name for name, _ in predict.found([".calls"], Path())] == [".calls/a.flac", ".calls/deep/c.flac"]
    (notice,) = capsys.readouterr().err.splitlines()
    assert notice.startswith("notice: .calls: hidden files are skipped")
    assert notice.endswith(": .calls/._a.flac, .calls/.trash/b.flac")
    assert [name for name, _ in predict.found([".calls/._a.flac"], Path())] == [".calls/._a.flac"]


def test_a_folder_that_cannot_be_read_is_an_error(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    touch("calls/a.wav", "calls/private/b.wav")
    scan = os.scandir

    def refuse(place: str) -> Any:
        if str(place).endswith("private"):  # permissions do not keep root out
            raise PermissionError(errno.EACCES, "Permission denied", place)
        return scan(place)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError, match="calls/private"):
        predict.found(["calls"], Path())


def test_what_cannot_be_read_has_no_sum(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    touch("calls/a.wav")
    Path("calls/broken.wav").symlink_to("gone.wav")
    os.mkfifo("calls/pipe.wav")
    model.facts.train.normalize = "cluster"
    run(monkeypatch, "calls")
    assert model.asked == ["a.wav", "broken.wav", "pipe.wav"]


def test_missing_files_are_reported_before_the_model_is_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(predict.chosen, "model", lambda *_: pytest.fail("the model was loaded"))
    touch("here.wav")
    Path("empty").mkdir()
    with pytest.raises(InputError, match=r"^gone\.wav, no\*\.wav, empty: no such file"):
        run(monkeypatch, "gone.wav", "here.wav", "no*.wav", "empty")


def test_a_recording_on_the_standard_input(
    model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"RIFF")))
    ((name, path),) = predict.found(["-"], tmp_path)
    assert (name, path.read_bytes()) == ("-", b"RIFF")


def test_the_standard_input_is_read_once(
    model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"RIFF")))
    found = predict.found(["-"], tmp_path) + predict.found(["-"], tmp_path)
    assert [path.read_bytes() for _, path in found] == [b"RIFF", b"RIFF"]


def test_a_closed_standard_input_is_one_sentence(
    model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(InputError, match=r"^predict -: the standard input is closed"):
        predict.found(["-"], tmp_path)


def test_a_bad_file_ends_with_exit_code_1_after_all_others(
    model: Model, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    touch("a.wav", "b.txt", "c.wav")
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "--format", "jsonl", "a.wav", "b.txt", "c.wav")
    assert ended.value.code == 1
    printed = capsys.readouterr()
    assert [json.loads(line)["status"] for line in printed.out.splitlines()] == [
        *("answered", "failed", "answered")
    ]
    assert printed.err.count("svm trained on demo") == 1


@pytest.mark.parametrize(
    ("normalize", "others"),
    [("enrol", ["1.wav", "2.wav"]), ("speaker", ["1.wav", "2.wav"]), ("cluster", ["a.wav", "b.wav"])],
)
def test_a_model_gets_the_statistics_of_the_speaker_or_of_the_batch(
    model: Model, normalize: str, others: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    touch("a.wav", "b.wav", "of_anna/1.wav", "of_anna/2.wav")
    model.facts.train.normalize = normalize
    given = ["--speaker-from", "of_anna"] if others[0] == "1.wav" else []
    run(monkeypatch, "a.wav", "b.wav", *given)
    assert (model.others, model.asked) == (others, ["a.wav", "b.wav"])
    other_way = [] if given else ["--speaker-from", "of_anna"]
    with pytest.raises(InputError, match=f"^--speaker-from: .*'{normalize}'"):
        run(monkeypatch, "a.wav", *other_way)


def test_other_recordings_of_the_speaker_are_another_output(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch("a.wav", "1.wav", "2.wav")
    Path("2.wav").write_text("another")
    model.facts.train.normalize = "enrol"
    run(monkeypatch, "--output", "out", "a.wav", "--speaker-from", "1.wav")
    with pytest.raises(InputError, match=r"^out: not the unfinished output"):
        run(monkeypatch, "--output", "out", "a.wav", "--speaker-from", "2.wav")


@pytest.mark.parametrize("n", ["0", "-1", "two"])
def test_fewer_than_one_emotion_cannot_be_shown(
    model: Model, n: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    touch("a.wav")
    with pytest.raises(SystemExit):
        run(monkeypatch, "a.wav", "--top", n)
    assert f"--top: '{n}' is not possible. Give a whole number from 1 on." in capsys.readouterr().err
    assert model.asked == []


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_pipe_gets_the_bytes_of_an_output(model: Model, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    touch("caf\xe9 \u559c.wav")
    pipe = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")  # as on Windows
    monkeypatch.setattr(sys, "stdout", pipe)
    run(monkeypatch, "--format", kind, "caf\xe9 \u559c.wav")
    run(monkeypatch, "--format", kind, "--output", "out", "caf\xe9 \u559c.wav")
    pipe.flush()
    assert pipe.buffer.getvalue() == Path("out").read_bytes()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("options", "begin"),
    [
        (["--output", "o.jsonl"], '{"file": "a.wav"'),
        (["--output", "O.JSONL"], '{"file": "a.wav"'),
        (["--output", "o.csv"], "file,start_s"),
        (["--output", "o"], "file,start_s"),
        (["--output", "o", "--format", "jsonl"], '{"file": "a.wav"'),
        (["--output", "o.jsonl", "--format", "jsonl"], '{"file": "a.wav"'),
        (["--output", "o.txt", "--format", "csv"], "file,start_s"),
    ],
)
def test_an_output_has_the_format_of_its_suffix(
    model: Model, options: list[str], begin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch("a.wav")
    run(monkeypatch, "a.wav", *options)
    assert Path(options[1]).read_text().startswith(begin)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--output", "o.xlsx"], r"^--output: 'o\.xlsx' .*'csv'\. Choose csv or jsonl"),
        (["--output", "o.jsonl", "--format", "csv"], r"^--output: 'o\.jsonl' .*'csv'\. Choose csv or jsonl"),
        (["--output", "o.csv", "--format", "jsonl"], r"^--output: 'o\.csv' .*'jsonl'\. Choose csv or jsonl"),
        (["--output", "o.json"], r"^--output: 'json' cannot be continued\. Choose csv or jsonl"),
    ],
)
def test_a_suffix_of_another_format_is_refused_before_the_model_is_loaded(
    options: list[str], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(predict.chosen, "model", lambda *_: pytest.fail("the model was loaded"))
    touch("a.wav")
    with pytest.raises(InputError, match=message):
        run(monkeypatch, "a.wav", *options)
    assert not Path(options[1]).exists()


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_an_interrupted_run_continues_to_the_same_bytes(
    model: Model, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{number}.wav" for number in range(9)]
    touch(*names)
    command = ["--format", kind, "--output", "out", *names]
    run(monkeypatch, *command)
    whole, asked = Path("out").read_bytes(), len(model.asked)
    assert asked == 9
    Path("out").write_bytes(whole[: 2 * len(whole) // 3])
    run(monkeypatch, *command)
    assert Path("out").read_bytes() == whole
    assert 0 < len(model.asked) - asked < 9


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_recordings_that_were_replaced_are_predicted_again(
    model: Model, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"{number}.wav" for number in range(6)]
    touch(*names)
    command = ["--format", kind, "--output", "out", *names]
    run(monkeypatch, *command)
    before = Path("out").read_text().splitlines()[-len(names) :]
    for number in (1, 3):
        Path(names[number]).write_text("another recording")
    model.asked.clear()
    capsys.readouterr()
    run(monkeypatch, *command)
    assert model.asked == names[1:]
    (notice,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("notice: out")]
    assert [word for word in notice.split() if word.isdigit() or ".wav" in word] == ["1", "'1.wav'"]
    after = Path("out").read_text().splitlines()[-len(names) :]
    assert [old != new for old, new in zip(before, after, strict=True)] == [
        *(False, True, False, True, False, False)
    ]
    whole = Path("out").read_bytes()
    Path("out").unlink()
    run(monkeypatch, *command)
    assert Path("out").read_bytes() == whole


@pytest.mark.parametrize("kind", ["csv", "json", "jsonl"])
def test_a_row_names_the_content_of_its_file(
    model: Model, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("a.wav").write_text("one")
    Path("broken.wav").symlink_to("gone.wav")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"RIFF")))
    run(monkeypatch, "--format", kind, "a.wav", "broken.wav", "-")
    printed = capsys.readouterr().out
    if kind == "csv":
        rows = [*csv.DictReader(io.StringIO(printed))]
    else:
        rows = json.loads(printed) if kind == "json" else [*map(json.loads, printed.splitlines())]
    sums = [hashlib.sha256(b"one").hexdigest(), "", hashlib.sha256(b"RIFF").hexdigest()]
    assert [row["sha256"] for row in rows] == sums


def test_an_interrupted_run_promises_only_what_it_kept(
    model: Model, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(paths: Iterable[Path]) -> Iterator[Prediction]:
        raise KeyboardInterrupt

    touch("a.wav")
    monkeypatch.setattr(model, "predict_files", interrupt)
    monkeypatch.setattr(errors.signal, "signal", lambda *_: None)  # pytest keeps its own
    for output, words in (
        ((), "begins again; with --output FILE it keeps finished files"),
        (("--output", "out"), "finished work is kept; run the same command to continue"),
    ):
        with pytest.raises(SystemExit) as ended:
            errors.run(lambda given=output: run(monkeypatch, "a.wav", *given))
        assert ended.value.code == 130
        assert words in capsys.readouterr().err.splitlines()[-1]


def test_an_output_that_is_not_ones_own_is_kept(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    touch("a.wav")
    Path("out").write_text("years of work")
    with pytest.raises(InputError, match=r"^out: not the unfinished output"):
        run(monkeypatch, "--output", "out", "a.wav")
    with pytest.raises(InputError, match=r"^--output: 'table' cannot be continued"):
        run(monkeypatch, "--format", "table", "--output", "out", "a.wav")
    assert Path("out").read_text() == "years of work"


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_finished_output_keeps_its_rows_when_other_recordings_are_asked_for(
    model: Model, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch("a.wav", "b.wav", "c.wav")
    command = ["--format", kind, "--output", "out"]
    run(monkeypatch, *command, "a.wav", "b.wav")
    whole = Path("out").read_text()
    for others in (["c.wav"], ["a.wav"], ["b.wav", "a.wav"], ["a.wav", "c.wav", "b.wav"]):
        with pytest.raises(InputError, match=r"^out: .*other recordings: '.\.wav', .*another --output"):
            run(monkeypatch, *command, *others)
        assert Path("out").read_text() == whole
    run(monkeypatch, *command, "a.wav", "b.wav", "c.wav")
    assert Path("out").read_text().startswith(whole)
    assert Path("out").read_text().count("c.wav") == 1


def test_another_number_of_emotions_is_another_output_of_jsonl_only(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch("a.wav", "b.wav")
    for kind in ("csv", "jsonl"):
        run(monkeypatch, "--format", kind, "--output", kind, "--top", "1", "a.wav", "b.wav")
    run(monkeypatch, "--format", "csv", "--output", "csv", "--top", "2", "a.wav", "b.wav")
    with pytest.raises(InputError, match=r"^jsonl: .*other settings"):
        run(monkeypatch, "--format", "jsonl", "--output", "jsonl", "--top", "2", "a.wav", "b.wav")


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_failure_before_the_interruption_counts(
    model: Model, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch("a.txt", "b.wav")
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            run(monkeypatch, "--format", kind, "--output", "out", "a.txt", "b.wav")
        assert ended.value.code == 1
    assert model.asked == ["a.txt", "b.wav", "b.wav"]
