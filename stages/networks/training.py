"""How a network is trained, and what that makes of its clips: buckets, altered batches, other sizes."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import keras
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from stages.base.files import PRETRAINED_NAME
from stages.base.params import Block, Count, Fraction, Positive

Batch = NDArray[np.float32]  # (n_clips, *input_shape)
Targets = NDArray[np.float32]  # (n_clips, n_classes), a clip's shares of each class

# Brightness is added to standardised values; what it pushes beyond is no spectrogram any more.
IMAGE_RANGE = (-10.0, 10.0)


class Plateau(Block):
    """Learning rate times `factor` after `patience_epochs` without improvement, down to the minimum."""

    patience_epochs: Count
    factor: Annotated[float, Field(gt=0, lt=1)]
    min_learning_rate: Positive


class SpecAugment(Block):
    """Spans of steps and of features set to the training mean, anew for each clip and epoch.

    Park et al. 2019, "SpecAugment: A simple data augmentation method for automatic speech recognition",
    without the time warping, which they found to matter little.

    Attributes:
        n_time_masks, n_frequency_masks: spans of a clip.
        max_time_share, max_frequency_share: the longest, as a share of the axis; lengths are uniform.
    """

    n_time_masks: Annotated[int, Field(ge=0)]
    max_time_share: Fraction
    n_frequency_masks: Annotated[int, Field(ge=0)]
    max_frequency_share: Fraction

    def __call__(self, x: Batch, rng: np.random.Generator) -> Batch:
        """Returns a masked copy of `x`, (n_clips, n_steps, n_dims)."""
        x = x.copy()
        for axis, n_masks, share in (
            (1, self.n_time_masks, self.max_time_share),
            (2, self.n_frequency_masks, self.max_frequency_share),
        ):
            size = x.shape[axis]
            length = rng.integers(0, int(share * size) + 1, (n_masks, len(x), 1))
            start = rng.integers(0, size - length + 1)
            place = np.arange(size)
            hidden = ((place >= start) & (place < start + length)).any(axis=0)
            x[np.broadcast_to(np.expand_dims(hidden, 3 - axis), x.shape)] = 0
        return x


class ImageAugment(Block):
    """Keras's random layers on the image, anew for each clip and epoch.

    Attributes:
        rotation_deg: up to so far either way.
        zoom: up to this share larger or smaller.
        brightness: up to so many standard deviations up or down.
    """

    rotation_deg: Annotated[float, Field(ge=0, le=180)]
    zoom: Fraction
    brightness: Annotated[float, Field(ge=0)]

    def layers(self) -> list[keras.layers.Layer]:
        """Returns the layers, which act in training only."""
        low, high = IMAGE_RANGE
        fill: dict[str, Any] = {"fill_mode": "constant", "dtype": "float32"}  # with 0, the training mean
        return [
            keras.layers.RandomRotation(self.rotation_deg / 360, **fill),
            keras.layers.RandomZoom(self.zoom, **fill),
            keras.layers.RandomBrightness(
                self.brightness / (high - low), value_range=IMAGE_RANGE, dtype="float32"
            ),
        ]


class Size(Block):
    """From an epoch on, images are squares of so many pixels."""

    from_epoch: Annotated[int, Field(ge=0)]
    pixels: Annotated[int, Field(ge=8, le=1024)]


class Training(Block):
    """How a network is trained.

    Attributes:
        learning_rate_decay: the rate is multiplied by it after every epoch; 1 leaves it.
        precision: of what is computed in training; weights are float32 and so is every score. `auto` is
            bfloat16 where the processor has instructions for it, which halves the time of convolutions.
        class_weights: `balanced` weighs clips by the inverse frequency of their class.
        monitor: what validation watches, `uar` or `loss`; the epoch best in it gives the weights.
        patience_epochs: early stopping after so many epochs without improvement; null never stops.
        init_from: a folder in data/pretrained whose weights training starts from; null starts at random.
    """

    optimizer: Literal["adam", "rmsprop", "sgd"]
    learning_rate: Positive
    learning_rate_decay: Annotated[float, Field(gt=0, le=1)]
    precision: Literal["auto", "float32", "bfloat16"]
    clip_norm: Positive | None
    epochs: Count
    batch_size: Count
    class_weights: Literal["none", "balanced"]
    monitor: Literal["uar", "loss"]
    patience_epochs: Count | None
    plateau: Plateau | None
    checkpoint_every_epochs: Count
    init_from: Annotated[str, Field(pattern=PRETRAINED_NAME)] | None

    def input_shape(self, shape: tuple[int, ...], epoch: int) -> tuple[int | None, ...]:
        """Returns what the network is built for in an epoch, where one clip's array has `shape`."""
        return shape

    def buckets(self, x: Batch) -> list[tuple[Any, NDArray[np.int64]]]:
        """Returns groups of clips that are read alike: what to take of each clip's array, and which clips.

        What is taken rises from group to group.
        """
        return [(slice(None), np.arange(len(x)))]

    def altered(self, x: Batch, y: Targets, rng: np.random.Generator) -> tuple[Batch, Targets]:
        """Returns a training batch as the network shall see it."""
        return x, y

    def pixels(self, epoch: int) -> int | None:
        """Returns the side of the images in an epoch, None where they stay as they are."""
        return None

    def layers(self) -> list[keras.layers.Layer]:
        """Returns layers that stand before the network in training only."""
        return []


