"""Convolutions over time and features: the features are an image of one channel."""

from __future__ import annotations

from functools import partial

import keras

from stages.networks.images import ImageTrainer
from stages.networks.layers import ImageConvolutionConfig, convolutional

Config = ImageConvolutionConfig
LAYOUTS = ("image",)


def build(config: Config, input_shape: tuple[int | None, ...], n_classes: int) -> keras.Model:
    """Returns the network for inputs (n_frames, n_dims, 1)."""
    return convolutional(config, input_shape, n_classes, n_axes=2)


def trainer(config: Config) -> ImageTrainer:
    return ImageTrainer(partial(build, config), config.training)
