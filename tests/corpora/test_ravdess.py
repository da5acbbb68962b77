"""RAVDESS, against the real files and the publisher's counts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

import pytest

from stages.corpora import ravdess
from stages.data.vocabulary import ParsedName


def parsed_names(folder: Path) -> list[ParsedName]:
    """Returns every parsed file name; fails if one is not recognised."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    found = [ravdess.parse(PurePosixPath(path.relative_to(folder))) for path in paths]
    assert None not in found
    return [parsed for parsed in found if parsed]


def test_the_speech_is_read(corpora: Path) -> None:
    found = parsed_names(corpora / "ravdess")
    # the Zenodo page: 60 clips of each of 24 actors; no strong neutral, so half as many neutral ones
    assert Counter(parsed.speaker for parsed in found) == {f"{actor:02}": 60 for actor in range(1, 25)}
    assert Counter(parsed.emotion for parsed in found) == {
        "neutral": 96,
        "calm": 192,
        "happiness": 192,
        "sadness": 192,
        "anger": 192,
        "fear": 192,
        "disgust": 192,
        "surprise": 192,
    }
    assert Counter(parsed.sex for parsed in found) == {"male": 720, "female": 720}
    assert Counter(parsed.sentence for parsed in found) == {"kids": 720, "dogs": 720}
    assert Counter(parsed.repetition for parsed in found) == {1: 720, 2: 720}
    assert Counter(parsed.intensity for parsed in found) == {"normal": 768, "strong": 672}
    assert {parsed.channel for parsed in found} == {"speech"}
    assert len({parsed.clip for parsed in found}) == 1440


def test_the_song_is_read(corpora: Path) -> None:
    found = parsed_names(corpora / "ravdess_song")
    assert len(found) == len({parsed.clip for parsed in found}) == 1009  # the copy has not all 1012
    assert {parsed.channel for parsed in found} == {"song"}
    assert {parsed.emotion for parsed in found} == {
        "neutral",
        "calm",
        "happiness",
        "sadness",
        "anger",
        "fear",
    }
    assert "18" not in {parsed.speaker for parsed in found}


def test_the_originals_are_read(corpora: Path) -> None:
    assert len(parsed_names(corpora / "originals" / "ravdess")) == 4


def test_there_are_as_many_names_as_clips() -> None:
    names = {
        f"03-{channel:02}-{emotion:02}-{intensity:02}-{statement:02}-{repetition:02}-{actor:02}.wav"
        for channel in range(4)
        for emotion in range(10)
        for intensity in range(4)
        for statement in range(4)
        for repetition in range(4)
        for actor in range(30)
    }
    channels = Counter(parsed.channel for name in names if (parsed := ravdess.parse(PurePosixPath(name))))
    # the Zenodo page: 24 x 60, and 23 x 44 for actor 18's songs are missing; their names would be good ones
    assert channels == {"speech": 1440, "song": 1012 + 44}
    assert (ravdess.ABOUT.n_clips, ravdess.ABOUT.n_songs) == (1440, 1012)


def test_all_seven_fields_are_read() -> None:
    parsed = ravdess.parse(PurePosixPath("Actor_12/03-02-06-02-01-02-12.wav"))
    assert parsed == ParsedName(
        clip="03-02-06-02-01-02-12",
        speaker="12",
        sex="female",
        sentence="kids",
        emotion="fear",
        intensity="strong",
        repetition=2,
        channel="song",
    )


def test_a_videos_sound_track_is_the_same_recording() -> None:
    alone = ravdess.parse(PurePosixPath("03-01-06-01-02-01-12.wav"))
    track = ravdess.parse(PurePosixPath("01-01-06-01-02-01-12.wav"))
    assert alone and track
    assert track.clip == alone.clip
    assert (alone.preferred, track.preferred) == (True, False)


@pytest.mark.parametrize(
    "name",
    [
        "02-01-06-01-02-01-12.wav",  # the video without sound
        "03-01-01-02-01-01-01.wav",  # strong neutral
        "03-02-08-01-01-01-01.wav",  # surprise is not sung
        "03-01-09-01-01-01-01.wav",
        "03-03-01-01-01-01-01.wav",
        "03-01-01-01-01-01-25.wav",
        "03-01-01-01-01-01-00.wav",
        "03-01-01-01-01-01.wav",
        "03-01-01-01-01-01-01-01.wav",
        "3-1-1-1-1-1-1.wav",
        "1001_DFA_ANG_XX.wav",
    ],
)
def test_a_name_of_no_recording_is_none(name: str) -> None:
    assert ravdess.parse(PurePosixPath(name)) is None


@pytest.mark.parametrize(("archives", "n_files"), [(["speech"], 1), (["song"], 1), (["speech", "song"], 2)])
def test_downloads_are_the_chosen_archives(archives: list[str], n_files: int) -> None:
    found = ravdess.downloads(ravdess.Config(archives=archives))
    assert len(found) == n_files
    assert all(item.url.startswith("https://zenodo.org/records/1188976/files/Audio_") for item in found)


def test_a_file_in_another_actors_folder_contradicts_it() -> None:
    name = "03-01-01-01-01-01-02.wav"
    assert ravdess.parse(PurePosixPath(f"Actor_05/{name}")).contradiction == "folder Actor_05"
    assert ravdess.parse(PurePosixPath(f"Actor_02/{name}")).contradiction == ""
    assert ravdess.parse(PurePosixPath(f"Audio_Speech_Actors_01-24/{name}")).contradiction == ""
