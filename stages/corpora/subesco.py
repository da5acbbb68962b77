"""SUBESCO: twenty professional actors speak ten sentences in Bangla, in seven emotions, five times each.

Names: `F_02_MONIKA_S_1_NEUTRAL_5.wav`: sex, number and name of the speaker, sentence, emotion, take.
"""

from __future__ import annotations

import re

from stages.data.patterns import Names
from stages.data.vocabulary import Corpus

ABOUT = Corpus(
    title="SUBESCO, the SUST Bangla emotional speech corpus",
    licence="CC-BY-4.0",
    citation="Sultana et al., SUBESCO, PLoS ONE, doi:10.1371/journal.pone.0250173",
    url="https://zenodo.org/records/4526477",
    n_clips=7000,
    n_speakers=20,
    emotions=("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"),
    name_pattern="<sex>_<number>_<name>_S_<sentence>_<EMOTION>_<take>.wav, as in "
    "F_02_MONIKA_S_1_NEUTRAL_5.wav",
    access="Take SUBESCO.zip from https://zenodo.org/records/4526477, packed or not.",
    language="bn",
)

parse = Names(
    pattern=re.compile(
        r"(?P<speaker>(?P<sex>[FM])_(?:0[1-9]|10))_[A-Z]+_S_(?P<sentence>[1-9]|10)_"
        r"(?P<emotion>ANGRY|DISGUST|FEAR|HAPPY|NEUTRAL|SAD|SURPRISE)_(?P<repetition>[1-5])"
    ),
    emotions={
        "ANGRY": "anger",
        "DISGUST": "disgust",
        "FEAR": "fear",
        "HAPPY": "happiness",
        "NEUTRAL": "neutral",
        "SAD": "sadness",
        "SURPRISE": "surprise",
    },
    sexes={"F": "female", "M": "male"},
).parse
