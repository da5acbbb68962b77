"""Convolutions over time, then LSTM layers over their output (Trigeorgis et al. 2016)."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import keras
from pydantic import Field

from stages.base.params import Block, Count, Fraction
from stages.learning.preprocessing import Inputs
from stages.networks.frames import FrameTrainer, FrameTraining
from stages.networks.layers import SUMMARIES, Convolution, convolve, head, recur

LAYOUTS = ("frames",)


class Config(Block):
    """The network's block in params.yaml.

    Attributes:
        summary: of the LSTM's steps.
        dropout: after each recurrent and each dense layer.
    """

    inputs: Inputs
    convolutions: Annotated[list[Convolution], Field(min_length=1)]
    batch_norm: bool
    units: Annotated[list[Count], Field(min_length=1)]
    bidirectional: bool
    summary: Literal["last", "average", "max"]
    dropout: Fraction
    dense: list[Count]
    training: FrameTraining


def build(config: Config, input_shape: tuple[int | None, ...], n_classes: int) -> keras.Model:
    """Returns the network for inputs (n_frames, n_dims).

    Raises:
        InputError: there are fewer frames than the product of the pooling strides.
    """
    x = inputs = keras.Input(input_shape)
    x = convolve(x, config.convolutions, config.batch_norm, n_axes=1)
    x = recur(
        x, config.units, keras.layers.LSTM, config.bidirectional, config.summary != "last", config.dropout
    )
    if config.summary != "last":
        x = SUMMARIES[config.summary, 1]()(x)
    return keras.Model(inputs, head(x, config.dense, config.dropout, n_classes))


def trainer(config: Config) -> FrameTrainer:
    return FrameTrainer(partial(build, config), config.training)
