"""RAVDESS: 24 professional actors speak and sing two sentences, each emotion in two intensities.

Names: `03-01-06-01-02-01-12.wav`, seven fields of two digits, described on the Zenodo page.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import Field

from stages.base.params import Block
from stages.data.vocabulary import Channel, Corpus, Download, Emotion, Intensity, ParsedName

ABOUT = Corpus(
    title="RAVDESS, the Ryerson Audio-Visual Database of Emotional Speech and Song",
    licence="CC-BY-NC-SA-4.0",
    citation="Livingstone & Russo 2018, PLoS ONE 13(5), e0196391, doi:10.1371/journal.pone.0196391",
    url="https://zenodo.org/records/1188976",
    n_clips=1440,
    n_speakers=24,
    emotions=("anger", "calm", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"),
    name_pattern="<modality>-<channel>-<emotion>-<intensity>-<statement>-<repetition>-<actor>.wav, two "
    "digits each, as in 03-01-06-01-02-01-12.wav",
    access="`ingest.download: true` fetches it, or take Audio_Speech_Actors_01-24.zip (and "
    "Audio_Song_Actors_01-24.zip) from https://zenodo.org/records/1188976, packed or not.",
    language="en",
    n_songs=1012,
)

EMOTIONS: dict[str, Emotion] = {
    "01": "neutral",
    "02": "calm",
    "03": "happiness",
    "04": "sadness",
    "05": "anger",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}
NEVER_SUNG = ("07", "08")
CHANNELS: dict[str, Channel] = {"01": "speech", "02": "song"}
INTENSITIES: dict[str, Intensity] = {"01": "normal", "02": "strong"}
STATEMENTS = {"01": "kids", "02": "dogs"}  # Kids are talking by the door; Dogs are sitting by the door

# Modality 01 is the sound track of a video, 03 the audio alone; 02 is the video without sound.
_FOLDER = re.compile(r"actor[ _-]?(\d\d)", re.ASCII | re.IGNORECASE)
_NAME = re.compile(r"0[13]-(0[12])-(0[1-8])-(0[12])-(0[12])-0([12])-(0[1-9]|1\d|2[0-4])", re.ASCII)

# Sizes and checksums as Zenodo lists them.
_ARCHIVES = {
    "speech": Download(
        url="https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip?download=1",
        checksum="md5:bc696df654c87fed845eb13823edef8a",
        filename="Audio_Speech_Actors_01-24.zip",
        n_bytes=208_468_073,
    ),
    "song": Download(
        url="https://zenodo.org/records/1188976/files/Audio_Song_Actors_01-24.zip?download=1",
        checksum="md5:5411230427d67a21e18aa4d466e6d1b9",
        filename="Audio_Song_Actors_01-24.zip",
        n_bytes=225_505_317,
    ),
}


class Config(Block):
    archives: Annotated[list[Literal["speech", "song"]], Field(min_length=1)]  # what is downloaded


def parse(path: PurePosixPath) -> ParsedName | None:
    """Returns what the file's name says, None if it does not follow this corpus's pattern."""
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    channel, emotion, intensity, statement, repetition, actor = match.groups()
    if (emotion, intensity) == ("01", "02") or (channel == "02" and emotion in NEVER_SUNG):
        return None
    return ParsedName(
        clip=f"03{path.stem[2:]}",
        speaker=actor,
        sex="male" if int(actor) % 2 else "female",
        sentence=STATEMENTS[statement],
        emotion=EMOTIONS[emotion],
        intensity=INTENSITIES[intensity],
        repetition=int(repetition),
        channel=CHANNELS[channel],
        preferred=path.stem.startswith("03"),
        contradiction=_contradiction(path, actor),
    )


def _contradiction(path: PurePosixPath, actor: str) -> str:
    """Returns the folder of another actor that a file is in, "" if there is none."""
    folders = [match for part in path.parts[:-1] if (match := _FOLDER.fullmatch(part))]
    return f"folder {folders[-1][0]}" if folders and folders[-1][1] != actor else ""


def downloads(config: Config) -> list[Download]:
    """Returns the chosen archives on Zenodo."""
    return [_ARCHIVES[name] for name in config.archives]
