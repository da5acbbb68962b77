"""Residual network on the features as an image.

He et al. 2016, "Deep residual learning for image recognition"; as torchvision, timm and KerasHub build
ResNet-18 and -34, so that their ImageNet weights fit: see stages/tools/convert.py.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

import keras
from pydantic import Field, model_validator

from stages.base.params import Block, Count, Fraction
from stages.learning.preprocessing import Inputs
from stages.networks.images import ImageTrainer, ImageTraining
from stages.networks.layers import batch_normalized, check_size, dropped, head

LAYOUTS = ("image",)


class Config(Block):
    """The network's block in params.yaml.

    Attributes:
        filters: of each stage's convolutions; the stem has as many as the first. 64, 128, 256, 512 is ResNet.
        blocks: of each stage; 3, 4, 6, 3 is ResNet-34 and 2, 2, 2, 2 is ResNet-18.
        dropout: before the logits.
    """

    inputs: Inputs
    filters: Annotated[list[Count], Field(min_length=1)]
    blocks: list[Count]
    dropout: Fraction
    training: ImageTraining

    @model_validator(mode="after")
    def _blocks_of_every_stage(self) -> Self:
        if len(self.blocks) != len(self.filters):
            raise ValueError(f"`blocks` has {len(self.blocks)} stages and `filters` {len(self.filters)}")
        return self


def build(config: Config, input_shape: tuple[int | None, ...], n_classes: int) -> keras.Model:
    """Returns the network for images (height, width, 1).

    Raises:
        InputError: the image is too small to be halved that often.
    """
    x = inputs = keras.Input(input_shape)
    check_size(x, 2 ** (len(config.filters) + 1), n_axes=2)
    x = _convolution(x, config.filters[0], kernel_size=7, strides=2)
    x = keras.layers.ReLU()(x)
    x = keras.layers.ZeroPadding2D(1)(x)
    x = keras.layers.MaxPooling2D(3, strides=2)(x)
    for stage, (filters, n_blocks) in enumerate(zip(config.filters, config.blocks, strict=True)):
        for block in range(n_blocks):
            x = _residual(x, filters, downsample=stage > 0 and block == 0)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = dropped(x, config.dropout)
    return keras.Model(inputs, head(x, [], 0.0, n_classes))


def trainer(config: Config) -> ImageTrainer:
    return ImageTrainer(partial(build, config), config.training)


def _residual(x: keras.KerasTensor, filters: int, downsample: bool) -> keras.KerasTensor:
    """Returns the basic block: two convolutions and a shortcut, a third convolution where sizes change."""
    strides = 2 if downsample else 1
    shortcut = _convolution(x, filters, kernel_size=1, strides=strides) if downsample else x
    x = keras.layers.ReLU()(_convolution(x, filters, kernel_size=3, strides=strides))
    x = _convolution(x, filters, kernel_size=3, strides=1)
    return keras.layers.ReLU()(keras.layers.Add()([shortcut, x]))


def _convolution(x: keras.KerasTensor, filters: int, kernel_size: int, strides: int) -> keras.KerasTensor:
    """Returns convolution and batch normalisation. Padding is symmetric, unlike "same"."""
    if kernel_size > 1 and strides > 1:
        x = keras.layers.ZeroPadding2D(kernel_size // 2)(x)
    padding = "same" if strides == 1 else "valid"
    x = keras.layers.Conv2D(
        filters,
        kernel_size,
        strides,
        padding=padding,
        use_bias=False,
        kernel_initializer="he_normal",
    )(x)
    return batch_normalized(x, epsilon=1e-5)
