"""What is run: the pipeline on every pair of corpora, on all of them, and on each one alone.

Under the protocol `cross_corpus`, a fold tests one corpus and trains on the others, on the labels that all of
them have. So a run on a pair gives both directions, and a run on all corpora tests each on all the others.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
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
    return [
        Experiment(
            NAME, "+".join(group), f"{protocol}-{normalize}", _values(base, group, protocol, normalize)
        )
        for group, protocol in _runs(corpora)
        for normalize in NORMALIZATIONS
    ]


def _runs(corpora: Sequence[str]) -> Iterator[tuple[Sequence[str], str]]:
    """Yields the corpora and the protocol of each run."""
    if len(corpora) > 2:
        yield corpora, "cross_corpus"
    for pair in itertools.combinations(corpora, 2):
        yield pair, "cross_corpus"
    for corpus in corpora:
        for protocol in WITHIN:
            yield [corpus], protocol


def _values(base: dict[str, Any], corpora: Sequence[str], protocol: str, normalize: str) -> dict[str, Any]:
    """Returns params.yaml for one run: without augmented copies, which would take most of the time."""
    changes = {
        "corpus": list(corpora),
        "split": {"protocol": protocol},
        "train": {"normalize": normalize},
        "augment": {"copies": 0},
    }
    return merged(base, changes)
