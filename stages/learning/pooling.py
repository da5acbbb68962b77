"""Second-order pooling: how the frames of a clip vary together, as one vector per clip.

A mean over time forgets which dimensions rise and fall together, and in which order. Covariances, and
covariances with the frames a moment later, keep both. They are computed of a few principal components of the
frames, which are fitted on the fold's training clips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import scipy
from pydantic import Discriminator, Field, Tag, field_validator

from stages.base import npz
from stages.base.errors import InputError, unknown
from stages.base.params import Block, Count, Names, Positive
from stages.learning.preprocessing import LARGEST, Clips, Frames, quantile

LEAST_VARIANCE = 1e-6  # added to a principal component's variance

SIMPLE: dict[str, Callable[..., Any]] = {
    "mean": np.mean,
    "std": np.std,
    "max": np.max,
    "mean_abs": lambda values, axis: np.abs(values).mean(axis=axis),
}
Statistic = Literal["mean", "std", "max", "mean_abs", "p5", "p10", "p50", "p90", "p95", "p99"]


class Stream(Block):
    """Some columns of a feature's step.

    Attributes:
        name: by which blocks use it.
        feature: entry of stages/features.
        columns: how many; the streams of a feature are its columns, in their order.
        frames: of the stream in a step, one after the other; `columns / frames` dimensions each.
    """

    name: str
    feature: str
    columns: Count
    frames: Count


class Statistics(Block):
    """Statistics over time of each dimension of some streams.

    Attributes:
        difference_frames: of the change over this many frames; 0 for the values themselves.
        weight: the fraction of the clips' squared distance that the block makes up.
    """

    streams: Annotated[Names, Field(min_length=1)]
    statistics: Annotated[list[Statistic], Field(min_length=1)]
    difference_frames: Annotated[int, Field(ge=0)]
    weight: Positive


class Covariances(Block):
    """Covariances over time between components of each of some streams.

    Attributes:
        basis: `principal`: principal components of the training clips' frames, whitened halfway; `cosine`:
            the discrete cosine transform, which makes cepstra of log-mel bands.
        n_components: kept.
        lags_frames: between the two frames; 0 is the covariance.
        difference_frames: the components' changes over this many frames join the components; 0 adds none.
        weight: see `Statistics`; each stream and each lag has it.
    """

    streams: Annotated[Names, Field(min_length=1)]
    basis: Literal["principal", "cosine"]
    n_components: Count
    lags_frames: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    difference_frames: Annotated[int, Field(ge=0)]
    weight: Positive


def _kind(block: Any) -> str:
    """Returns which kind of block it is, so that an error names a key of that kind. No key has this name."""
    given = isinstance(block, dict) and "basis" in block
    return "Covariances" if given or isinstance(block, Covariances) else "Statistics"


AnyBlock = Annotated[
    Annotated[Statistics, Tag("Statistics")] | Annotated[Covariances, Tag("Covariances")],
    Discriminator(_kind),
]


class Pooling(Block):
    """What is computed of a clip's frames.

    Attributes:
        streams: each with a name of its own. A list, because its order counts.
        blocks: of the pooled vector.
    """

    streams: list[Stream]
    blocks: Annotated[list[AnyBlock], Field(min_length=1)]

    @field_validator("streams")
    @classmethod
    def _with_names_of_their_own(cls, streams: list[Stream]) -> list[Stream]:
        names = [stream.name for stream in streams]
        if repeated := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two streams have the name '{repeated[0]}'")
        return streams

    def of(self, features: Sequence[str]) -> Pooling:
        """Returns what is left with these features: their streams, in their order, and blocks of those."""
        left = [stream for feature in features for stream in self.streams if stream.feature == feature]
        others = {stream.name for stream in self.streams if stream not in left}
        blocks = [
            block.model_copy(update={"streams": names})
            for block in self.blocks
            if (names := [name for name in block.streams if name not in others])
        ]
        return self.model_copy(update={"streams": left, "blocks": blocks})


@dataclass(frozen=True)
class Basis:
    """Principal components of one stream.

    Attributes:
        mean: float32 (n_dims,), of the training clips' frames.
        components: float32 (n_dims, n_components), each divided by the fourth root of its variance.
    """

    mean: Frames
    components: Frames


@dataclass(frozen=True)
class FittedPooling:
    """Pools clips, with the principal components of one fold's training clips.

    Attributes:
        config: the block `pooling` of the model.
        bases: by stream.
    """

    config: Pooling
    bases: dict[str, Basis]

    @classmethod
    def fit(cls, config: Pooling, clips: Callable[[], Iterable[Frames]], place: str) -> FittedPooling:
        """Returns the pooling fitted on training clips.

        Args:
            clips: returns the training clips, each float32 (n_steps, n_columns); only one is used at a time.

        Raises:
            InputError: a block names an unknown stream, or the streams are not the clips' columns.
        """
        _check(config, place)
        wanted = _principal(config)
        sums = {name: _Moments() for name in wanted}
        for clip in clips():
            streams = split(clip, config, place)
            for name, moments in sums.items():
                moments.add(streams[name])
        return cls(config, {name: sums[name].components(n, f"{place}.{name}") for name, n in wanted.items()})

    def __call__(self, clip: Frames) -> Frames:
        """Returns float32 (1, n_dims) of a clip (n_steps, n_columns)."""
        streams = split(clip, self.config, "inputs.pooling")
        return np.concatenate([part for block in self.config.blocks for part in self._parts(block, streams)])[
            None
        ]

    def _parts(self, block: Statistics | Covariances, streams: dict[str, Frames]) -> list[Frames]:
        if isinstance(block, Statistics):
            each = [
                statistics(streams[name], block.statistics, block.difference_frames) for name in block.streams
            ]
            return [np.concatenate(each)]
        parts = []
        for name in block.streams:
            projected = self._project(streams[name], name, block)
            parts += [_signed_root(covariance(projected, lag)) for lag in block.lags_frames]
        return parts

    def _project(self, frames: Frames, stream: str, block: Covariances) -> Frames:
        if block.basis == "cosine":
            projected = frames @ _cosines(frames.shape[1], block.n_components)
        else:
            basis = self.bases[stream]
            projected = (frames - basis.mean) @ basis.components[:, : block.n_components]
        if block.difference_frames:
            change = np.zeros_like(projected)
            change[block.difference_frames :] = difference(projected, block.difference_frames)
            projected = np.concatenate([projected, change], axis=1)
        return projected

    @cached_property
    def scales(self) -> Frames:
        """float32 (n_dims,): the factors that give each block of a standardised vector its weight."""
        n_rows = 4 * max(stream.frames for stream in self.config.streams)
        streams = {
            stream.name: np.zeros((n_rows * stream.frames, stream.columns // stream.frames), np.float32)
            for stream in self.config.streams
        }
        each = [
            np.full(len(part), np.sqrt(block.weight / len(part)))
            for block in self.config.blocks
            for part in self._parts(block, streams)
        ]
        return np.concatenate(each).astype(np.float32)

    def weigh(self, standardized: Clips) -> Clips:
        """Returns pooled, standardised clips without extreme values, each block with its weight."""
        return Clips(np.clip(standardized.x, -LARGEST, LARGEST) * self.scales, standardized.lengths)

    def save(self, path: Path) -> None:
        """Writes the principal components as npz, the same bytes for the same values."""
        arrays = {f"{name}.mean": basis.mean for name, basis in sorted(self.bases.items())}
        arrays |= {f"{name}.components": basis.components for name, basis in sorted(self.bases.items())}
        npz.write(path, **arrays)

    @classmethod
    def load(cls, config: Pooling, path: Path) -> FittedPooling:
        """Returns the pooling that `save` wrote.

        Raises:
            InputError: the file is missing or was not written by `save` with this block.
        """
        with npz.written_by_train(path, "a pooling") as stored:
            arrays = dict(stored)
            names = sorted(name.removesuffix(".mean") for name in arrays if name.endswith(".mean"))
            bases = {name: Basis(arrays[f"{name}.mean"], arrays[f"{name}.components"]) for name in names}
            made = cls(config, bases)
            wanted = _principal(config)
            if wanted.keys() != bases.keys():
                raise ValueError(f"components of {', '.join(sorted(bases))}")
            n_dims_of = {stream.name: stream.columns // stream.frames for stream in config.streams}
            for name, basis in bases.items():
                n_dims = n_dims_of[name]
                if basis.mean.shape != (n_dims,) or basis.components.shape != (n_dims, wanted[name]):
                    raise ValueError(f"'{name}' has other dimensions")
                if not all(np.isfinite(array).all() for array in (basis.mean, basis.components)):
                    raise ValueError(f"'{name}' is not finite")
            if not np.isfinite(made.scales).all():
                raise ValueError("a weight is not finite")
        return made


def _principal(config: Pooling) -> dict[str, int]:
    """Returns the number of principal components of each stream that needs some."""
    wanted: dict[str, int] = {}
    for block in config.blocks:
        if isinstance(block, Covariances) and block.basis == "principal":
            for name in block.streams:
                wanted[name] = max(wanted.get(name, 0), block.n_components)
    return wanted


class _Moments:
    """Sums of frames and of their products, in double precision."""

    def __init__(self) -> None:
        self.n, self.sum, self.products = 0, np.zeros(1), np.zeros((1, 1))

    def add(self, frames: Frames) -> None:
        exact = frames.astype(np.float64)
        self.n += len(exact)
        self.sum = self.sum + exact.sum(axis=0)
        self.products = self.products + exact.T @ exact

    def components(self, n_components: int, place: str) -> Basis:
        """Returns the components of the largest variance; the largest weight of each is positive."""
        mean = self.sum / self.n
        if n_components > len(mean):
            raise InputError(f"{place}: n_components {n_components} is more than its {len(mean)} dimensions.")
        variances, vectors = np.linalg.eigh(self.products / self.n - np.outer(mean, mean))
        variances, vectors = variances[::-1][:n_components], vectors[:, ::-1][:, :n_components]
        vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(n_components)])
        scaled = vectors / (np.maximum(variances, 0) + LEAST_VARIANCE) ** 0.25
        return Basis(mean.astype(np.float32), scaled.astype(np.float32))


def split(clip: Frames, config: Pooling, place: str) -> dict[str, Frames]:
    """Returns each stream of a clip, float32 (n_steps x frames, columns / frames).

    Raises:
        InputError: the streams' columns are not the clip's.
    """
    n_columns = sum(stream.columns for stream in config.streams)
    if clip.shape[1] != n_columns:
        raise InputError(
            f"{place}.streams: have {n_columns} columns together, but the features have {clip.shape[1]}."
        )
    streams, start = {}, 0
    for stream in config.streams:
        columns = clip[:, start : start + stream.columns]
        streams[stream.name] = columns.reshape(len(clip) * stream.frames, -1)
        start += stream.columns
    return streams


def statistics(frames: Frames, names: Sequence[str], difference_frames: int = 0) -> Frames:
    """Returns the named statistics over time, float32 (n_names x n_dims,).

    Args:
        frames: float32 (n_frames, n_dims).
        names: of `Statistic`; `p90` is the 90th percentile.
        difference_frames: statistics of the change over this many frames, 0 for the values.

    Examples:
        >>> statistics(np.array([[1], [2], [6]], np.float32), ["mean", "max", "p50"])
        array([3., 6., 2.], dtype=float32)
    """
    if difference_frames:
        frames = difference(frames, difference_frames)
    simple = {name: function(frames, axis=0) for name, function in SIMPLE.items() if name in names}
    if len(simple) < len(names):
        ordered = np.sort(np.ascontiguousarray(frames.T), axis=1)
        simple |= {name: quantile(ordered, int(name[1:]) / 100) for name in names if name not in simple}
    return np.concatenate([simple[name] for name in names]).astype(np.float32)


def difference(frames: Frames, n_frames: int) -> Frames:
    """Returns the change over `n_frames`, one row of zeros for a clip that is not longer.

    Examples:
        >>> difference(np.array([[1], [2], [6]], np.float32), 2)
        array([[5.]], dtype=float32)
    """
    return frames[n_frames:] - frames[:-n_frames] if len(frames) > n_frames else np.zeros_like(frames[:1])


def covariance(frames: Frames, lag: int) -> Frames:
    """Returns the covariance of each dimension with each `lag` frames later.

    Returns:
        float32, the n (n + 1) / 2 distinct values without a lag, else n x n; zeros for a shorter clip.

    Examples:
        >>> covariance(np.array([[1, 0], [3, 0]], np.float32), lag=0)
        array([1., 0., 0.], dtype=float32)
    """
    n_dims = frames.shape[1]
    centred = frames - frames.mean(axis=0)
    if lag == 0:
        return np.asarray((centred.T @ centred / len(frames))[np.triu_indices(n_dims)])
    if len(frames) <= lag:
        return np.zeros(n_dims * n_dims, np.float32)
    return np.asarray(centred[:-lag].T @ centred[lag:] / (len(frames) - lag)).ravel()


def _signed_root(values: Frames) -> Frames:
    return np.sign(values) * np.sqrt(np.abs(values))


@cache
def _cosines(n_dims: int, n_components: int) -> Frames:
    transform = scipy.fft.dct(np.eye(n_dims), type=2, norm="ortho", axis=1)
    return np.asarray(transform[:, :n_components], np.float32)


def _check(config: Pooling, place: str) -> None:
    """Raises InputError for a stream that is not defined or does not divide into its frames."""
    names = [stream.name for stream in config.streams]
    for block in config.blocks:
        for name in block.streams:
            if name not in names:
                raise unknown(f"{place}.blocks", name, names)
    for stream in config.streams:
        if stream.columns % stream.frames:
            raise InputError(
                f"{place}.streams: {stream.name}: {stream.columns} columns are no multiple of its "
                f"{stream.frames} frames."
            )
