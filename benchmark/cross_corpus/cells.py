"""Cells of the matrix: the score of a test corpus by a model that was trained on others, or on itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmark.published.overlay import Experiment
from stages.base.files import PREDICTIONS, replacing
from stages.data import tables
from stages.evaluation import metrics

RESULTS = Path("benchmark/cross_corpus/results.csv")


@dataclass(frozen=True)
class Cell:
    """One score.

    Attributes:
        train: the training corpora, joined by "+".
        test: the test corpus.
        protocol: `cross_corpus`, or `speaker_independent` or `random` where `train` is `test`.
        normalize: the statistics by which features are standardised.
        labels: the labels, joined by "+".
        chance: UAR of guessing, in [0, 1].
        uar, uar_low, uar_high: with its 95 % interval over the test corpus's speakers, in [0, 1].
    """

    train: str
    test: str
    protocol: str
    normalize: str
    labels: str
    n_clips: int
    n_speakers: int
    chance: float
    uar: float
    uar_low: float
    uar_high: float

    @property
    def gain(self) -> float:
        """How far UAR is on the way from chance, 0, to a perfect score, 1."""
        return (self.uar - self.chance) / (1 - self.chance)

    @property
    def text(self) -> str:
        """The score and its interval in %, as `46 [41, 51]`."""
        return f"{100 * self.uar:.0f} [{100 * self.uar_low:.0f}, {100 * self.uar_high:.0f}]"


def of_run(experiment: Experiment, place: Path) -> list[Cell]:
    """Returns the cells of a finished run in the workspace `place`, one per test corpus."""
    values = experiment.values  # noqa: PD011, not of pandas
    predictions = tables.read(place / PREDICTIONS, tables.PREDICTIONS)
    labels = metrics.class_names(predictions)
    found = []
    for test in values["corpus"]:
        own = predictions[predictions["corpus"] == test]
        ends = metrics.intervals(own, values["evaluate"]["n_resamples"], values["seed"])
        others = [corpus for corpus in values["corpus"] if corpus != test]
        cell = Cell(
            train="+".join(others or [test]),
            test=test,
            protocol=values["split"]["protocol"],
            normalize=values["train"]["normalize"],
            labels="+".join(labels),
            n_clips=own["clip"].nunique(),
            n_speakers=own["speaker"].nunique(),
            chance=1 / own["label"].nunique(),
            uar=metrics.headline(own)["uar"],
            uar_low=ends.get("uar_low", 0.0),  # of one speaker, nothing is known about others
            uar_high=ends.get("uar_high", 1.0),
        )
        found.append(cell)
    return found


def write(found: Sequence[Cell], path: Path = RESULTS) -> None:
    """Writes cells as CSV, scores to four digits."""
    with replacing(path) as temporary:
        pd.DataFrame(found).to_csv(temporary, index=False, float_format="%.4f", lineterminator="\n")


def read(path: Path = RESULTS) -> list[Cell]:
    """Returns the cells that `write` wrote."""
    table = pd.read_csv(path, keep_default_na=False)
    return [Cell(*row) for row in table.itertuples(index=False, name=None)]
