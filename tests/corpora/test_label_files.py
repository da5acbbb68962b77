"""Corpora whose emotions are in other files than the recordings, on clips synthesised under their names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from stages import ingest, manifest, select, split
from stages.base.errors import InputError
from stages.base.files import MANIFEST, METRICS, SOURCES
from stages.data import tables
from stages.splitting.leak import LeakError
from tests.support import long_splits, shipped

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = shipped.values()
RATE_HZ = 16_000
Choose = Callable[..., None]


@pytest.fixture
def choose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Choose:
    """Moves into an empty project; returns what writes its params.yaml for a corpus."""
    monkeypatch.chdir(tmp_path)

    def write(corpus: str, **split: Any) -> None:
        values = SHIPPED | {
            "corpus": [corpus],
            "split": SHIPPED["split"] | split,
            "compute": SHIPPED["compute"] | {"workers": 1},
        }
        Path("params.yaml").write_text(json.dumps(values))

    return write


def sound(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng([*str(path).encode()]).normal(0, 0.1, RATE_HZ // 2)
    syllables = np.where(np.sin(20 * np.pi * np.arange(len(noise)) / RATE_HZ) > 0, 1, 0.1)
    soundfile.write(path, noise * syllables, RATE_HZ)


def listed() -> pd.DataFrame:
    """Runs select, ingest and manifest and returns the manifest by clip."""
    for stage in (select, ingest, manifest):
        stage.main()
    return tables.read(MANIFEST, tables.MANIFEST).set_index("clip")


def splits() -> pd.DataFrame:
    split.main()
    return long_splits.read()


def iemocap(turns: list[tuple[str, str]]) -> None:
    """Puts turns with their codes where the full release has them."""
    for turn, code in turns:
        session = SOURCES / f"iemocap/Session{turn[4]}"
        dialogue = turn.rpartition("_")[0]
        sound(session / f"sentences/wav/{dialogue}/{turn}.wav")
        path = session / f"dialog/EmoEvaluation/{dialogue}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        known = path.read_text() if path.exists() else "% [START - END] TURN_NAME EMOTION [V, A, D]\n\n"
        path.write_text(
            known + f"[6.2901 - 8.2357]\t{turn}\t{code}\t[2.5000, 2.5000, 2.5000]\nC-E2:\tNeutral;\n"
        )


def test_iemocap_s_labels_come_from_its_evaluations_and_its_sessions_are_folds(choose: Choose) -> None:
    iemocap(
        [
            (f"Ses0{session}{marked}_{dialogue}_{sex}00{turn}", code)
            for session in (1, 2)
            for marked, dialogue in (("F", "impro01"), ("M", "script01_1b"))
            for sex in "FM"
            for turn, code in enumerate(("exc", "fru"))
        ]
        + [("Ses01F_impro01_F009", "xxx")]
    )
    extra = SOURCES / "iemocap/Session1/dialog/wav/Ses01F_impro01.wav"  # the whole dialogue
    sound(extra)
    sound(SOURCES / "iemocap/Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F010.wav")
    choose("iemocap", protocol="session", validation_fraction=0.0)
    table = listed()
    first = table.loc["iemocap/Ses01F_impro01_M000"]
    assert (first["speaker"], first["sex"], first["emotion"]) == ("iemocap/1M", "male", "excitement")
    assert (first["session"], first["language"], first["problem"]) == ("iemocap/1", "en", "")
    assert pd.isna(first["sentence"])
    problems = table["problem"]
    assert problems["iemocap/Ses01F_impro01_F009"].startswith("no label")
    assert "xxx" in problems["iemocap/Ses01F_impro01_F009"]
    assert problems["iemocap/Ses01F_impro01_F010"].startswith("no label")
    assert problems["iemocap/Ses01F_impro01"].startswith("unknown name")
    found = splits()
    assert found.groupby("fold")["clip"].nunique().tolist() == [16, 16]
    tested = found[found["role"] == "test"].groupby("fold")["speaker"].unique()
    assert [sorted(names) for names in tested] == [["iemocap/1F", "iemocap/1M"], ["iemocap/2F", "iemocap/2M"]]


def test_iemocap_without_evaluations_or_with_an_unknown_code_is_refused(choose: Choose) -> None:
    choose("iemocap", protocol="session")
    sound(SOURCES / "iemocap/Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav")
    with pytest.raises(InputError, match="EmoEvaluation"):
        listed()
    iemocap([("Ses01F_impro01_F000", "joy")])
    with pytest.raises(InputError, match=r"Ses01F_impro01\.txt.*'joy'.*Ses01F_impro01_F000.*hap"):
        listed()


MELD_FOLDERS = {
    "train": "train/train_splits",
    "dev": "dev_splits_complete",
    "test": "output_repeated_splits_test",
}


def meld(speakers: dict[str, str]) -> None:
    """Puts two dialogues into each partition, spoken by its speaker; tables have the publisher's columns."""
    for name, speaker in speakers.items():
        rows = []
        for dialogue in range(2):
            for utterance, emotion in enumerate(("joy", "anger")):
                sound(SOURCES / f"meld/{MELD_FOLDERS[name]}/dia{dialogue}_utt{utterance}.wav")
                text = f"Oh, {name} {dialogue}" if utterance else f"oh {name} {dialogue}!"
                said = f'"{text}",{speaker},{emotion},x'
                rows.append(f'1,{said},{dialogue},{utterance},1,1,"0:00:01,2","0:00:02,3"')
        said = ("Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID")
        header = ",".join([*said, "Season", "Episode", "StartTime", "EndTime"])
        (SOURCES / f"meld/{name}_sent_emo.csv").write_text("\n".join([header, *rows]))


