"""EMO-DB, by the publisher's description of its names (http://emodb.bilderbar.info/docu/)."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from stages.corpora import emodb


def test_the_publisher_s_example_is_read() -> None:
    """03a01Fa.wav: speaker 03, a man of 31; text a01; happiness (Freude); version a."""
    parsed = emodb.parse(PurePosixPath("wav/03a01Fa.wav"))
    assert parsed is not None
    assert (parsed.speaker, parsed.sex, parsed.sentence) == ("03", "male", "a01")
    assert (parsed.emotion, parsed.repetition) == ("happiness", 1)


@pytest.mark.parametrize(
    ("name", "sex", "emotion"),
    [
        ("08b09Wb", "female", "anger"),
        ("16a04Lc", "female", "boredom"),
        ("15b10Tf", "male", "sadness"),
        ("14a07Aa", "female", "fear"),
        ("12b01Ed", "male", "disgust"),
        ("13b02Na", "female", "neutral"),
    ],
)
def test_speakers_and_emotions(name: str, sex: str, emotion: str) -> None:
    parsed = emodb.parse(PurePosixPath(f"{name}.wav"))
    assert parsed is not None
    assert (parsed.sex, parsed.emotion) == (sex, emotion)


@pytest.mark.parametrize("name", ["03a01F", "04a01Fa", "03a03Fa", "03a01Xa", "03a01Fab", "17a01Fa"])
def test_a_name_of_no_recording_is_none(name: str) -> None:
    assert emodb.parse(PurePosixPath(f"{name}.wav")) is None
