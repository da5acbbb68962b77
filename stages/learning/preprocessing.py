"""From stored frame-level features to the array a model takes, fitted on training clips alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from stages.base import npz
from stages.base.errors import InputError
from stages.base.files import replacing
from stages.base.params import Block, Count, Positive

Frames = NDArray[np.float32]  # (n_frames, n_dims)
Layout = Literal["mean", "stats", "frames", "image", "flat"]

# A dimension that never varies (a silent band) is centred and left at zero, not divided by noise.
MIN_DEVIATION = 1e-6


# Of a time axis: four hours at 16 ms a step, and a limit to the memory that a file can make us use.
MOST_STEPS = 1_000_000


class Inputs(Block):
    """What a model is fed.

    Attributes:
        features: entries of stages/features, concatenated along the feature axis in this order.
        layout: `mean` over time; `stats`: five statistics over time; `frames` (time, features);
            `image` (time, features, 1); `flat` (time x features).
        duration_s: clips are cropped or zero-padded to it; null means the longest training clip.
            `mean` and `stats` see the whole clip and ignore it.
        frames_per_step: adjacent frames averaged into one step of the time axis; 1 keeps them all. A
            recurrent network's time is proportional to its steps.
    """

    features: Annotated[list[str], Field(min_length=1)]
    layout: Layout
    duration_s: Positive | None
    frames_per_step: Count


def pool(frames: Frames, layout: Layout, frames_per_step: int = 1) -> Frames:
    """Returns float32 (1, n_pooled) for the layouts without a time axis, else (n_steps, n_dims).

    `stats` is mean, standard deviation, 10th and 90th percentile of each dimension and the standard
    deviation of its first difference: (1, 5 n_dims).
    """
    if layout == "mean":
        return np.asarray(frames.mean(axis=0, keepdims=True))
    if layout == "stats":
        ordered = np.sort(np.ascontiguousarray(frames.T), axis=1)
        low, high = _quantile(ordered, 0.1), _quantile(ordered, 0.9)
        change = np.diff(frames, axis=0).std(axis=0) if len(frames) > 1 else np.zeros(frames.shape[1])
        rows = (frames.mean(axis=0), frames.std(axis=0), low, high, change)
        return np.concatenate(rows)[None].astype(np.float32)
    starts = np.arange(0, len(frames), frames_per_step)
    lengths = np.diff(starts, append=len(frames))
    return np.asarray(np.add.reduceat(frames, starts, axis=0) / lengths[:, None], dtype=np.float32)


def _quantile(ordered: Frames, share: float) -> NDArray[np.floating]:
    """Returns `np.quantile(ordered, share, axis=1)` of rows already sorted, (n_dims,).

    numpy's own partitions each column anew and takes twenty times as long.
    """
    below, weight = divmod(share * (ordered.shape[1] - 1), 1)
    above = min(int(below) + 1, ordered.shape[1] - 1)
    return np.asarray(ordered[:, int(below)] * (1 - weight) + ordered[:, above] * weight)


def moments(clips: Iterable[Frames]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns mean and deviation of each dimension over all frames of `clips`, each (n_dims,).

    The deviation of a dimension that does not vary is 1. Chan et al. 1983, "Algorithms for computing
    the sample variance": blocks merged pairwise, so that memory stays with one clip.
    """
    n, mean, squares = 0, np.zeros(1), np.zeros(1)
    for frames in clips:
        block = frames.astype(np.float64)
        block_mean = block.mean(axis=0)
        delta, total = block_mean - mean, n + len(block)
        squares = squares + ((block - block_mean) ** 2).sum(axis=0) + delta**2 * n * len(block) / total
        mean = mean + delta * len(block) / total
        n = total
    deviation = np.sqrt(squares / n)
    return mean, np.where(deviation < MIN_DEVIATION, 1.0, deviation)


