"""JL corpus: four speakers of New Zealand English, five primary and five secondary emotions.

Names: `female1_angry_1a_1.wav`: speaker, emotion, sentence and session. The publisher does not say which
sentences of the secondary emotions are those of the primary ones, so sentences are unknown.
"""

from __future__ import annotations

import re

from stages.data.patterns import Names
from stages.data.vocabulary import Corpus

ABOUT = Corpus(
    title="JL corpus, emotional speech in New Zealand English",
    licence="for emotional speech related studies, with citation",
    citation="James et al. 2018, An open source emotional speech corpus for human robot interaction "
    "applications, Proc. Interspeech",
    url="https://www.kaggle.com/tli725/jl-corpus",
    n_clips=2400,
    n_speakers=4,
    emotions=(
        *("anger", "anxiety", "apology", "assertiveness", "concern", "encouragement", "excitement"),
        *("happiness", "neutral", "sadness"),
    ),
    name_pattern="<speaker>_<emotion>_<sentence>_<session>.wav, as in female1_angry_1a_1.wav",
    access="Take the folder Raw JL corpus from https://www.kaggle.com/tli725/jl-corpus.",
    language="en",
)

parse = Names(
    pattern=re.compile(
        r"(?P<speaker>(?P<sex>(?:fe)?male)[12])_"
        r"(?P<emotion>angry|anxious|apologetic|assertive|concerned|encouraging|excited|happy|neutral|sad)_"
        r"(?:[1-9]|1[0-5])[ab]_(?P<repetition>[12])"
    ),
    emotions={
        "angry": "anger",
        "anxious": "anxiety",
        "apologetic": "apology",
        "assertive": "assertiveness",
        "concerned": "concern",
        "encouraging": "encouragement",
        "excited": "excitement",
        "happy": "happiness",
        "neutral": "neutral",
        "sad": "sadness",
    },
    sexes={"female": "female", "male": "male"},
).parse
