"""SAVEE, against the names its publisher describes."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath

import pytest

from stages.corpora import savee

# Info.txt of the publisher's AudioData: 15 sentences of each emotion, 30 neutral ones, of four men.
COUNTS = {"a": 15, "d": 15, "f": 15, "h": 15, "n": 30, "sa": 15, "su": 15}
LAYOUTS = ["{}/{}{:02}.wav", "AudioData/{}/{}{:02}.wav", "{}_{}{:02}.wav", "ALL/{}_{}{:02}.wav"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_published_name_is_read(layout: str) -> None:
    paths = [
        PurePosixPath(layout.format(speaker, code, number))
        for speaker in ("DC", "JE", "JK", "KL")
        for code, count in COUNTS.items()
        for number in range(1, count + 1)
    ]
    found = [parsed for path in paths if (parsed := savee.parse(path))]
    assert len(found) == len({parsed.clip for parsed in found}) == savee.ABOUT.n_clips == 480
    assert Counter(parsed.speaker for parsed in found) == {"DC": 120, "JE": 120, "JK": 120, "KL": 120}
    assert {parsed.sex for parsed in found} == {"male"}
    assert Counter(parsed.emotion for parsed in found) == {
        "anger": 60,
        "disgust": 60,
        "fear": 60,
        "happiness": 60,
        "neutral": 120,
        "sadness": 60,
        "surprise": 60,
    }
    # The publisher: 15 sentences per emotion, 3 common, 2 specific to the emotion and 10 generic, which
    # differ; the 3 common and 2 x 6 specific ones are also recorded as neutral, 30 in all.
    assert len({parsed.sentence for parsed in found}) == 3 + 6 * 12 + 12
    neutral = {parsed.sentence for parsed in found if parsed.emotion == "neutral"}
    others = Counter(
        parsed.emotion for parsed in found if parsed.emotion != "neutral" and parsed.sentence in neutral
    )
    assert set(others.values()) == {4 * (3 + 2)}


def test_both_layouts_name_the_same_recording() -> None:
    assert savee.parse(PurePosixPath("DC/sa01.wav")) == savee.parse(PurePosixPath("DC_sa01.wav"))


@pytest.mark.parametrize(
    "name",
    [
        "a01.wav",
        "XX/a01.wav",
        "XX_a01.wav",
        "DC_a16.wav",
        "DC_a00.wav",
        "DC_n31.wav",
        "DC_s01.wav",
        "DC_a1.wav",
        "DC_a001.wav",
        "DC/a01/b.wav",
    ],
)
def test_a_name_of_no_recording_is_none(name: str) -> None:
    assert savee.parse(PurePosixPath(name)) is None


def test_a_file_in_another_speakers_folder_contradicts_it() -> None:
    assert savee.parse(PurePosixPath("JE/DC_a01.wav")).contradiction == "folder JE"
    assert savee.parse(PurePosixPath("dc/DC_a01.wav")).contradiction == ""