def standardize_speakers(clips: dict[str, Frames], rows: pd.DataFrame) -> dict[str, Frames]:
    """Returns the clips with each speaker's own mean removed and own deviation divided out.

    Both are of the speaker's recordings, without augmented copies: test speakers have none, and what noise
    adds to train speakers' would set the two apart. It uses the (unlabelled) clips of test speakers too.

    Args:
        clips: name -> (n_frames, n_dims).
        rows: columns clip, parent and speaker; a copy is a row whose clip is not its own parent.
    """
    out = dict(clips)
    for _, own in rows.groupby("speaker"):
        mean, deviation = moments(clips[clip] for clip in own.loc[own["clip"] == own["parent"], "clip"])
        for clip in own["clip"]:
            out[clip] = ((clips[clip] - mean) / deviation).astype(np.float32)
    return out


@dataclass(frozen=True)
class Partition:
    """Encoded clips of one role.

    Attributes:
        x: float32 (n_clips, *input_shape).
        y: int64 (n_clips,), index into `classes`.
        classes: the fold's, sorted.
    """

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    classes: list[str]


@dataclass(frozen=True)
class Preprocessor:
    """Scales and lays out clips as the training clips prescribe.

    Attributes:
        layout: see `Inputs`.
        frames_per_step: see `Inputs`.
        n_steps: length of the time axis; 1 for the layouts without one.
        mean, deviation: float64 (n_dims,), of the training clips' (pooled) frames.
    """

    layout: Layout
    frames_per_step: int
    n_steps: int
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def fit(cls, clips: Sequence[Frames], inputs: Inputs, frames_per_second: float) -> Preprocessor:
        """Returns the preprocessor fitted on `clips`, which must be training clips."""
        pooled = [pool(frames, inputs.layout, inputs.frames_per_step) for frames in clips]
        longest = max(len(frames) for frames in pooled)
        if inputs.layout in ("frames", "image", "flat") and inputs.duration_s is not None:
            longest = max(1, round(inputs.duration_s * frames_per_second / inputs.frames_per_step))
        mean, deviation = moments(pooled)
        return cls(inputs.layout, inputs.frames_per_step, longest, mean, deviation)

    def transform(self, clips: Sequence[Frames]) -> NDArray[np.float32]:
        """Returns float32 (n_clips, *self.shape). Padding is zero, the training mean.

        Raises:
            InputError: the clips have other features than those that the preprocessor was fitted on.
        """
        out = np.zeros((len(clips), self.n_steps, len(self.mean)), dtype=np.float32)
        for row, frames in zip(out, clips, strict=True):
            pooled = pool(frames, self.layout, self.frames_per_step)
            if pooled.shape[1] != len(self.mean):
                raise InputError(
                    f"{len(self.mean)} values a step were trained on, and the features now give "
                    f"{pooled.shape[1]}. Run `dvc repro`."
                )
            scaled = (pooled - self.mean) / self.deviation
            row[: len(scaled)] = scaled[: self.n_steps]
        return out.reshape(len(clips), *self.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one encoded clip."""
        match self.layout:
            case "image":
                return (self.n_steps, len(self.mean), 1)
            case "frames":
                return (self.n_steps, len(self.mean))
            case _:
                return (self.n_steps * len(self.mean),)

    def save(self, path: Path) -> None:
        """Writes the preprocessor as npz, the same bytes for the same values."""
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **asdict(self))

    @classmethod
    def load(cls, path: Path) -> Preprocessor:
        """Returns the preprocessor that `save` wrote.

        Raises:
            InputError: the file is missing or is none.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                stored = {name: value if value.ndim else value.item() for name, value in file.items()}
            preprocessor = cls(**stored)
            preprocessor._check()
            return preprocessor
        except (*npz.UNREADABLE, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}: no preprocessor that train wrote ({error}). Run `dvc repro train`."
            ) from error

    def _check(self) -> None:
        """Raises ValueError where the values are none that `fit` gives."""
        counts, vectors = (self.frames_per_step, self.n_steps), (self.mean, self.deviation)
        if self.layout not in get_args(Layout) or any(type(count) is not int for count in counts):
            raise ValueError("a layout or a count is none")
        if not all(1 <= count <= MOST_STEPS for count in counts):
            raise ValueError("a count is out of range")
        if any(vector.dtype != np.float64 or vector.shape != self.mean.shape for vector in vectors):
            raise ValueError("mean and deviation do not belong together")
        if self.mean.ndim != 1 or not np.isfinite(vectors).all() or not (self.deviation > 0).all():
            raise ValueError("mean or deviation is out of range")
