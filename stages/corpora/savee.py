"""SAVEE: four Englishmen speak sentences of TIMIT, some common to all emotions, most of one emotion's own.

Names: `DC/a01.wav` as published, or `DC_a01.wav` in one folder: speaker, emotion, number.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from stages.data.vocabulary import Corpus, Emotion, ParsedName

ABOUT = Corpus(
    title="SAVEE, the Surrey Audio-Visual Expressed Emotion database",
    licence="for research only, on registration",
    citation="Haq & Jackson 2009, Speaker-dependent audio-visual emotion recognition, Proc. AVSP, pp. 53-58",
    url="http://personal.ee.surrey.ac.uk/Personal/P.Jackson/SAVEE/",
    n_clips=480,
    n_speakers=4,
    emotions=("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"),
    name_pattern="<speaker>/<emotion><number>.wav or <speaker>_<emotion><number>.wav, as in DC/a01.wav or "
    "DC_a01.wav, with speakers DC, JE, JK, KL and emotions a, d, f, h, n, sa, su",
    access="Register at http://personal.ee.surrey.ac.uk/Personal/P.Jackson/SAVEE/Register.html and take "
    "AudioData.zip, packed or not.",
    language="en",
)

EMOTIONS: dict[str, Emotion] = {
    "a": "anger",
    "d": "disgust",
    "f": "fear",
    "h": "happiness",
    "n": "neutral",
    "sa": "sadness",
    "su": "surprise",
}
N_SENTENCES = 15  # of each emotion
N_COMMON_SENTENCES = 3  # the first three, the same in every emotion
# The neutral recordings from 16 on repeat the common sentences and two of each emotion's own. The publisher
# says so without the numbers; these were found by aligning the recordings of all four speakers.
REPEATED_FROM = 16
REPEATED = (
    *("common01", "common02", "common03", "a04", "a05", "d04", "d05", "f04", "f05"),
    *("su04", "su05", "sa04", "sa05", "h04", "h05"),
)

_NAME = re.compile(r"(?:(DC|JE|JK|KL)_)?(a|d|f|h|n|sa|su)(\d\d)", re.ASCII | re.IGNORECASE)
_SPEAKER = re.compile(r"DC|JE|JK|KL", re.ASCII | re.IGNORECASE)


def parse(path: PurePosixPath) -> ParsedName | None:
    """Returns what the names of file and folder say, None if they do not follow this corpus's pattern."""
    match = _NAME.fullmatch(path.stem)
    folder = _SPEAKER.fullmatch(path.parent.name)
    speaker = _SPEAKER.fullmatch((match and match[1]) or path.parent.name)
    if match is None or speaker is None:
        return None
    name, code, number = speaker[0].upper(), match[2].lower(), int(match[3])
    if not 1 <= number <= N_SENTENCES + (len(REPEATED) if code == "n" else 0):
        return None
    return ParsedName(
        clip=f"{name}_{code}{number:02}",
        speaker=name,
        sex="male",
        sentence=_sentence(code, number),
        emotion=EMOTIONS[code],
        repetition=2 if REPEATED_FROM <= number < REPEATED_FROM + N_COMMON_SENTENCES else 1,
        contradiction=f"folder {folder[0]}" if folder and folder[0].upper() != name else "",
    )


def _sentence(code: str, number: int) -> str:
    """Returns the name of one of the 87 sentences.

    >>> _sentence("n", 19), _sentence("a", 4), _sentence("su", 2)
    ('a04', 'a04', 'common02')
    """
    if number >= REPEATED_FROM:
        return REPEATED[number - REPEATED_FROM]
    return f"{'common' if number <= N_COMMON_SENTENCES else code}{number:02}"
