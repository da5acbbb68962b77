"""CREMA-D: 91 actors of all ages and several ethnicities speak twelve sentences in six emotions.

Names: `1001_IEO_ANG_HI.wav`: actor, sentence, emotion, intensity, described in the repository's README. Its
VideoDemographics.csv and processedResults/summaryTable.csv, if they are among the files, add more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from stages.base.errors import InputError, one_line
from stages.base.params import Block
from stages.data.patterns import Names
from stages.data.vocabulary import Corpus, Download, Emotion, Intensity, ParsedName

ABOUT = Corpus(
    title="CREMA-D, the Crowd-sourced Emotional Multimodal Actors Dataset",
    licence="ODbL-1.0, its contents DbCL-1.0",
    citation="Cao et al. 2014, IEEE Trans. Affective Computing 5(4), 377-390, doi:10.1109/TAFFC.2014.2336244",
    url="https://github.com/CheyneyComputerScience/CREMA-D",
    n_clips=7442,
    n_speakers=91,
    emotions=("anger", "disgust", "fear", "happiness", "neutral", "sadness"),
    name_pattern="<actor>_<sentence>_<EMOTION>_<intensity>.wav, as in 1001_IEO_ANG_HI.wav, with intensities "
    "LO, MD, HI, XX",
    access="`ingest.download: true` fetches it, or take AudioWAV, VideoDemographics.csv and "
    "processedResults/summaryTable.csv from a clone of https://github.com/CheyneyComputerScience/CREMA-D in "
    "which `git lfs pull` was run.",
    language="en",
)

EMOTIONS: dict[str, Emotion] = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}
VOTES: dict[str, Emotion] = {code[0]: emotion for code, emotion in EMOTIONS.items()}
INTENSITIES: dict[str, Intensity] = {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified"}
SENTENCES = ("DFA", "IEO", "IOM", "ITH", "ITS", "IWL", "IWW", "MTI", "TAI", "TIE", "TSI", "WSI")

# Of actors 1001 to 1091, from VideoDemographics.csv: balanced splits need it where that file is not, too.
FIRST_ACTOR = 1001
SEXES = "MFFFMFFFFFMFFMMMMFMFFMMFFMMFFFMMMMMMFMMMMMFMMFFMFMMFFFFFMFMFFMFMMMMMMMMFFFFFMFFMMFMFMMMMFMF"

# Byte for byte the recordings 1006_TIE_HAP, 1013_WSI_SAD and 1017_IWW_ANG. Those count, for these names were
# missing from the publisher's repository at first, as the loader of TensorFlow Datasets 1.0.0 says.
STAND_INS = ("1006_TIE_NEU_XX", "1013_WSI_DIS_XX", "1017_IWW_FEA_XX")

# Never recorded: everything whose name begins so.
ABSENT = ("1002_TIE_NEU", "1008_WSI", "1009_MTI", "1019_ITH", "1076_ITS_NEU")

# Of each actor's recordings (data.published), from the SHA-256 in the publisher's Git LFS pointers.
CHECKSUMS_OF = "sha256"
_CHECKSUMS = """
267e7431551c f19d4b1c6d89 9b0fc9e55bc6 5a243044d8bd 87028f932f27 ba9fff3b9f0d 5e4829e02523
2cd81c72e191 fc3d5f174f95 a6faf5d0c105 ce3114fdc81c 58e4ee1d16b0 02d9097ed679 ebe0db318baa
83fd70917f7d 117ef5eafcef e5a1e2f0ba5d 0b9ef795a963 aa3f79477c5a ad767894f0ec 03ae4674bd9a
dc7a427367e9 8b9491879622 3846cdbef9b3 6de69d2daf30 46abb99daf3e 1e0a12b842ff 1100764e90d5
f0b1a5e2e2e4 36bc2f24a799 a910cbf04853 2d9c12c44d05 b3f53bd632e9 22cddc307193 1ec62659ceee
f8a6251bd607 877c64d190ce c1ccba38545e ab9b9fd0567c cdfa2636d636 ad9698831368 2bdd075594b6
fae0e28b7ae2 ea5c320f5272 c2b4b6f92d4b 54bdc896fcde 4e3f4789dfd3 be4014a4e493 e2b3755ba647
66f5f9190f23 752ddef07c01 4f0d87e77b14 404129e80c38 2efed088bffc 9365d18af5c7 62c3260b180d
49d40a774c92 bdc0abdd5a32 ee51c6e94e52 81e4d6b203d7 ae218b8b5950 d04f4ffcbf3f 2218abe565fe
78fc4829646b 19fd946cdd57 677a02e21918 a865b2154425 7806523decd9 24d6bb275a72 981254ff3e9f
da9c4bf517a2 7303bda0ac46 7d3f9535687c f3781b687ea2 50b4b67d115a 382bb98e71bb eee593876bd8
539fb5ab0305 1a5f5df01e59 fd78799b0dec 11996b4c39a0 118f9ecb0fb0 16dbcb247397 7cb964d768fa
c63e97380fab 64a503e30665 10d4e85e251d c12029e1e286 ee84acfbd504 ffe6f0b471df c9870fd11ee0
"""
CHECKSUMS = {str(FIRST_ACTOR + number): checksum for number, checksum in enumerate(_CHECKSUMS.split())}

_NAMES = Names(
    pattern=re.compile(
        rf"(?P<speaker>10(?:0[1-9]|[1-8]\d|9[01]))_(?P<sentence>{'|'.join(SENTENCES)})"
        rf"_(?P<emotion>{'|'.join(EMOTIONS)})_(?P<intensity>{'|'.join(INTENSITIES)})",
        re.ASCII,
    ),
    emotions=EMOTIONS,
    sexes={str(FIRST_ACTOR + number): "male" if sex == "M" else "female" for number, sex in enumerate(SEXES)},
    intensities=INTENSITIES,
)
_RAW = "https://raw.githubusercontent.com/CheyneyComputerScience/CREMA-D/master"
_MEDIA = "https://media.githubusercontent.com/media/CheyneyComputerScience/CREMA-D/master"


def parse(path: PurePosixPath) -> ParsedName | None:
    """Returns what the file's name says, None if it does not follow this corpus's pattern."""
    parsed = _NAMES.parse(path)
    return parsed and replace(
        parsed,
        # the publisher has each recording as MP3 too, for listeners; some of those are broken
        preferred=path.suffix.lower() != ".mp3",
        authentic=path.stem not in STAND_INS,
    )


def downloads(config: Block) -> list[Download]:
    """Returns the recordings, whose checksums are in their Git LFS pointers, and the two tables."""
    recordings = [
        Download(
            url=f"{_MEDIA}/AudioWAV/{clip}.wav",
            checksum=f"lfs:{_RAW}/AudioWAV/{clip}.wav",
            filename=f"AudioWAV/{clip}.wav",
            n_bytes=0,
        )
        for clip in _clips()
    ]
    tables = [
        Download(
            url=f"{_RAW}/VideoDemographics.csv",
            checksum="sha256:e33ddc8b60bedf98541735801127cbb67098b5957271adbdd5dea8a44294eec3",
            filename="VideoDemographics.csv",
            n_bytes=4033,
        ),
        Download(
            url=f"{_RAW}/processedResults/summaryTable.csv",
            checksum="sha256:fb0e382700d32c0d9adc0c6815292215a36bcf912f2657048862c91e3bd2b317",
            filename="summaryTable.csv",
            n_bytes=449_048,
        ),
    ]
    return recordings + tables


def annotate(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Returns the manifest's rows with what the publisher's tables below `folder` say about actors and clips.

    Fills `age`, `race` and `ethnicity` from VideoDemographics.csv, and `listeners`, the vote of those who
    rated the sound alone, from summaryTable.csv.

    Raises:
        InputError: one of the tables does not have the publisher's columns.
    """
    table = table.copy()
    actors = _read(folder, "VideoDemographics.csv", "ActorID", {"Age": int, "Race": str, "Ethnicity": str})
    if actors is not None:
        actor = table["speaker"].astype("string").str.rpartition("/")[2]
        for column in ("Age", "Race", "Ethnicity"):
            table[column.lower()] = actor.map(actors[column])
        table["age"] = table["age"].astype("Int64")
    votes = _read(folder, "summaryTable.csv", "FileName", {"VoiceVote": _vote})
    if votes is not None:
        clip = table["clip"].str.rpartition("/")[2]
        table["listeners"] = clip.map(votes["VoiceVote"])
    return table


