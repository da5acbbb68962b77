"""What a corpus tells of itself and of each recording: the vocabulary every corpus file maps to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

Emotion = Literal["anger", "calm", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"]
Sex = Literal["female", "male"]
Channel = Literal["speech", "song"]
Intensity = Literal["low", "medium", "high", "normal", "strong", "unspecified"]
EMOTIONS: tuple[str, ...] = get_args(Emotion)
SEXES: tuple[str, ...] = get_args(Sex)
CHANNELS: tuple[str, ...] = get_args(Channel)
INTENSITIES: tuple[str, ...] = get_args(Intensity)


@dataclass(frozen=True)
class Download:
    """One file at a corpus's official address.

    Attributes:
        url: where the publisher serves it.
        checksum: `md5:...` or `sha256:...`, as pooch reads it, or `lfs:...`, the address of the Git LFS
            pointer that tells it.
        filename: the name it is stored under; an archive by its suffix, else an audio or metadata file.
        n_bytes: size, for the progress bar and the disk check; 0 where only the server knows.
    """

    url: str
    checksum: str
    filename: str
    n_bytes: int


@dataclass(frozen=True)
class Corpus:
    """A corpus's particulars, for error messages, documentation and checks.

    Attributes:
        title: name and kind of the corpus.
        licence: SPDX identifier or the publisher's words.
        citation: the paper to cite.
        url: official address.
        n_clips: recordings in a complete copy, of every channel.
        n_speakers: speakers in a complete copy.
        emotions: the labels it has, a subset of EMOTIONS.
        name_pattern: the file name scheme in words, shown when no name fits.
        access: one sentence on how to get the corpus.
    """

    title: str
    licence: str
    citation: str
    url: str
    n_clips: int
    n_speakers: int
    emotions: tuple[Emotion, ...]
    name_pattern: str
    access: str


@dataclass(frozen=True)
class ParsedName:
    """What a file's name tells of its recording.

    Attributes:
        clip: the recording's canonical name within its corpus; the same recording under two file
            names (RAVDESS's sound track of a video) has the same one.
        preferred: False marks the copy to give up when another file has the same `clip`.
    """

    clip: str
    speaker: str
    sex: Sex
    sentence: str
    emotion: Emotion
    intensity: Intensity = "unspecified"
    repetition: int = 1
    channel: Channel = "speech"
    preferred: bool = field(default=True, kw_only=True)
