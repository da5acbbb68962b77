"""Training of networks that read clips as images: mixup, random changes, and progressive resizing."""

from __future__ import annotations

from typing import Annotated, Any, Self

import keras
import numpy as np
import tensorflow as tf
from pydantic import Field, model_validator

from stages.base.params import Block, Fraction, Positive, Training
from stages.learning.preprocessing import Clips
from stages.networks.network import Array, Indices, NetworkTrainer, Shape
from stages.networks.weights import Build

# Brightness is added to standardised values, which are clipped to this range.
VALUE_RANGE = (-10.0, 10.0)


class ImageAugment(Block):
    """Keras's random layers on the image, sampled for each clip and epoch.

    Attributes:
        rotation_deg: largest rotation in either direction.
        zoom: largest zoom in or out, as a fraction.
        brightness: largest change up or down, in standard deviations.
    """

    rotation_deg: Annotated[float, Field(ge=0, le=180)]
    zoom: Fraction
    brightness: Annotated[float, Field(ge=0)]

    def layers(self) -> list[keras.layers.Layer]:
        """Returns the layers, which have no effect outside training."""
        low, high = VALUE_RANGE
        fill: dict[str, Any] = {"fill_mode": "constant", "dtype": "float32"}  # with 0, the training mean
        return [
            keras.layers.RandomRotation(self.rotation_deg / 360, **fill),
            keras.layers.RandomZoom(self.zoom, **fill),
            keras.layers.RandomBrightness(
                self.brightness / (high - low), value_range=VALUE_RANGE, dtype="float32"
            ),
        ]


class Size(Block):
    """The side of the square images from an epoch on."""

    from_epoch: Annotated[int, Field(ge=0)]
    pixels: Annotated[int, Field(ge=8, le=1024)]


class ImageTraining(Training):
    """Settings for networks that read images.

    Attributes:
        mixup_alpha: clips are mixed in pairs, and their labels likewise, with a weight sampled from
            Beta(alpha, alpha) (Zhang et al. 2018, "mixup: Beyond empirical risk minimization"); or null.
        image_augment: small random changes of the image, or null.
        resizing: sizes of the images, by rising epoch; empty keeps the original size. Increasing sizes are
            progressive resizing (Howard 2018, "Training ImageNet in 3 hours for 25 minutes"): the weights are
            kept, and the best epoch is one with the last size.
    """

    mixup_alpha: Positive | None
    image_augment: ImageAugment | None
    resizing: list[Size]

    @model_validator(mode="after")
    def _sizes_from_the_first_epoch_on(self) -> Self:
        starts = [size.from_epoch for size in self.resizing]
        if starts and (starts[0] != 0 or starts != sorted(set(starts)) or starts[-1] >= self.epochs):
            raise ValueError(
                f"`resizing` starts at epochs {', '.join(map(str, starts))}; they must rise from 0 and stay "
                f"below `epochs`, {self.epochs}"
            )
        return self


class ImageTrainer(NetworkTrainer):
    """Trains a network of images, (height, width, n_channels)."""

    def __init__(self, build: Build, training: ImageTraining) -> None:
        super().__init__(build, training)
        self.mixup_alpha, self.image_augment = training.mixup_alpha, training.image_augment
        self.resizing = training.resizing

    def input_shape(self, shape: tuple[int, ...], epoch: int) -> Shape:
        pixels = self.pixels(epoch)
        return shape if pixels is None else (pixels, pixels, *shape[2:])

    def batch(self, clips: Clips, batch: Indices, epoch: int) -> Any:
        return self._resized(clips.x[batch], epoch)

    def training_batch(
        self, clips: Clips, y: Array, batch: Indices, epoch: int, rng: np.random.Generator
    ) -> tuple[Any, Array]:
        x = clips.x[batch]
        if self.mixup_alpha is not None:
            x, y = mixup(x, y, self.mixup_alpha, rng)
        return self._resized(x, epoch), y

    def in_training(self, network: keras.Model) -> keras.Model:
        if self.image_augment is None:
            return network
        layers = self.image_augment.layers()
        return keras.Sequential([keras.Input(network.input_shape[1:]), *layers, network])

    def pixels(self, epoch: int) -> int | None:
        """Returns the side of the images in an epoch, None for their original size."""
        begun = [size.pixels for size in self.resizing if size.from_epoch <= epoch]
        return begun[-1] if begun else None

    def _resized(self, x: Array, epoch: int) -> Any:
        pixels = self.pixels(epoch)
        return x if pixels is None else tf.image.resize(x, (pixels, pixels), antialias=True)


def mixup(x: Array, y: Array, alpha: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Returns each clip and its target mixed with those of a random other one, in one proportion for all."""
    fraction = np.float32(rng.beta(alpha, alpha))
    partner = rng.permutation(len(x))
    return fraction * x + (1 - fraction) * x[partner], fraction * y + (1 - fraction) * y[partner]
