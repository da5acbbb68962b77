"""TESS, against the real files and the publisher's counts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from stages.base.errors import InputError
from stages.base.params import Block
from stages.corpora import tess
from stages.data.vocabulary import Download, ParsedName


def parsed_names(folder: Path) -> list[ParsedName]:
    """Returns every parsed file name; fails if one is not recognised."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    found = [tess.parse(PurePosixPath(path.relative_to(folder))) for path in paths]
    assert None not in found
    return [parsed for parsed in found if parsed]


def test_every_real_name_is_read(corpora: Path) -> None:
    """A complete copy holds 200 words in 7 emotions by 2 women; a partial one, whole words of it."""
    found = parsed_names(corpora / "tess")
    words = Counter(parsed.sentence for parsed in found)
    n_words = len(words)
    assert 0 < n_words <= 200
    assert words == dict.fromkeys(words, 2 * 7)
    assert len({parsed.clip for parsed in found}) == 2 * 7 * n_words
    assert Counter(parsed.speaker for parsed in found) == {"OAF": 7 * n_words, "YAF": 7 * n_words}
    assert Counter(parsed.emotion for parsed in found) == dict.fromkeys(tess.ABOUT.emotions, 2 * n_words)
    assert {parsed.sex for parsed in found} == {"female"}


def test_the_originals_are_read_even_misspelt(corpora: Path) -> None:
    clips = {parsed.clip for parsed in parsed_names(corpora / "originals" / "tess")}
    assert len(clips) == 6
    assert "OAF_bite_neutral" in clips  # the file is OA_bite_neutral.wav


@pytest.mark.parametrize(
    ("name", "clip"),
    [
        ("OAF_Pleasant_surprise/OAF_back_ps.wav", "OAF_back_ps"),
        ("YAF_pleasant_surprised/YAF_back_ps.wav", "YAF_back_ps"),
        ("YAF_pleasant_surprised/YAF_back_pleasant_surprised.wav", "YAF_back_ps"),
        ("oaf_back_pleasant_surprise.wav", "OAF_back_ps"),
        ("OAF_Sad/OAF_back_sad.wav", "OAF_back_sad"),
        ("YAF_Fear/YAF_Back_Fear.WAV", "YAF_back_fear"),
        ("OA_bite_neutral.wav", "OAF_bite_neutral"),
    ],
)
def test_variants_name_one_recording(name: str, clip: str) -> None:
    parsed = tess.parse(PurePosixPath(name))
    assert parsed is not None
    assert parsed.clip == clip


@pytest.mark.parametrize(
    "name",
    ["OAF_back.wav", "MAF_back_sad.wav", "OAF_back_calm.wav", "OAF__sad.wav", "OAF_back_sad_2.wav", "x.wav"],
)
def test_a_name_of_no_recording_is_none(name: str) -> None:
    assert tess.parse(PurePosixPath(name)) is None


def listing(*names: str) -> dict[str, Any]:
    """Returns an answer of Dataverse's native API, less what is not read."""
    files = [
        {"filename": name, "id": 100 + number, "filesize": 5, "checksum": {"type": "MD5", "value": "ab" * 16}}
        for number, name in enumerate(names)
    ]
    return {"status": "OK", "data": [{"label": file["filename"], "dataFile": file} for file in files]}


def test_downloads_are_what_the_publisher_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tess, "read_json", lambda url: listing("readme.txt", "OAF_back_sad.wav"))
    assert tess.downloads(Block()) == [
        Download("https://borealisdata.ca/api/access/datafile/101", "md5:" + "ab" * 16, "OAF_back_sad.wav", 5)
    ]


def test_a_listed_name_stays_in_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tess, "read_json", lambda url: listing("../../OAF_back_sad.wav"))
    assert [item.filename for item in tess.downloads(Block())] == ["OAF_back_sad.wav"]


@pytest.mark.parametrize(
    "answer", [{}, [], None, {"data": [{}]}, {"data": [{"dataFile": {"filename": "OAF_a_sad"}}]}]
)
def test_another_answer_is_refused(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    monkeypatch.setattr(tess, "read_json", lambda url: answer)
    with pytest.raises(InputError, match=r"borealisdata\.ca.*the answer is not a list of files"):
        tess.downloads(Block())


@pytest.mark.parametrize(
    ("path", "contradiction"),
    [
        ("YAF_sad/OAF_back_angry.wav", "folder YAF_sad"),
        ("OAF_sad/OAF_back_angry.wav", "folder OAF_sad"),
        ("OAF_angry/OAF_back_angry.wav", ""),
        ("OAF_Pleasant_surprise/OAF_back_ps.wav", ""),
        ("YAF_pleasant_surprised/YAF_back_ps.wav", ""),
        ("OAF_neutral/OA_bite_neutral.wav", ""),
        ("sad/OAF_back_angry.wav", ""),
    ],
)
def test_the_folder_of_another_speaker_or_emotion_contradicts_the_name(path: str, contradiction: str) -> None:
    assert tess.parse(PurePosixPath(path)).contradiction == contradiction
