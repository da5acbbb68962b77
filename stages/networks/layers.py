"""Building blocks that several networks share."""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Annotated, Any, Literal, Self

import keras
import tensorflow as tf
from pydantic import Field, model_validator

from stages.base.errors import InputError
from stages.base.params import Block, Count, Fraction
from stages.learning.preprocessing import Inputs
from stages.networks.frames import FrameTraining
from stages.networks.images import ImageTraining

L2 = Annotated[float, Field(ge=0)]


class Convolution(Block):
    """Convolution, optional batch normalisation, ReLU, pooling, dropout."""

    filters: Count
    kernel_size: Count
    pool: Literal["max", "average", "none"]
    pool_size: Count
    pool_strides: Count
    dropout: Fraction


class ConvolutionConfig(Block):
    """Settings that all convolutional networks share."""

    inputs: Inputs
    convolutions: Annotated[list[Convolution], Field(min_length=1)]
    batch_norm: bool
    summary: Literal["flatten", "average", "max"]
    dense: list[Count]
    dense_dropout: Fraction
    l2: L2


class FrameConvolutionConfig(ConvolutionConfig):
    """Convolutions over time."""

    training: FrameTraining

    @model_validator(mode="after")
    def _fits_layout(self) -> Self:
        several_lengths = self.training.length_buckets > 1
        if self.inputs.layout != "frames" and (several_lengths or self.training.spec_augment):
            raise ValueError(
                "`training.length_buckets` above 1 and `training.spec_augment` need layout frames; "
                f"`inputs.layout` is {self.inputs.layout}"
            )
        if self.summary == "flatten" and several_lengths:
            raise ValueError(
                "`summary: flatten` needs clips of one length; use `average` or `max`, or "
                "`training.length_buckets: 1`"
            )
        return self


class ImageConvolutionConfig(ConvolutionConfig):
    """Convolutions over time and features."""

    training: ImageTraining

    @model_validator(mode="after")
    def _takes_every_size(self) -> Self:
        if self.summary == "flatten" and len(self.training.resizing) > 1:
            raise ValueError(
                "`summary: flatten` needs images of one size; use `average` or `max`, or one size in "
                "`training.resizing`"
            )
        return self


class Recurrence(Block):
    """Settings that all networks with recurrent layers share.

    Attributes:
        summary: of the last recurrent layer's steps.
        dropout: after each recurrent and each dense layer.
    """

    inputs: Inputs
    units: Annotated[list[Count], Field(min_length=1)]
    bidirectional: bool
    summary: Literal["last", "average", "max"]
    dropout: Fraction
    dense: list[Count]
    training: FrameTraining


class RecurrentConfig(Recurrence):
    """Settings that LSTM and GRU share."""

    mask: bool

    @model_validator(mode="after")
    def _summary_sees_mask(self) -> Self:
        if self.mask and self.summary == "max":
            raise ValueError("`summary: max` cannot see a mask; use `average` or `last`, or `mask: false`")
        return self


def convolutional(
    config: ConvolutionConfig, input_shape: tuple[int | None, ...], n_classes: int, n_axes: Literal[1, 2]
) -> keras.Model:
    """Returns a stack of convolutions over `n_axes` axes, a summary over them, then dense layers and logits.

    Raises:
        InputError: the input is too small for the pooling.
    """
    regularizer = keras.regularizers.L2(config.l2) if config.l2 else None
    x = inputs = keras.Input(input_shape)
    if len(input_shape) == n_axes:
        x = keras.layers.Reshape((*input_shape, 1))(x)  # one channel
    x = convolve(x, config.convolutions, config.batch_norm, n_axes, regularizer)
    x = keras.layers.Flatten()(x) if config.summary == "flatten" else summarized(x, config.summary, n_axes)
    return keras.Model(inputs, head(x, config.dense, config.dense_dropout, n_classes, regularizer))


def convolve(
    x: keras.KerasTensor,
    blocks: list[Convolution],
    batch_norm: bool,
    n_axes: Literal[1, 2],
    regularizer: keras.regularizers.Regularizer | None = None,
) -> keras.KerasTensor:
    """Returns `x` after the blocks: (n_clips, *axes divided by the pooling strides, filters).

    Raises:
        InputError: an axis is shorter than the product of all strides.
    """
    check_size(x, prod(block.pool_strides for block in blocks if block.pool != "none"), n_axes)
    for block in blocks:
        x = of_axes("Conv", n_axes)(
            block.filters,
            block.kernel_size,
            padding="same",
            kernel_regularizer=regularizer,
            use_bias=not batch_norm,
        )(x)
        if batch_norm:
            x = batch_normalized(x)
        x = keras.layers.ReLU()(x)
        if block.pool != "none":
            pooling = of_axes(f"{block.pool.capitalize()}Pooling", n_axes)
            x = pooling(block.pool_size, block.pool_strides, padding="same")(x)
        x = dropped(x, block.dropout)
    return x


