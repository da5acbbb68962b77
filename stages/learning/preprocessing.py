"""From stored frame-level features to the array a model takes, fitted on training clips only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stages.base import npz
from stages.base.errors import InputError
from stages.base.params import Block, Count, Names, Positive

Frames = NDArray[np.float32]  # (n_frames, n_dims)
Layout = Literal["mean", "stats", "pooled", "frames", "image", "flat"]

# A dimension that never varies (a silent band) is centred and left at zero, not divided by noise.
MIN_STD = 1e-6

# The longest time axis, four hours at 16 ms per step: it limits the memory that a file can make us allocate.
MOST_STEPS = 1_000_000

WITHOUT_TIME_AXIS = ("mean", "stats", "pooled")

LARGEST = (
    8.0  # standard deviations that a pooled value may be away from the training mean: it is clipped there
)


class Inputs(Block):
    """The inputs of a model.

    Attributes:
        features: entries of stages/features, concatenated along the feature axis in this order.
        layout: `mean` over time; `stats`: five statistics over time; `pooled`: see learning.pooling;
            `frames` (time, features); `image` (time, features, 1); `flat` (time x features).
        duration_s: clips are cropped or zero-padded to it; null means the longest training clip.
            `mean` and `stats` use the whole clip and ignore it.
        frames_per_step: adjacent frames averaged into one step of the time axis; 1 keeps them all. The
            computing time of a recurrent network is proportional to its steps.
    """

    features: Annotated[Names, Field(min_length=1)]
    layout: Layout
    duration_s: Positive | None
    frames_per_step: Count

    @property
    def cut_s(self) -> float | None:
        """`duration_s` where it is used; None where the layout has no time axis, or clips are not cut."""
        return None if self.layout in WITHOUT_TIME_AXIS else self.duration_s


def pool(frames: Frames, layout: Layout, frames_per_step: int = 1) -> Frames:
    """Returns float32 (1, n_pooled) for the layouts without a time axis, else (n_steps, n_dims).

    `stats` is mean, standard deviation, 10th and 90th percentile of each dimension and the standard
    deviation of its first difference: (1, 5 n_dims).
    """
    if layout == "mean":
        return np.asarray(frames.mean(axis=0, keepdims=True))
    if layout == "stats":
        ordered = np.sort(np.ascontiguousarray(frames.T), axis=1)
        low, high = quantile(ordered, 0.1), quantile(ordered, 0.9)
        change = np.diff(frames, axis=0).std(axis=0) if len(frames) > 1 else np.zeros(frames.shape[1])
        rows = (frames.mean(axis=0), frames.std(axis=0), low, high, change)
        return np.concatenate(rows)[None].astype(np.float32)
    starts = np.arange(0, len(frames), frames_per_step)
    lengths = np.diff(starts, append=len(frames))
    return np.asarray(np.add.reduceat(frames, starts, axis=0) / lengths[:, None], dtype=np.float32)


def quantile(ordered: Frames, fraction: float) -> NDArray[np.floating]:
    """Returns `np.quantile(ordered, fraction, axis=1)` of rows already sorted, (n_dims,).

    numpy partitions each column separately, which takes twenty times as long.
    """
    below, weight = divmod(fraction * (ordered.shape[1] - 1), 1)
    above = min(int(below) + 1, ordered.shape[1] - 1)
    return np.asarray(ordered[:, int(below)] * (1 - weight) + ordered[:, above] * weight)


def moments(clips: Iterable[Frames]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns mean and standard deviation of each dimension over all frames of `clips`, each (n_dims,).

    The standard deviation of a constant dimension is 1. Chan et al. 1983, "Algorithms for computing the
    sample variance": blocks are merged pairwise, so only one clip is in float64 at a time.
    """
    n, mean, squares = 0, np.zeros(1), np.zeros(1)
    for frames in clips:
        block = frames.astype(np.float64)
        block_mean = block.mean(axis=0)
        delta, total = block_mean - mean, n + len(block)
        squares = squares + ((block - block_mean) ** 2).sum(axis=0) + delta**2 * n * len(block) / total
        mean = mean + delta * len(block) / total
        n = total
    std = np.sqrt(squares / n)
    return mean, np.where(std < MIN_STD, 1.0, std)


