"""Convolutions over time: the features are channels."""

from __future__ import annotations

import keras

from stages.networks import network as TRAINER
from stages.networks.layers import FrameConvolutionConfig as Config
from stages.networks.layers import convolutional

__all__ = ["LAYOUTS", "TRAINER", "Config", "build"]

LAYOUTS = ("frames", "flat", "mean", "stats")


def build(config: Config, input_shape: tuple[int | None, ...], n_classes: int) -> keras.Model:
    """Returns the network; a flat input (n_values,) is read as one channel over n_values steps."""
    return convolutional(config, input_shape, n_classes, n_axes=1)
