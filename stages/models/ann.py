"""Dense network on a clip's mean features."""

from __future__ import annotations

from typing import Annotated

import keras
from pydantic import Field

from stages.base.params import Block, Count, Fraction
from stages.learning.preprocessing import Inputs
from stages.networks import network as TRAINER
from stages.networks.layers import head

__all__ = ["LAYOUTS", "TRAINER", "Config", "build"]

LAYOUTS = ("mean", "stats", "flat")


class Config(Block):
    inputs: Inputs
    units: Annotated[list[Count], Field(min_length=1)]
    dropout: Fraction
    training: TRAINER.Training


def build(config: Config, input_shape: tuple[int | None, ...], n_classes: int) -> keras.Model:
    """Returns dense ReLU layers and logits (n_clips, n_classes)."""
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, head(inputs, config.units, config.dropout, n_classes))