def _clips() -> Iterator[str]:
    for actor in range(FIRST_ACTOR, FIRST_ACTOR + len(SEXES)):
        for sentence in SENTENCES:
            for emotion in EMOTIONS:
                graded = sentence == "IEO" and emotion != "NEU"
                for intensity in ("LO", "MD", "HI") if graded else ("XX",):
                    clip = f"{actor}_{sentence}_{emotion}_{intensity}"
                    if not clip.startswith(ABSENT):
                        yield clip


def _read(
    folder: Path, filename: str, key: str, columns: dict[str, Callable[[str], Any]]
) -> pd.DataFrame | None:
    """Returns the first table of this name below `folder`, indexed by `key`, None if there is none."""
    path = next(iter(sorted(folder.rglob(filename))), None)
    if path is None:
        return None
    try:
        table = pd.read_csv(path, usecols=[key, *columns], converters={key: str} | columns).set_index(key)
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: not CREMA-D's table of this name ({one_line(error)}).") from error
    if not table.index.is_unique:
        raise InputError(f"{path}: not CREMA-D's table of this name (it has a {key} twice).")
    return table


def _vote(letters: str) -> str:
    """Returns the emotions of a vote such as `A:N`, joined by "+"."""
    return "+".join(VOTES[letter] for letter in letters.split(":"))
