"""Arrays of many clips in files of bounded size, computed only where they are missing.

A shard's name ends in the fingerprint of all that makes its content: clips, parameters, source code. So a
folder of shards may be kept between runs (`persist: true`) and is a function of the inputs alone all the
same: a name that is there is up to date, and one that nobody asks for is stale. The versions of libraries
are not in it: delete the folder after an upgrade that matters.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from stages.core import engine, registry
from stages.core.engine import Task
from stages.core.errors import InputError
from stages.core.files import fingerprint, replacing, sha256
from stages.core.params import Compute

Frames = NDArray[np.float32]  # (n_frames, n_dims)

INDEX = "index.parquet"  # the table beside the shards
CLIPS, N_FRAMES = "clips", "n_frames"  # arrays of a feature shard that are no feature
N_NAMED = 5  # shards named in the log


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


def recipe(sources: Sequence[str], **settings: Any) -> str:
    """Returns the fingerprint of how shards are made: the settings, and the code that obeys them.

    Args:
        sources: files below `stages/`.
        settings: as JSON can hold them.
    """
    code = {source: sha256(registry.STAGES / source) for source in sources}
    return fingerprint(code, settings)


def fill(folder: Path, shards: Sequence[Shard], compute: Compute, stage: str) -> None:
    """Makes `folder` hold these shards and no others, computing only those that are missing.

    Every shard is written whole or not at all, so an interrupted run is continued by the next one. The
    bytes do not depend on `compute`: each shard is computed with one thread.

    Args:
        folder: theirs alone, but for the index.
        shards: all that it shall hold.
        compute: by whom the missing ones are computed.
        stage: name for the log.

    Raises:
        InputError: workers were killed, or there is no such cluster.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {shard.name for shard in shards}
    present = {path.name for path in folder.iterdir() if path.is_file()}
    for name in sorted(present - wanted - {INDEX}):
        (folder / name).unlink()
    missing = [shard for shard in shards if shard.name not in present]
    if missing:
        tasks = [Task(s.stem, partial(_write, s, folder), 1, s.reads, folder / s.name) for s in missing]
        written = engine.run(tasks, compute, stage)
        for _ in tqdm(written, total=len(missing), desc=stage, unit="shard", leave=False):
            pass
    print(f"{stage}: {len(shards)} shards, {len(shards) - len(missing)} kept, {_listed(missing)}")


def _write(shard: Shard, folder: Path) -> None:
    arrays = shard.make()
    with replacing(folder / shard.name) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _listed(computed: Sequence[Shard]) -> str:
    """Returns `2 computed (ravdess_01_000: 60 clips, ravdess_02_000: 60 clips)`."""
    names = [f"{shard.stem}: {shard.n_clips} clips" for shard in computed[:N_NAMED]]
    if len(computed) > N_NAMED:
        names.append(f"and {len(computed) - N_NAMED} more")
    return f"{len(computed)} computed" + (f" ({', '.join(names)})" if names else "")


def read(path: Path, names: Sequence[str]) -> dict[str, NDArray]:
    """Returns the named arrays of one shard; the others are not read.

    Raises:
        InputError: the shard is missing, damaged or lacks an array.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
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
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
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
        frames = np.concatenate([stored[name] for name in names], axis=1)
        parts = dict(zip(stored[CLIPS].tolist(), split(frames, stored[N_FRAMES]), strict=True))
        features |= {clip: parts[clip] for clip in rows["clip"]}
    return features
