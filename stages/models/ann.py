"""Dense network on a clip's mean features."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import keras
from pydantic import Field

from stages.base.params import Block, Count, Fraction, Training
from stages.learning.preprocessing import Inputs
from stages.networks.layers import head
from stages.networks.network import NetworkTrainer

LAYOUTS = ("mean", "stats", "flat")


class Config(Block):
    inputs: Inputs
    units: Annotated[list[Count], Field(min_length=1)]
    dropout: Fraction
    training: Training


def build(config: Config, input_shape: tuple[int | None, ...], n_classes: int) -> keras.Model:
    """Returns dense ReLU layers and logits (n_clips, n_classes)."""
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, head(inputs, config.units, config.dropout, n_classes))


def trainer(config: Config) -> NetworkTrainer:
    return NetworkTrainer(partial(build, config), config.training)
