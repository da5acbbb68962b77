"""The common vocabulary of all corpora: emotions, sexes, and the descriptions of corpora and recordings.

Labels are open: a corpus uses the names in EMOTIONS where they match, and its own names for anything else.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Literal, get_args

Emotion = str  # a name that LABEL matches
EMOTIONS = (
    *("anger", "boredom", "calm", "contempt", "disgust", "excitement", "fear", "frustration", "happiness"),
    *("neutral", "sadness", "surprise"),
)
# One line of 1 to 40 characters: "+" joins tied votes, and metrics are keyed by the label.
LABEL = r"^[^\s+\x00-\x1f\x7f](?:[^+\x00-\x1f\x7f\u2028\u2029]{0,38}[^\s+\x00-\x1f\x7f])?$"
UNKNOWN = "unknown"  # a speaker whom nobody knows
Sex = Literal["female", "male"]
Channel = Literal["speech", "song"]
Intensity = Literal["low", "medium", "high", "normal", "strong", "unspecified"]
SEXES: tuple[str, ...] = get_args(Sex)
CHANNELS: tuple[str, ...] = get_args(Channel)
INTENSITIES: tuple[str, ...] = get_args(Intensity)


@dataclass(frozen=True)
class Download:
    """A file to download from a corpus's official address.

    Attributes:
        url: official address of the file.
        checksum: `md5:...` or `sha256:...`, as in pooch, or `lfs:...` with the address of a Git LFS pointer
            that contains it.
        filename: the name under which it is stored. The suffix shows whether it is an archive.
        n_bytes: size, for the progress bar and the check of free disk space; 0 if only the server knows it.
    """

    url: str
    checksum: str
    filename: str
    n_bytes: int


@dataclass(frozen=True)
class Corpus:
    """Facts about a corpus, for error messages, reports and checks.

    Attributes:
        title: name and kind of the corpus.
        licence: SPDX identifier or the publisher's words.
        citation: the paper to cite.
        url: official address.
        n_clips: recordings of speech in a complete copy.
        n_speakers: speakers in a complete copy.
        emotions: the labels it has, by their names in EMOTIONS where they match.
        name_pattern: the naming scheme in words, shown if no file name follows it.
        access: one sentence on how to get the corpus.
        language: that is spoken, as in ISO 639-1; "" if recordings differ.
        n_songs: recordings of song in a complete copy.
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
    language: str
    n_songs: int = 0


@dataclass(frozen=True)
class ParsedName:
    """What a file's name says about its recording; None is unknown.

    Attributes:
        speaker, emotion: None where the corpus's `annotate` reads them from other files.
        age: in years.
        language: as in ISO 639-1; None for the corpus's.
        session: the recording session, for the protocol of this name.
        partition: the published role, for the protocol `official`.
        clip: the recording's canonical name within its corpus. Two files that contain the same recording,
            such as RAVDESS's audio file and the sound track of its video, have the same one.
        preferred: False for the file to exclude if another one has the same `clip`.
        authentic: False for a name that the publisher is known to have given to another recording's audio:
            the labels of a copy with an authentic name are right.
        contradiction: what the file's folder says otherwise than its name, as "folder Actor_05".
    """

    clip: str
    speaker: str | None
    sex: Sex | None
    sentence: str | None
    emotion: Emotion | None
    intensity: Intensity = "unspecified"
    repetition: int = 1
    channel: Channel = "speech"
    _: KW_ONLY
    age: int | None = None
    language: str | None = None
    session: str | None = None
    partition: str | None = None
    preferred: bool = True
    authentic: bool = True
    contradiction: str = ""
