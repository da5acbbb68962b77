"""Building blocks that several networks share."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import keras
from pydantic import Field, model_validator

from stages.core.inputs import Inputs
from stages.core.network import Training
from stages.core.params import Block, Count, Share

L2 = Annotated[float, Field(ge=0)]


class Convolution(Block):
    """Convolution, batch normalisation if asked for, ReLU, pooling, dropout."""

    filters: Count
    kernel_size: Count
    pool: Literal["max", "average", "none"]
    pool_size: Count
    pool_strides: Count
    dropout: Share


class ConvolutionConfig(Block):
    """What the 1-D and the 2-D network have in common in params.yaml."""

    inputs: Inputs
    convolutions: Annotated[list[Convolution], Field(min_length=1)]
    batch_norm: bool
    summary: Literal["flatten", "average", "max"]
    dense: list[Count]
    dense_dropout: Share
    l2: L2
    training: Training


class RecurrentConfig(Block):
    """What LSTM and GRU have in common in params.yaml."""

    inputs: Inputs
    units: Annotated[list[Count], Field(min_length=1)]
    bidirectional: bool
    mask: bool
    summary: Literal["last", "average", "max"]
    dropout: Share
    dense: list[Count]
    training: Training

    @model_validator(mode="after")
    def _summary_sees_mask(self) -> Self:
        if self.mask and self.summary == "max":
            raise ValueError("`summary: max` cannot see a mask; use `average` or `last`, or `mask: false`")
        return self


def convolutional(
    config: ConvolutionConfig, input_shape: tuple[int, ...], n_classes: int, n_axes: Literal[1, 2]
) -> keras.Model:
    """Returns a stack of convolutions over `n_axes` axes, summarised, then dense layers and logits."""
    convolution = {1: keras.layers.Conv1D, 2: keras.layers.Conv2D}[n_axes]
    pooling = {
        ("max", 1): keras.layers.MaxPooling1D,
        ("max", 2): keras.layers.MaxPooling2D,
        ("average", 1): keras.layers.AveragePooling1D,
        ("average", 2): keras.layers.AveragePooling2D,
    }
    regularizer = keras.regularizers.L2(config.l2) if config.l2 else None
    x = inputs = keras.Input(input_shape)
    for block in config.convolutions:
        x = convolution(
            block.filters,
            block.kernel_size,
            padding="same",
            kernel_regularizer=regularizer,
            use_bias=not config.batch_norm,
        )(x)
        if config.batch_norm:
            x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ReLU()(x)
        if block.pool != "none":
            x = pooling[block.pool, n_axes](block.pool_size, block.pool_strides, padding="same")(x)
        if block.dropout:
            x = keras.layers.Dropout(block.dropout)(x)
    summary: dict[tuple[str, int], Any] = {
        ("average", 1): keras.layers.GlobalAveragePooling1D,
        ("average", 2): keras.layers.GlobalAveragePooling2D,
        ("max", 1): keras.layers.GlobalMaxPooling1D,
        ("max", 2): keras.layers.GlobalMaxPooling2D,
    }
    x = summary.get((config.summary, n_axes), keras.layers.Flatten)()(x)
    return keras.Model(inputs, head(x, config.dense, config.dense_dropout, n_classes, regularizer))


def recurrent(
    config: RecurrentConfig, input_shape: tuple[int, ...], n_classes: int, layer: type[keras.layers.Layer]
) -> keras.Model:
    """Returns a stack of recurrent layers over time, then dense layers and logits.

    With `mask` the padding, frames whose every value is zero, is passed over; without it the network
    reads it as the training mean.
    """
    x = inputs = keras.Input(input_shape)
    if config.mask:
        x = keras.layers.Masking(0.0)(x)
    for i, units in enumerate(config.units):
        cell = layer(units, return_sequences=config.summary != "last" or i + 1 < len(config.units))
        x = keras.layers.Bidirectional(cell)(x) if config.bidirectional else cell(x)
        if config.dropout:
            x = keras.layers.Dropout(config.dropout)(x)
    if config.summary == "average":
        x = keras.layers.GlobalAveragePooling1D()(x)
    elif config.summary == "max":
        x = keras.layers.GlobalMaxPooling1D()(x)
    return keras.Model(inputs, head(x, config.dense, config.dropout, n_classes))


def head(
    x: keras.KerasTensor,
    dense: list[int],
    dropout: float,
    n_classes: int,
    regularizer: keras.regularizers.Regularizer | None = None,
) -> keras.KerasTensor:
    """Returns ReLU layers of the given widths with dropout between, then logits (n_clips, n_classes)."""
    for units in dense:
        x = keras.layers.Dense(units, activation="relu", kernel_regularizer=regularizer)(x)
        if dropout:
            x = keras.layers.Dropout(dropout)(x)
    return keras.layers.Dense(n_classes)(x)
