"""What is run: the pipeline on every pair of corpora, on all of them, and on each one alone.

Under the protocol `cross_corpus`, a fold tests one corpus and trains on the others, on the labels that all of
them have. So a run on a pair gives both directions, and a run on all corpora tests each on all the others.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from benchmark.published.overlay import Experiment, merged
from stages.base.errors import InputError

NAME = "cross_corpus"  # of the folder with the workspaces, beside those of the published systems
NORMALIZATIONS = ("global", "corpus", "speaker")
WITHIN = ("speaker_independent", "random")


def experiments(corpora: Sequence[str], base: dict[str, Any]) -> list[Experiment]:
    """Returns the runs on the params `base`; the first computes the features that the others start from.

    Raises:
        InputError: fewer than two corpora, or one is named twice.

    >>> base = {"corpus": [], "split": {}, "train": {}, "augment": {}}
    >>> found = experiments(["x", "y"], base)
    >>> for each in found:
    ...     if each.values["train"]["normalize"] == "global":
    ...         print(each.name)
    x+y-cross_corpus-global
    x-speaker_independent-global
    x-random-global
    y-speaker_independent-global
    y-random-global
    """
    if len(set(corpora)) < max(2, len(corpora)):
        raise InputError(f"cross_corpus: needs two or more different corpora, and has {', '.join(corpora)}.")
    across = [*([corpora] if len(corpora) > 2 else []), *itertools.combinations(corpora, 2)]
    runs = [
        *itertools.product(across, ["cross_corpus"]),
        *itertools.product(([corpus] for corpus in corpora), WITHIN),
    ]
    found = []
    for (group, protocol), normalize in itertools.product(runs, NORMALIZATIONS):
        changes = {
            "corpus": [*group],
            "split": {"protocol": protocol},
            "train": {"normalize": normalize},
            "augment": {"copies": 0},  # they would take most of the time
        }
        name = f"{protocol}-{normalize}"
        found.append(Experiment(NAME, "+".join(group), name, merged(base, changes)))
    return found