def summarized(x: keras.KerasTensor, summary: str, n_axes: int) -> keras.KerasTensor:
    """Returns the average or the max over the axes, (n_clips, filters)."""
    return of_axes(f"Global{summary.capitalize()}Pooling", n_axes)()(x)


def of_axes(name: str, n_axes: int) -> Any:
    """Returns Keras's layer of this name for `n_axes` axes, as Conv2D."""
    return getattr(keras.layers, f"{name}{n_axes}D")


def batch_normalized(x: keras.KerasTensor, epsilon: float = 1e-3) -> keras.KerasTensor:
    """Returns `x` normalised over all axes but the last (Ioffe & Szegedy 2015).

    The moving statistics follow at PyTorch's rate. At Keras's (momentum 0.99), they lag behind the weights
    by two epochs of 44 steps, and validation sees another network than training.
    """
    return BatchNormalization(momentum=0.9, epsilon=epsilon)(x)


class BatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Keras's layer, computed by one TensorFlow kernel; Keras 3 composes it of five, in float32.

    Equal up to the last bits; convolutional networks train up to twice as fast in bfloat16.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: Any = None) -> tf.Tensor:
        """Returns float32 or bfloat16 (n_clips, *axes, n_channels), as `inputs`."""
        shape = tf.shape(inputs)
        x = tf.reshape(inputs, [shape[0], -1, 1, inputs.shape[-1]])  # the kernel takes images only
        kernel = partial(tf.compat.v1.nn.fused_batch_norm, x, self.gamma, self.beta, epsilon=self.epsilon)
        if not (training and self.trainable):
            x, _, _ = kernel(mean=self.moving_mean, variance=self.moving_variance, is_training=False)
            return tf.reshape(x, shape)
        x, mean, variance = kernel(is_training=True)
        n = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
        biased = variance * ((n - 1) / n)  # as Keras keeps it
        for moving, of_batch in ((self.moving_mean, mean), (self.moving_variance, biased)):
            moving.assign(moving * self.momentum + of_batch * (1 - self.momentum))
        return tf.reshape(x, shape)


def dropped(x: keras.KerasTensor, rate: float) -> keras.KerasTensor:
    """Returns `x` after dropout (in training) of this fraction of its values."""
    return keras.layers.Dropout(rate)(x) if rate else x


def check_size(x: keras.KerasTensor, divisor: int, n_axes: int) -> None:
    """Raises InputError when one of the `n_axes` axes after the first is shorter than `divisor`."""
    axes = x.shape[1 : 1 + n_axes]
    if any(size is not None and size < divisor for size in axes):
        raise InputError(
            f"model: the network's strides divide an input of {' x '.join(map(str, axes))} by {divisor}. "
            "Make it larger by `inputs` or `training.resizing`, or reduce the strides."
        )


def recurrent(
    config: RecurrentConfig,
    input_shape: tuple[int | None, ...],
    n_classes: int,
    layer: type[keras.layers.Layer],
) -> keras.Model:
    """Returns a stack of recurrent layers over time, then dense layers and logits.

    With `mask` the padding (frames with only zeros) is skipped; without it the network reads it as the
    training mean.
    """
    x = inputs = keras.Input(input_shape)
    if config.mask:
        x = keras.layers.Masking(0.0)(x)
    return keras.Model(inputs, recur(x, config, layer, n_classes))


def recur(
    x: keras.KerasTensor, config: Recurrence, layer: type[keras.layers.Layer], n_classes: int
) -> keras.KerasTensor:
    """Returns the logits of (n_clips, n_steps, n_dims): recurrent layers, a summary, dense layers."""
    for i, width in enumerate(config.units):
        cell = layer(width, return_sequences=config.summary != "last" or i + 1 < len(config.units))
        x = dropped(keras.layers.Bidirectional(cell)(x) if config.bidirectional else cell(x), config.dropout)
    if config.summary != "last":
        x = MaskedAverage()(x) if config.summary == "average" else summarized(x, config.summary, 1)
    return head(x, config.dense, config.dropout, n_classes)


class MaskedAverage(keras.layers.GlobalAveragePooling1D):  # type: ignore[misc]
    """Keras's layer; where all steps of a clip are masked, their average, for which Keras divides 0 by 0.

    Digital silence is such a clip, or one that SpecAugment masks as a whole.
    """

    def call(self, inputs: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
        """Returns float (n_clips, n_dims)."""
        if mask is not None:
            mask |= ~tf.reduce_any(mask, axis=1, keepdims=True)
        return super().call(inputs, mask)


def head(
    x: keras.KerasTensor,
    dense: list[int],
    dropout: float,
    n_classes: int,
    regularizer: keras.regularizers.Regularizer | None = None,
) -> keras.KerasTensor:
    """Returns ReLU layers of the given widths with dropout between, then logits (n_clips, n_classes)."""
    for units in dense:
        x = dropped(keras.layers.Dense(units, activation="relu", kernel_regularizer=regularizer)(x), dropout)
    return keras.layers.Dense(n_classes, dtype="float32")(x)
