"""AESDD: Greek actors speak twenty sentences in five emotions.

Names: `a03 (4).wav`: emotion, sentence, speaker; a second take is `a03 (4)b.wav`. The speakers' sexes are not
published by number.
"""

from __future__ import annotations

import re

from stages.data.patterns import Names
from stages.data.vocabulary import Corpus

ABOUT = Corpus(
    title="AESDD, the acted emotional speech dynamic database",
    licence="for research, with citation",
    citation="Vryzas et al. 2018, Speech emotion recognition for performance interaction, J. Audio Eng. Soc. "
    "66(6), 457-467",
    url="http://m3c.web.auth.gr/research/aesdd-speech-emotion-recognition/",
    n_clips=604,
    n_speakers=6,
    emotions=("anger", "disgust", "fear", "happiness", "sadness"),
    name_pattern="<emotion><sentence> (<speaker>).wav, as in anger/a03 (4).wav, with emotions a, d, f, h, s",
    access="Take the archive by the link on http://m3c.web.auth.gr/research/aesdd-speech-emotion-recognition/.",
    language="el",
)

parse = Names(
    pattern=re.compile(
        r"(?P<emotion>[adfhs])(?P<sentence>[01]\d|20) \((?P<speaker>\d)\)(?P<repetition>[a-z]?)", re.ASCII
    ),
    emotions={"a": "anger", "d": "disgust", "f": "fear", "h": "happiness", "s": "sadness"},
).parse