class FrameTraining(Training):
    """Training of a network that reads frames one after the other.

    Attributes:
        length_buckets: each clip is padded to the shortest of so many evenly spaced lengths that holds it,
            and trains beside clips of like length, padded to the longest of their batch; 1 pads all to the
            longest of all. A recurrent network's time is proportional to what it reads, padding included.
        spec_augment: masks in training, or null.
    """

    length_buckets: Count
    spec_augment: SpecAugment | None

    def input_shape(self, shape: tuple[int, ...], epoch: int) -> tuple[int | None, ...]:
        return (None, *shape[1:]) if self.length_buckets > 1 else shape

    def buckets(self, x: Batch) -> list[tuple[Any, NDArray[np.int64]]]:
        if self.length_buckets == 1:
            return super().buckets(x)
        n_steps = x.shape[1]
        padding = (x == 0).all(axis=2)[:, ::-1]
        used = n_steps - np.where(padding.all(axis=1), n_steps, padding.argmin(axis=1))
        lengths = np.unique(np.ceil(np.arange(1, self.length_buckets + 1) * n_steps / self.length_buckets))
        bucket = np.searchsorted(lengths, used)
        return [(slice(int(lengths[i])), np.flatnonzero(bucket == i)) for i in np.unique(bucket)]

    def altered(self, x: Batch, y: Targets, rng: np.random.Generator) -> tuple[Batch, Targets]:
        return (self.spec_augment(x, rng) if self.spec_augment else x), y


class ImageTraining(Training):
    """Training of a network that reads images.

    Attributes:
        mixup_alpha: clips are mixed in pairs, and so are their labels, by a share drawn from
            Beta(alpha, alpha) (Zhang et al. 2018, "mixup: Beyond empirical risk minimization"); or null.
        image_augment: small random changes of the image, or null.
        resizing: sizes of the images, by rising epoch; empty leaves them as they are. Larger after smaller
            ones is progressive resizing (Howard 2018, "Training ImageNet in 3 hours for 25 minutes"): the
            weights are carried over, and the best epoch is looked for among those of the last size.
    """

    mixup_alpha: Positive | None
    image_augment: ImageAugment | None
    resizing: list[Size]

    @model_validator(mode="after")
    def _sizes_from_the_first_epoch_on(self) -> Self:
        starts = [size.from_epoch for size in self.resizing]
        if starts and (starts[0] != 0 or starts != sorted(set(starts)) or starts[-1] >= self.epochs):
            raise ValueError(
                f"`resizing` begins at epochs {', '.join(map(str, starts))}; they have to rise from 0 and "
                f"stay below epochs, {self.epochs}"
            )
        return self

    def input_shape(self, shape: tuple[int, ...], epoch: int) -> tuple[int | None, ...]:
        pixels = self.pixels(epoch)
        return shape if pixels is None else (pixels, pixels, *shape[2:])

    def altered(self, x: Batch, y: Targets, rng: np.random.Generator) -> tuple[Batch, Targets]:
        if self.mixup_alpha is None:
            return x, y
        share = np.float32(rng.beta(self.mixup_alpha, self.mixup_alpha))
        partner = rng.permutation(len(x))
        return share * x + (1 - share) * x[partner], share * y + (1 - share) * y[partner]

    def pixels(self, epoch: int) -> int | None:
        begun = [size.pixels for size in self.resizing if size.from_epoch <= epoch]
        return begun[-1] if begun else None

    def layers(self) -> list[keras.layers.Layer]:
        return self.image_augment.layers() if self.image_augment else []
