"""Convolutions over time, then LSTM layers over their output (Trigeorgis et al. 2016)."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import keras
from pydantic import Field

from stages.networks.frames import FrameTrainer
from stages.networks.layers import Convolution, Recurrence, convolve, recur

LAYOUTS = ("frames",)


class Config(Recurrence):
    """The network's block in params.yaml."""

    convolutions: Annotated[list[Convolution], Field(min_length=1)]
    batch_norm: bool


def build(config: Config, input_shape: tuple[int | None, ...], n_classes: int) -> keras.Model:
    """Returns the network for inputs (n_frames, n_dims).

    Raises:
        InputError: there are fewer frames than the product of the pooling strides.
    """
    x = inputs = keras.Input(input_shape)
    x = convolve(x, config.convolutions, config.batch_norm, n_axes=1)
    return keras.Model(inputs, recur(x, config, keras.layers.LSTM, n_classes))


def trainer(config: Config) -> FrameTrainer:
    return FrameTrainer(partial(build, config), config.training)
