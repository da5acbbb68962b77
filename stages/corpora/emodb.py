"""EMO-DB: ten German actors speak ten sentences in seven emotions.

Names: `03a01Fa.wav`: speaker, sentence, emotion by the first letter of its German name, version; described on
http://emodb.bilderbar.info/docu/.
"""

from __future__ import annotations

import re

from stages.data.patterns import Names
from stages.data.vocabulary import Corpus

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
    language="de",
)

parse = Names(
    pattern=re.compile(
        r"(?P<speaker>03|08|09|1[0-6])(?P<sentence>a0[12457]|b0[1239]|b10)"
        r"(?P<emotion>[WLEAFTN])(?P<repetition>[a-z])"
    ),
    emotions={
        "W": "anger",  # Wut
        "L": "boredom",  # Langeweile
        "E": "disgust",  # Ekel
        "A": "fear",  # Angst
        "F": "happiness",  # Freude
        "T": "sadness",  # Trauer
        "N": "neutral",
    },
    sexes={
        **dict.fromkeys(("03", "10", "11", "12", "15"), "male"),
        **dict.fromkeys(("08", "09", "13", "14", "16"), "female"),
    },
    ages={
        **{"03": 31, "08": 34, "09": 21, "10": 32, "11": 26},
        **{"12": 30, "13": 32, "14": 35, "15": 25, "16": 31},
    },
).parse
