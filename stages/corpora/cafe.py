"""CaFE: twelve actors speak six sentences in Canadian French, each emotion but neutral in two intensities.

Names: `01-C-1-1.wav`: speaker, emotion by its French name, intensity, sentence.
"""

from __future__ import annotations

import re

from stages.data.patterns import Names
from stages.data.vocabulary import Corpus

ABOUT = Corpus(
    title="CaFE, a Canadian French emotional speech dataset",
    licence="CC-BY-NC-SA-4.0",
    citation="Gournay et al. 2018, A Canadian French emotional speech dataset, Proc. ACM Multimedia Systems, "
    "pp. 399-402",
    url="https://zenodo.org/records/1478765",
    n_clips=936,
    n_speakers=12,
    emotions=("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"),
    name_pattern="<speaker>-<emotion>-<intensity>-<sentence>.wav, as in 01-C-1-1.wav, with emotions C, D, J, "
    "N, P, S, T",
    access="Take CaFE_48k.zip from https://zenodo.org/records/1478765, packed or not.",
    language="fr",
)

# Ages, sexes and sentences as EmoBox's cafe.py gives them.
parse = Names(
    pattern=re.compile(
        r"(?P<speaker>0[1-9]|1[0-2])-(?=N-1|[^N])(?P<emotion>[CDJNPST])-(?P<intensity>[12])-(?P<sentence>[1-6])"
    ),
    emotions={
        "C": "anger",  # colère
        "D": "disgust",  # dégoût
        "J": "happiness",  # joie
        "N": "neutral",  # neutre
        "P": "fear",  # peur
        "S": "surprise",  # surprise
        "T": "sadness",  # tristesse
    },
    sexes={f"{number:02}": "male" if number % 2 else "female" for number in range(1, 13)},
    ages=dict(
        zip(
            (f"{number:02}" for number in range(1, 13)),
            (46, 64, 18, 50, 22, 34, 15, 25, 42, 20, 35, 37),
            strict=True,
        )
    ),
    intensities={"1": "low", "2": "high"},  # faible, fort
).parse
