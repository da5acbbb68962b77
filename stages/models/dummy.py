"""Majority-class baseline: a model that is not better has learnt nothing."""

from __future__ import annotations

from functools import partial

from sklearn.dummy import DummyClassifier

from stages.base.params import Block
from stages.learning.estimator import EstimatorTrainer
from stages.learning.preprocessing import Inputs

LAYOUTS = ("mean", "stats", "flat")


class Config(Block):
    inputs: Inputs


def build(config: Config) -> DummyClassifier:
    """Returns a classifier that predicts the frequencies of the training labels for every clip."""
    return DummyClassifier(strategy="prior")


def trainer(config: Config) -> EstimatorTrainer:
    return EstimatorTrainer(partial(build, config))
