"""Convolutions over time: the features are channels."""

from __future__ import annotations

from functools import partial

import keras

from stages.networks.frames import FrameTrainer
from stages.networks.layers import FrameConvolutionConfig, convolutional

Config = FrameConvolutionConfig
LAYOUTS = ("frames", "flat", "mean", "stats")


def build(config: Config, input_shape: tuple[int | None, ...], n_classes: int) -> keras.Model:
    """Returns the network; a flat input (n_values,) is read as one channel of n_values steps."""
    return convolutional(config, input_shape, n_classes, n_axes=1)


def trainer(config: Config) -> FrameTrainer:
    return FrameTrainer(partial(build, config), config.training)
