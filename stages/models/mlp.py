"""Shallow dense network of scikit-learn: quick, no TensorFlow."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from sklearn.neural_network import MLPClassifier

from stages.base.params import Block, Count, Positive
from stages.learning import estimator as TRAINER
from stages.learning.preprocessing import Inputs

__all__ = ["LAYOUTS", "TRAINER", "Config", "build"]

LAYOUTS = ("mean", "stats", "flat")


class Config(Block):
    inputs: Inputs
    units: Annotated[list[Count], Field(min_length=1)]
    alpha: Annotated[float, Field(ge=0)]
    learning_rate: Positive
    batch_size: Count
    epochs: Count


def build(config: Config, input_shape: tuple[int, ...], n_classes: int) -> MLPClassifier:
    """Returns an unfitted dense network: ReLU, softmax, Adam, L2 penalty `alpha`."""
    return MLPClassifier(
        hidden_layer_sizes=tuple(config.units),
        alpha=config.alpha,
        learning_rate_init=config.learning_rate,
        batch_size=config.batch_size,
        max_iter=config.epochs,
    )
