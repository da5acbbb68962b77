"""URDU: utterances from Urdu talk shows, a hundred for each of four emotions.

Names: `SM1_F1_A01.wav`: sex and number of the speaker, the speaker's file, emotion and number. What is said
is not in the names.
"""

from __future__ import annotations

import re

from stages.data.patterns import Names
from stages.data.vocabulary import Corpus

ABOUT = Corpus(
    title="URDU, emotional utterances from talk shows",
    licence="for research only",
    citation="Latif et al. 2018, Cross lingual speech emotion recognition: Urdu vs. western languages, Proc. "
    "FIT, pp. 88-93",
    url="https://github.com/siddiquelatif/URDU-Dataset",
    n_clips=400,
    n_speakers=29,  # by the names; the publisher counts 38
    emotions=("anger", "happiness", "neutral", "sadness"),
    name_pattern="S<sex><speaker>_F<file>_<emotion><number>.wav, as in SM1_F1_A01.wav, with emotions A, H, "
    "N, S",
    access="Clone https://github.com/siddiquelatif/URDU-Dataset.",
    language="ur",
)

parse = Names(
    pattern=re.compile(r"(?P<speaker>S(?P<sex>[FM])\d{1,2})_F\d{1,3}_(?P<emotion>[AHNS])\d{1,4}", re.ASCII),
    emotions={"A": "anger", "H": "happiness", "N": "neutral", "S": "sadness"},
    sexes={"F": "female", "M": "male"},
).parse