@dataclass(frozen=True)
class Clips:
    """Clips as a model takes them.

    Attributes:
        x: float32 (n_clips, *input_shape).
        lengths: int64 (n_clips,), the steps of each clip before the padding; 1 without a time axis.
    """

    x: NDArray[np.float32]
    lengths: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Partition(Clips):
    """Clips of one role with their labels.

    Attributes:
        y: int64 (n_clips,), index into `classes`.
        classes: of the fold, sorted.
        speakers: text (n_clips,); None where nobody asks for them.
        original: bool (n_clips,), whether a clip is a recording, not a copy; None if all are.
        parents: text (n_clips,), the recording that a clip is, or is a copy of; None where nobody asks.
    """

    y: NDArray[np.int64]
    classes: list[str]
    speakers: NDArray | None = None
    original: NDArray[np.bool_] | None = None
    parents: NDArray | None = None


@dataclass(frozen=True)
class Preprocessor:
    """Standardises clips by the training clips and pads or crops them to one length.

    Its clips are those that `pool` returns.

    Attributes:
        layout: see `Inputs`.
        frames_per_step: see `Inputs`.
        n_steps: length of the time axis; 1 for the layouts without one.
        mean, std: float64 (n_dims,), over the steps of the training clips.
    """

    layout: Layout
    frames_per_step: int
    n_steps: int
    mean: NDArray[np.float64]
    std: NDArray[np.float64]

    @classmethod
    def fit(cls, pooled: Sequence[Frames], inputs: Inputs, frames_per_second: float) -> Preprocessor:
        """Returns the preprocessor fitted on training clips, each float32 (n_steps, n_dims)."""
        n_steps = max(len(steps) for steps in pooled)
        if inputs.cut_s is not None:
            n_steps = max(1, round(inputs.cut_s * frames_per_second / inputs.frames_per_step))
        return cls(inputs.layout, inputs.frames_per_step, n_steps, *moments(pooled))

    def transform(self, pooled: Sequence[Frames]) -> Clips:
        """Returns the clips in one array of shape (n_clips, *self.shape). Padding is 0, the training mean.

        Raises:
            InputError: the clips have other features than those that the preprocessor was fitted on.
        """
        x = np.zeros((len(pooled), self.n_steps, len(self.mean)), dtype=np.float32)
        lengths = np.array([min(len(steps), self.n_steps) for steps in pooled], dtype=np.int64)
        for row, steps, length in zip(x, pooled, lengths, strict=True):
            if steps.shape[1] != len(self.mean):
                raise InputError(
                    f"the model was trained on {len(self.mean)} values per step, and the features now have "
                    f"{steps.shape[1]}. Run `dvc repro`."
                )
            row[:length] = ((steps - self.mean) / self.std)[:length]
        return Clips(x.reshape(len(pooled), *self.shape), lengths)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one clip."""
        match self.layout:
            case "image":
                return (self.n_steps, len(self.mean), 1)
            case "frames":
                return (self.n_steps, len(self.mean))
            case _:
                return (self.n_steps * len(self.mean),)

    def save(self, path: Path) -> None:
        """Writes the preprocessor as npz, the same bytes for the same values."""
        npz.write(path, **asdict(self))

    @classmethod
    def load(cls, path: Path) -> Preprocessor:
        """Returns the preprocessor that `save` wrote.

        Raises:
            InputError: the file is missing or was not written by `save`.
        """
        with npz.written_by_train(path, "a preprocessor") as stored:
            arrays = {name: value if value.ndim else value.item() for name, value in stored.items()}
            preprocessor = cls(**arrays)
            preprocessor._check()
        return preprocessor

    def _check(self) -> None:
        """Raises ValueError for values that `fit` cannot have returned."""
        counts, vectors = (self.frames_per_step, self.n_steps), (self.mean, self.std)
        if self.layout not in get_args(Layout) or any(type(count) is not int for count in counts):
            raise ValueError("the layout or a count is not valid")
        if not all(1 <= count <= MOST_STEPS for count in counts):
            raise ValueError("a count is out of range")
        if any(vector.dtype != np.float64 or vector.shape != self.mean.shape for vector in vectors):
            raise ValueError("mean and std differ in shape or type")
        if self.mean.ndim != 1 or not np.isfinite(vectors).all() or not (self.std > 0).all():
            raise ValueError("mean or std is out of range")
