"""EMOVO: six Italian actors speak fourteen sentences in seven emotions.

Names: `dis-f1-b1.wav`: emotion by its Italian name, speaker, sentence (brief, long, nonsense, question).
"""

from __future__ import annotations

import re

from stages.data.patterns import Names
from stages.data.vocabulary import Corpus

ABOUT = Corpus(
    title="EMOVO, an Italian emotional speech database",
    licence="for research",
    citation="Costantini et al. 2014, EMOVO corpus: an Italian emotional speech database, Proc. LREC",
    url="http://voice.fub.it/activities/corpora/emovo/index.html",
    n_clips=588,
    n_speakers=6,
    emotions=("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"),
    name_pattern="<emotion>-<speaker>-<sentence>.wav, as in dis-f1-b1.wav, with emotions dis, gio, neu, pau, "
    "rab, sor, tri",
    access="Take EMOVO.zip from http://voice.fub.it/activities/corpora/emovo/index.html.",
    language="it",
)

# Speakers' ages and the sentences as EmoBox's emovo.py gives them.
parse = Names(
    pattern=re.compile(
        r"(?P<emotion>dis|gio|neu|pau|rab|sor|tri)-(?P<speaker>[fm][123])-"
        r"(?P<sentence>b[1-3]|d[12]|l[1-4]|n[1-5])"
    ),
    emotions={
        "dis": "disgust",  # disgusto
        "gio": "happiness",  # gioia
        "neu": "neutral",  # neutro
        "pau": "fear",  # paura
        "rab": "anger",  # rabbia
        "sor": "surprise",  # sorpresa
        "tri": "sadness",  # tristezza
    },
    sexes={"f1": "female", "f2": "female", "f3": "female", "m1": "male", "m2": "male", "m3": "male"},
    ages={"f1": 28, "f2": 23, "f3": 25, "m1": 30, "m2": 27, "m3": 30},
).parse
