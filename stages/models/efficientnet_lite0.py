"""EfficientNet-Lite0 on the features as an image: 3.4 M parameters, mostly in depthwise convolutions.

Tan & Le 2019, "EfficientNet: Rethinking model scaling for convolutional neural networks"; the Lite variant
has ReLU6 and no squeeze-and-excitation. Built so that its ImageNet weights fit: see stages/tools/convert.py.
"""

from __future__ import annotations

from functools import partial

import keras

from stages.base.params import Block, Fraction
from stages.learning.preprocessing import Inputs
from stages.networks.images import ImageTrainer, ImageTraining
from stages.networks.layers import batch_normalized, check_size, dropped, head

LAYOUTS = ("image",)
HALVINGS = 5
STEM, HEAD = 32, 1280  # filters

# Of each stage: blocks, kernel size, strides of the first block, expansion of the channels inside, filters.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class Config(Block):
    """The network's block in params.yaml.

    Attributes:
        dropout: before the logits.
    """

    inputs: Inputs
    dropout: Fraction
    training: ImageTraining


def build(config: Config, input_shape: tuple[int | None, ...], n_classes: int) -> keras.Model:
    """Returns the network for images (height, width, 1).

    Raises:
        InputError: the image is too small to be halved five times.
    """
    x = inputs = keras.Input(input_shape)
    check_size(x, 2**HALVINGS, n_axes=2)
    x = _convolution(x, STEM, kernel_size=3, strides=2)
    for n_blocks, kernel_size, strides, expansion, filters in STAGES:
        for block in range(n_blocks):
            x = _inverted_residual(x, filters, kernel_size, 1 if block else strides, expansion)
    x = _convolution(x, HEAD, kernel_size=1)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = dropped(x, config.dropout)
    return keras.Model(inputs, head(x, [], 0.0, n_classes))


def trainer(config: Config) -> ImageTrainer:
    return ImageTrainer(partial(build, config), config.training)


def _inverted_residual(
    x: keras.KerasTensor, filters: int, kernel_size: int, strides: int, expansion: int
) -> keras.KerasTensor:
    """Returns a block: more channels, a depthwise convolution, fewer channels; a shortcut if sizes agree.

    Sandler et al. 2018, "MobileNetV2: Inverted residuals and linear bottlenecks".
    """
    shortcut = x
    if expansion > 1:
        x = _convolution(x, expansion * x.shape[-1], kernel_size=1)
    x = keras.layers.DepthwiseConv2D(
        kernel_size,
        strides,
        padding="same",
        use_bias=False,
        depthwise_initializer="he_normal",
        dtype="float32",  # in bfloat16, TensorFlow's kernels make an epoch twice as long
    )(x)
    x = keras.layers.ReLU(6.0)(batch_normalized(x))
    x = keras.layers.Conv2D(filters, 1, use_bias=False, kernel_initializer="he_normal")(x)
    x = batch_normalized(x)
    return keras.layers.Add()([shortcut, x]) if x.shape == shortcut.shape else x


def _convolution(x: keras.KerasTensor, filters: int, kernel_size: int, strides: int = 1) -> keras.KerasTensor:
    """Returns convolution, batch normalisation and ReLU6."""
    x = keras.layers.Conv2D(
        filters, kernel_size, strides, padding="same", use_bias=False, kernel_initializer="he_normal"
    )(x)
    return keras.layers.ReLU(6.0)(batch_normalized(x))
