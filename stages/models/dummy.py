"""Majority class: what a model must beat to have learnt anything."""

from __future__ import annotations

from sklearn.dummy import DummyClassifier

from stages.core import estimator as TRAINER  # noqa: N812
from stages.core.inputs import Inputs
from stages.core.params import Block

__all__ = ["LAYOUTS", "TRAINER", "Config", "build"]

LAYOUTS = ("mean", "stats", "flat")


class Config(Block):
    inputs: Inputs


def build(config: Config, input_shape: tuple[int, ...], n_classes: int) -> DummyClassifier:
    """Returns a classifier that knows the training labels' frequencies and nothing of the clip."""
    return DummyClassifier(strategy="prior")