def test_meld_s_tables_say_who_speaks_what_in_which_partition(choose: Choose) -> None:
    meld({"train": "Ross", "dev": "Joey", "test": "Monica"})
    sound(SOURCES / "meld/dev_splits_complete/dia9_utt9.wav")  # in no table
    choose("meld", protocol="official")
    table = listed()
    clip = table.loc["meld/validation_1_0"]
    assert (clip["speaker"], clip["emotion"], clip["sentence"]) == (
        "meld/Joey",
        "happiness",
        "meld/Oh, dev 1",
    )
    assert table.loc["meld/validation_1_1", "sentence"] == clip["sentence"]  # the same words
    assert (clip["partition"], clip["problem"]) == ("validation", "")
    assert table.loc["meld/validation_9_9", "problem"].startswith("no label")
    roles = splits().groupby("role")["speaker"].unique().str[0].to_dict()
    assert roles == {"train": "meld/Ross", "validation": "meld/Joey", "test": "meld/Monica"}


def test_meld_s_published_partition_leaks(choose: Choose) -> None:
    meld({"train": "Ross", "dev": "Joey", "test": "Ross"})
    choose("meld", protocol="official")
    listed()
    with pytest.raises(LeakError, match=r"speaker 'meld/Ross'"):
        splits()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("joy", "bliss"), ["train_sent_emo.csv", "'bliss'", "joy"]),
        (("Speaker", "Who"), ["train_sent_emo.csv", "Speaker"]),
    ],
)
def test_a_table_that_is_not_meld_s_is_refused(
    choose: Choose, change: tuple[str, str], named: list[str]
) -> None:
    meld({"train": "Ross", "dev": "Joey", "test": "Monica"})
    path = SOURCES / "meld/train_sent_emo.csv"
    path.write_text(path.read_text().replace(*change))
    choose("meld")
    with pytest.raises(InputError) as error:
        listed()
    assert all(part in str(error.value) for part in named)


def test_nemo_is_a_table(choose: Choose) -> None:
    rows = ["file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage"]
    for speaker, sex in (("WR0", "male"), ("EB0", "female"), ("KS0", "male")):
        for emotion in ("surprised", "neutral"):
            sound(SOURCES / f"nemo/samples/{speaker}_{emotion}_64.wav")
            rows.append(f"{speaker}_{emotion}_64.wav\t{emotion}\tUcho.\tucho\t        {speaker}\t{sex}\t23")
    (SOURCES / "nemo/data.tsv").write_text("\n".join(rows))
    choose("nemo", n_folds=3)
    table = listed()
    clip = table.loc["nemo/WR0_surprised_64.wav"]
    assert (clip["speaker"], clip["sex"], clip["age"]) == ("nemo/WR0", "male", 23)
    assert (clip["sentence"], clip["emotion"], clip["language"]) == ("nemo/ucho", "surprise", "pl")
    assert splits()["fold"].nunique() == 3


def test_msp_podcast_is_a_table_whose_unknown_speakers_are_left_out_and_counted(choose: Choose) -> None:
    rows = ["FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set"]
    partitions = {"Train": ("1", "2"), "Development": ("3",), "Test1": ("4", "Unknown"), "Test2": ("5",)}
    for partition, speakers in partitions.items():
        for speaker in speakers:
            for code in "ACDFHNSUXO":
                name = f"MSP-PODCAST_{len(rows):04}_{speaker}.wav"
                sound(SOURCES / f"msp_podcast/Audios/{name}")
                sex = "Unknown" if speaker == "Unknown" else "Female"
                rows.append(f"{name},{code},4,4,4,{speaker},{sex},{partition}")
    labels = SOURCES / "msp_podcast/Labels/labels_consensus.csv"
    labels.parent.mkdir()
    labels.write_text("\n".join(rows))
    choose("msp_podcast", protocol="official")
    table = listed()
    assert (table["problem"].str.startswith("label left out")).sum() == 2 * 6
    found = splits()
    speakers = found.groupby("role")["speaker"].unique().map(sorted).to_dict()
    assert speakers == {
        "train": ["msp_podcast/1", "msp_podcast/2"],
        "validation": ["msp_podcast/3"],
        "test": ["msp_podcast/4"],
    }
    assert found["label"].nunique() == 8
    assert json.loads((METRICS / "split.json").read_text())["n_excluded"]["speaker"] == 8
