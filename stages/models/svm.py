"""Support vector machine on statistics of the features over time."""

from __future__ import annotations

from functools import partial
from typing import Literal

from sklearn.svm import SVC

from stages.base.params import Block, Positive
from stages.learning.estimator import EstimatorTrainer
from stages.learning.preprocessing import Inputs

LAYOUTS = ("mean", "stats", "flat")


class Config(Block):
    inputs: Inputs
    kernel: Literal["rbf", "linear", "poly", "sigmoid"]
    c: Positive
    gamma: Positive | Literal["scale", "auto"]
    class_weights: Literal["none", "balanced"]


def build(config: Config) -> SVC:
    """Returns an unfitted SVC (Cortes & Vapnik 1995), one against one, scores one against the rest."""
    weights = "balanced" if config.class_weights == "balanced" else None
    return SVC(C=config.c, kernel=config.kernel, gamma=config.gamma, class_weight=weights)


def trainer(config: Config) -> EstimatorTrainer:
    return EstimatorTrainer(partial(build, config))
