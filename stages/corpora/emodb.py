"""EMO-DB: ten German actors speak ten sentences in seven emotions.

Names: `03a01Fa.wav`: speaker, sentence, emotion by the first letter of its German name, version.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from stages.base.params import Block
from stages.data.vocabulary import Corpus, Download, Emotion, ParsedName

ABOUT = Corpus(
    title="EMO-DB, the Berlin database of emotional speech",
    licence="free to use, with citation",
    citation="Burkhardt et al. 2005, A database of German emotional speech, Proc. Interspeech, pp. 1517-1520",
    url="http://emodb.bilderbar.info/",
    n_clips=535,
    n_speakers=10,
    emotions=("anger", "boredom", "disgust", "fear", "happiness", "neutral", "sadness"),
    name_pattern="<speaker><sentence><emotion><version>.wav, as in 03a01Fa.wav, with emotions W, L, E, "
    "A, F, T, N",
    access="Take the recordings, the folder wav, from http://emodb.bilderbar.info/.",
)

EMOTIONS: dict[str, Emotion] = {
    "W": "anger",  # Wut
    "L": "boredom",  # Langeweile
    "E": "disgust",  # Ekel
    "A": "fear",  # Angst
    "F": "happiness",  # Freude
    "T": "sadness",  # Trauer
    "N": "neutral",
}
MEN = ("03", "10", "11", "12", "15")
SENTENCES = ("a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03", "b09", "b10")

_NAME = re.compile(rf"(03|08|09|1[0-6])({'|'.join(SENTENCES)})([{''.join(EMOTIONS)}])([a-z])", re.ASCII)


class Config(Block):
    pass


def parse(path: PurePosixPath) -> ParsedName | None:
    """Returns what the file's name says, None if it does not follow this corpus's pattern."""
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    speaker, sentence, code, version = match.groups()
    return ParsedName(
        clip=path.stem,
        speaker=speaker,
        sex="male" if speaker in MEN else "female",
        sentence=sentence,
        emotion=EMOTIONS[code],
        repetition=ord(version) - ord("a") + 1,
    )


def downloads(config: Config) -> list[Download]:
    """Returns an empty list: the publisher lists no checksums."""
    return []
