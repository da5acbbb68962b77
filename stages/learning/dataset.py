"""One fold's clips, labels and features; training has no access to test labels."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from stages.base import npz
from stages.base.errors import InputError
from stages.base.files import FEATURES, SPLITS
from stages.data import shards, tables
from stages.data.splits import Splits
from stages.learning.normalization import standardized
from stages.learning.pooling import FittedPooling, Pooling
from stages.learning.preprocessing import WITHOUT_TIME_AXIS, Frames, Inputs, pool

INDEX = FEATURES / shards.INDEX
POOLED = "pooled.npz"  # of all folds, in the folder of the unfinished work
SEEN = ("train", "validation")  # the roles of clips that training reads
COLUMNS = ["clip", "corpus", "speaker", "audio_sha256", "label", "roles"]
DESCRIPTION = ["fold", "role", "clip", "corpus", "speaker", "sex", "sentence", "audio_sha256", "label"]


def training_rows(own: pd.DataFrame, index: pd.DataFrame, use_augmented: bool) -> pd.DataFrame:
    """Returns a fold's `own` train and validation rows: clip, parent, role, speaker, label, shard, n_frames.

    Augmented copies are added to train only, each together with its parent.

    Raises:
        InputError: a clip has no features.
    """
    _check_stored(own, index)
    own = own.drop(columns=["speaker", "audio_sha256"])
    rows = index.merge(own, left_on="parent", right_on="clip")
    rows = rows.drop(columns="clip_y").rename(columns={"clip_x": "clip"})
    augmented = rows["clip"] != rows["parent"]
    used = ~augmented | ((rows["role"] == "train") & use_augmented)
    return rows[used].sort_values("clip", ignore_index=True)


def read_training_splits(path: Path = SPLITS) -> Splits:
    """Returns the splits of the clips that train or validate in a fold; other labels are never read."""
    roles = tables.read(path, tables.SPLITS, ["clip", "roles"])["roles"]
    used = roles[roles.str.contains("|".join(SEEN))].unique()
    return Splits(tables.read(path, tables.SPLITS, COLUMNS, where=[("roles", "in", used)]))


def seen(splits: Splits, folds: Iterable[int]) -> set[str]:
    """Returns the clips that folds train or validate on."""
    return {clip for fold in folds for clip in splits.fold(fold, *SEEN)["clip"]}


def read_test_recordings(fold: int) -> pd.DataFrame:
    """Returns clip, speaker and audio_sha256 of a fold's test rows. Their labels are never read."""
    recordings = [*tables.TRAINED_ON.columns]
    return Splits.read(SPLITS, [*recordings, "roles"]).fold(fold, "test")[recordings]


def load(rows: pd.DataFrame, features: list[str]) -> list[Frames]:
    """Returns the features of `rows`, each float32 (n_frames, n_dims), in the rows' order.

    Args:
        rows: columns clip and shard.
        features: entries of stages/features.
    """
    clips = shards.read_features(rows, features, FEATURES)
    return [clips[clip] for clip in rows["clip"]]


def load_pooled(rows: pd.DataFrame, inputs: Inputs, normalize: str) -> list[Frames]:
    """Returns the clips of `rows` as `pool` returns them, in the rows' order.

    Only one shard's frames are in memory at a time, unless frames are standardised.

    Args:
        rows: columns clip and shard; see `normalization.standardized` for others.
        normalize: params.train.normalize; without a time axis, `normalization.prepared` does it.
    """
    if normalize != "global" and inputs.layout not in WITHOUT_TIME_AXIS:
        clips = standardized(load(rows, inputs.features), rows, normalize)
        return [pool(frames, inputs.layout, inputs.frames_per_step) for frames in clips]
    return each_pooled(rows, inputs.features, lambda clip: pool(clip, inputs.layout, inputs.frames_per_step))


def each_pooled(rows: pd.DataFrame, features: list[str], pooling: Callable[[Frames], Frames]) -> list[Frames]:
    """Returns what `pooling` makes of each clip of `rows`, in their order; a shard at a time is in memory."""
    pooled = {clip: pooling(frames) for clip, frames in _stored(rows, features)}
    return [pooled[clip] for clip in rows["clip"]]


def _stored(rows: pd.DataFrame, features: list[str]) -> Iterator[tuple[str, Frames]]:
    """Yields each clip of `rows` with its features, shard by shard."""
    for _, of_shard in rows.groupby("shard"):
        yield from shards.read_features(of_shard, features, FEATURES).items()


def fit_pooling(
    rows: pd.DataFrame, inputs: Inputs, config: Pooling, place: str
) -> tuple[FittedPooling, list[Frames]]:
    """Returns the pooling fitted on the rows whose role is train, and all rows' pooled clips, in their order.

    Only one shard's frames are in memory at a time.

    Args:
        rows: columns clip, role and shard.
    """
    train = rows[rows["role"] == "train"]
    fitted = FittedPooling.fit(config, lambda: (clip for _, clip in _stored(train, inputs.features)), place)
    return fitted, each_pooled(rows, inputs.features, fitted)


def store_pooled(
    inputs: Inputs, clips: Collection[str], index: pd.DataFrame, use_augmented: bool, work: Path
) -> Path | None:
    """Pools every clip once, for all folds, and returns the npz file with `clips` and `pooled`.

    `clips` are names, and `pooled` float32 (n_clips, n_dims). Returns None for layouts with a time axis, and
    for `pooled`, which depends on the fold.

    Args:
        clips: that the folds train or validate on.
        index: of all stored features.
        use_augmented: whether copies of the clips are pooled too.
        work: the folder of the unfinished work.
    """
    if inputs.layout not in WITHOUT_TIME_AXIS or inputs.layout == "pooled":
        return None
    path = work / POOLED
    used = index[index["parent"].isin(clips) & (use_augmented | (index["clip"] == index["parent"]))]
    # An interrupted run may have been one of other folds.
    if not path.is_file() or not used["clip"].isin(shards.read(path, ["clips"])["clips"]).all():
        pooled = np.concatenate(load_pooled(used, inputs, "global"))
        npz.write(path, clips=used["clip"].to_numpy(str), pooled=pooled)
    return path


def read_pooled(rows: pd.DataFrame, path: Path) -> list[Frames]:
    """Returns the clips of `rows`, each float32 (1, n_dims), from the file that `store_pooled` wrote."""
    stored = shards.read(path, ["clips", "pooled"])
    at = pd.Series(range(len(stored["clips"])), index=stored["clips"])
    return [stored["pooled"][number : number + 1] for number in at[rows["clip"]]]


def test_rows(splits: Splits, index: pd.DataFrame, fold: int) -> pd.DataFrame:
    """Returns one fold's test rows, originals only: the splits' columns, parent, shard and n_frames.

    Raises:
        InputError: a clip has no features, or the splits have no such fold.
    """
    own = splits.fold(fold, "test")
    if own.empty:
        raise InputError(f"{SPLITS}: has no test clips of fold {fold}, which was trained. Run `dvc repro`.")
    _check_stored(own, index)
    stored = index[["clip", "parent", "shard", "n_frames"]]
    return own.merge(stored, on="clip").sort_values("clip", ignore_index=True)


def _check_stored(clips: pd.DataFrame, index: pd.DataFrame) -> None:
    """Raises InputError when clips have no features, instead of leaving them out silently."""
    missing = clips.loc[~clips["clip"].isin(index["clip"]), "clip"]
    if len(missing):
        raise InputError(
            f"{INDEX}: has no features for {len(missing)} clips of {SPLITS}, "
            f"the first is '{missing.iloc[0]}'. Run `dvc repro`."
        )
