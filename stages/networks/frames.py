"""Training of networks that read clips as sequences of frames: batches of similar length, and SpecAugment."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from stages.base.params import Block, Count, Fraction, Training
from stages.learning.preprocessing import Clips
from stages.networks.network import Array, Indices, NetworkTrainer, Shape
from stages.networks.weights import Build


class SpecAugment(Block):
    """Spans of steps and of features set to the training mean, sampled for each clip and epoch.

    A recurrent network with `mask: true` skips the steps as if the clip did not have them.

    Park et al. 2019, "SpecAugment: A simple data augmentation method for automatic speech recognition",
    without the time warping, which they found to have little effect.

    Attributes:
        n_time_masks, n_frequency_masks: spans per clip.
        max_time_fraction, max_frequency_fraction: longest span, as a fraction of the axis; uniform.
    """

    n_time_masks: Annotated[int, Field(ge=0)]
    max_time_fraction: Fraction
    n_frequency_masks: Annotated[int, Field(ge=0)]
    max_frequency_fraction: Fraction

    def __call__(self, x: Array, rng: np.random.Generator) -> Array:
        """Returns a masked copy of `x`, (n_clips, n_steps, n_dims)."""
        x = x.copy()
        for axis, n_masks, fraction in (
            (1, self.n_time_masks, self.max_time_fraction),
            (2, self.n_frequency_masks, self.max_frequency_fraction),
        ):
            size = x.shape[axis]
            length = rng.integers(0, int(fraction * size) + 1, (n_masks, len(x), 1))
            start = rng.integers(0, size - length + 1)
            place = np.arange(size)
            masked = ((place >= start) & (place < start + length)).any(axis=0)
            x[np.broadcast_to(np.expand_dims(masked, 3 - axis), x.shape)] = 0
        return x


class FrameTraining(Training):
    """Settings for networks that read frames.

    Attributes:
        length_buckets: each clip is padded to the shortest of this many evenly spaced lengths that fits,
            and trained in a batch of clips of similar length, padded to the longest of them; 1 pads all clips
            to the longest of all. The time of a recurrent network is proportional to the steps it reads,
            padding included.
        spec_augment: masks in training, or null.
    """

    length_buckets: Count
    spec_augment: SpecAugment | None


class FrameTrainer(NetworkTrainer):
    """Trains a network of frames, (n_steps, n_dims)."""

    def __init__(self, build: Build, training: FrameTraining) -> None:
        super().__init__(build, training)
        self.length_buckets, self.spec_augment = training.length_buckets, training.spec_augment

    def input_shape(self, shape: tuple[int, ...], epoch: int) -> Shape:
        return (None, *shape[1:]) if self.length_buckets > 1 else shape

    def groups(self, clips: Clips) -> list[Indices]:
        padded = self.padded_lengths(clips)
        return [np.flatnonzero(padded == length) for length in np.unique(padded)]

    def batch(self, clips: Clips, batch: Indices, epoch: int) -> Array:
        return clips.x[batch, : self.padded_lengths(clips)[batch].max()]

    def training_batch(
        self, clips: Clips, y: Array, batch: Indices, epoch: int, rng: np.random.Generator
    ) -> tuple[Array, Array]:
        x = self.batch(clips, batch, epoch)
        return (self.spec_augment(x, rng) if self.spec_augment else x), y

    def padded_lengths(self, clips: Clips) -> Indices:
        """Returns the number of steps that each clip is padded to, int64 (n_clips,)."""
        lengths = self.lengths(clips.x.shape[1])
        return lengths[np.searchsorted(lengths, clips.lengths)]

    def lengths(self, longest: int) -> Indices:
        """Returns the numbers of steps that clips are padded to, int64 (n_lengths,), `longest` last."""
        n = self.length_buckets
        return np.unique(np.ceil(np.arange(1, n + 1) * longest / n)).astype(np.int64)
