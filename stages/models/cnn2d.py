"""Convolutions over time and features: the features are an image of one channel."""

from __future__ import annotations

import keras

from stages.networks import network as TRAINER
from stages.networks.layers import ImageConvolutionConfig as Config
from stages.networks.layers import convolutional

__all__ = ["LAYOUTS", "TRAINER", "Config", "build"]

LAYOUTS = ("image",)


def build(config: Config, input_shape: tuple[int | None, ...], n_classes: int) -> keras.Model:
    """Returns the network for inputs (n_frames, n_dims, 1)."""
    return convolutional(config, input_shape, n_classes, n_axes=2)
