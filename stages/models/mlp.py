"""Shallow dense network of scikit-learn: quick, no TensorFlow."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import Field
from sklearn.neural_network import MLPClassifier

from stages.base.params import Block, Count, Positive
from stages.learning.estimator import EstimatorTrainer
from stages.learning.preprocessing import Inputs

LAYOUTS = ("mean", "stats", "flat")


class Config(Block):
    inputs: Inputs
    units: Annotated[list[Count], Field(min_length=1)]
    alpha: Annotated[float, Field(ge=0)]
    learning_rate: Positive
    batch_size: Count
    epochs: Count


def build(config: Config) -> MLPClassifier:
    """Returns an unfitted dense network: ReLU, softmax, Adam, L2 penalty `alpha`."""
    return MLPClassifier(
        hidden_layer_sizes=tuple(config.units),
        alpha=config.alpha,
        learning_rate_init=config.learning_rate,
        batch_size=config.batch_size,
        max_iter=config.epochs,
    )


def trainer(config: Config) -> EstimatorTrainer:
    return EstimatorTrainer(partial(build, config))
