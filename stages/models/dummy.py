"""Majority class: what a model must beat to have learnt anything."""

from __future__ import annotations

from sklearn.dummy import DummyClassifier

from stages.base.params import Block
from stages.learning import estimator as TRAINER
from stages.learning.preprocessing import Inputs

__all__ = ["LAYOUTS", "TRAINER", "Config", "build"]

LAYOUTS = ("mean", "stats", "flat")


class Config(Block):
    inputs: Inputs


def build(config: Config, input_shape: tuple[int, ...], n_classes: int) -> DummyClassifier:
    """Returns a classifier that knows the training labels' frequencies and nothing of the clip."""
    return DummyClassifier(strategy="prior")
