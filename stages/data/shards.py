"""Arrays of many clips in files of bounded size, computed only where they are missing.

A shard's name ends in the fingerprint of all that makes its content: clips, parameters, source code. So a
folder of shards may be kept between runs (`persist: true`) and is a function of the inputs alone all the
same: a name that is there is up to date, and one that nobody asks for is stale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.base import npz
from stages.base.errors import InputError
from stages.data import code
from stages.data.keys import fingerprint

Frames = NDArray[np.float32]  # (n_frames, n_dims)

INDEX = "index.parquet"  # the table beside the shards
CLIPS, N_FRAMES = "clips", "n_frames"  # arrays of a feature shard that are no feature


@dataclass(frozen=True)
class Shard:
    """A file of arrays, there or yet to be made.

    Attributes:
        stem: what is in it, for people: `<corpus>_<speaker>_<chunk>`.
        n_clips: how many.
        fingerprint: of everything that makes the content.
        make: computes the content, in any process.
        reads: the files it does so from.
    """

    stem: str
    n_clips: int
    fingerprint: str
    make: Callable[[], dict[str, NDArray]]
    reads: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """File name."""
        return f"{self.stem}.{self.fingerprint}.npz"


def chunks(clips: pd.DataFrame, size: int, tag: str = "") -> Iterator[tuple[str, pd.DataFrame]]:
    """Yields `<corpus>_<speaker><tag>_<chunk>` and at most `size` rows of one speaker, all in sorted order.

    Args:
        clips: columns clip and speaker, and what else the shard is made of.
    """
    for speaker, rows in clips.sort_values("clip").groupby("speaker"):
        for chunk, start in enumerate(range(0, len(rows), size)):
            stem = f"{str(speaker).replace('/', '_')}{tag}_{chunk:03d}"
            yield stem, rows.iloc[start : start + size]


def recipe(sources: Sequence[Path], **settings: Any) -> str:
    """Returns the fingerprint of how shards are made: settings, code and versions of libraries.

    Args:
        sources: files that make the content, with all they import.
        settings: as JSON can hold them.
    """
    return fingerprint(code.made_by(sources), settings)


def read(path: Path, names: Sequence[str]) -> dict[str, NDArray]:
    """Returns the named arrays of one shard; the others are not read.

    Raises:
        InputError: the shard is missing, damaged or lacks an array.
    """
    try:
        with npz.zipped(path) as stored:
            lacking = [name for name in names if name not in stored.files]
            if lacking:
                features = ", ".join(sorted({*stored.files} - {CLIPS, N_FRAMES}))
                raise InputError(
                    f"{path}: stores {features}, but '{lacking[0]}' is asked for. Add it to "
                    "params.featurize.features and run `dvc repro`."
                )
            return {name: stored[name] for name in names}
    except FileNotFoundError as error:
        raise InputError(f"{path}: missing. `dvc repro` makes it again.") from error
    except npz.UNREADABLE as error:
        raise InputError(f"{path}: damaged ({error}). Delete it and run `dvc repro` again.") from error


def split(rows: NDArray, lengths: NDArray[np.int64]) -> list[NDArray]:
    """Returns the clips' parts of `rows` as views, clip i being `lengths[i]` rows long."""
    return np.split(rows, np.cumsum(lengths)[:-1])


def read_features(index: pd.DataFrame, names: Sequence[str], folder: Path) -> dict[str, Frames]:
    """Returns the features of each clip, float32 (n_frames, summed n_dims of `names` in their order).

    Each shard is read once, and of it only the named features.

    Args:
        index: columns clip and shard.
        names: entries of stages/features.
        folder: of the shards.

    Raises:
        InputError: a feature is not stored, or a shard is missing or damaged.
    """
    features: dict[str, Frames] = {}
    for shard, rows in index.groupby("shard"):
        stored = read(folder / str(shard), [*names, N_FRAMES, CLIPS])
        fault = _fault(stored, names, rows["clip"])
        if fault:
            raise InputError(
                f"{folder / str(shard)}: {fault}, so featurize did not write it like that. Delete it and run "
                "`dvc repro` again."
            )
        frames = np.concatenate([stored[name] for name in names], axis=1)
        parts = dict(zip(stored[CLIPS].tolist(), split(frames, stored[N_FRAMES]), strict=True))
        features |= {clip: parts[clip] for clip in rows["clip"]}
    return features


def _fault(stored: dict[str, NDArray], names: Sequence[str], clips: pd.Series) -> str:
    """Returns what is wrong with a shard of features, nothing where all is well."""
    lengths, listed = stored[N_FRAMES], stored[CLIPS]
    if listed.dtype.kind != "U" or lengths.dtype != np.int64 or listed.ndim != 1 or lengths.ndim != 1:
        return f"its {CLIPS} and {N_FRAMES} are not names and numbers"
    if len(listed) != len(lengths) or len(set(listed.tolist())) != len(listed) or (lengths < 1).any():
        return f"its {CLIPS} and {N_FRAMES} do not belong together"
    lacking = clips[~clips.isin(listed.tolist())]
    if len(lacking):
        return f"it has no '{lacking.iloc[0]}', which {INDEX} says it holds"
    for name in names:
        frames = stored[name]
        if frames.dtype != np.float32 or frames.ndim != 2 or len(frames) != lengths.sum():
            return f"its '{name}' is not float32 ({lengths.sum()}, n_dims)"
        if not np.isfinite(frames).all():
            return f"its '{name}' has values that are no finite number"
    return ""
