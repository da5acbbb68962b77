"""ShEMO: utterances of 87 Persian speakers from radio plays, labelled by twelve listeners.

Names: `F01A01.wav`: sex and number of the speaker, emotion, number. What is said is not in the names.
"""

from __future__ import annotations

import re

from stages.data.patterns import Names
from stages.data.vocabulary import Corpus

ABOUT = Corpus(
    title="ShEMO, the Sharif emotional speech database",
    licence="free for academic purposes",
    citation="Mohamad Nezami et al. 2019, Language Resources and Evaluation 53, 1-16, "
    "doi:10.1007/s10579-018-9427-x",
    url="https://github.com/pariajm/sharif-emotional-speech-dataset",
    n_clips=3000,
    n_speakers=87,
    emotions=("anger", "fear", "happiness", "neutral", "sadness", "surprise"),
    name_pattern="<sex><speaker><emotion><number>.wav, as in F01A01.wav, with emotions A, F, H, N, S, W",
    access="Take female.zip and male.zip by the links on "
    "https://github.com/pariajm/sharif-emotional-speech-dataset, packed or not.",
    language="fa",
)

parse = Names(
    pattern=re.compile(r"(?P<speaker>(?P<sex>[FM])\d\d)(?P<emotion>[AFHNSW])\d{2,3}", re.ASCII),
    emotions={
        "A": "anger",
        "F": "fear",
        "H": "happiness",
        "N": "neutral",
        "S": "sadness",
        "W": "surprise",
    },
    sexes={"F": "female", "M": "male"},
).parse
