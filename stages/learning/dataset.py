"""One fold's clips, labels and features, with test labels out of training's reach."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from stages.base.errors import InputError
from stages.base.files import FEATURES, SPLITS
from stages.data import shards, tables
from stages.learning.preprocessing import Frames, standardize_speakers

INDEX = FEATURES / shards.INDEX
COLUMNS = ["fold", "role", "clip", "speaker", "audio_sha256", "label"]
DESCRIPTION = ["fold", "role", "clip", "corpus", "speaker", "sex", "sentence", "label"]


def training_rows(splits: pd.DataFrame, index: pd.DataFrame, fold: int, use_augmented: bool) -> pd.DataFrame:
    """Returns one fold's train and validation rows: clip, parent, role, speaker, label, shard, n_frames.

    Augmented copies come in beside their parents in train, and nowhere else.

    Raises:
        InputError: a clip has no features.
    """
    own = splits[splits["fold"] == fold].drop(columns=["speaker", "audio_sha256"])
    _check_stored(own, index)
    rows = index.merge(own, left_on="parent", right_on="clip")
    rows = rows.drop(columns="clip_y").rename(columns={"clip_x": "clip"})
    augmented = rows["clip"] != rows["parent"]
    used = ~augmented | ((rows["role"] == "train") & use_augmented)
    return rows[used].sort_values("clip", ignore_index=True)


def read_training_splits(path: Path = SPLITS) -> pd.DataFrame:
    """Returns the splits' train and validation rows. Test rows, and so their labels, are never read."""
    return tables.read(path, tables.SPLITS, COLUMNS, where=[("role", "in", ["train", "validation"])])


def read_test_recordings(fold: int, path: Path = SPLITS) -> pd.DataFrame:
    """Returns clip, speaker and audio_sha256 of a fold's test rows. Their labels are never read."""
    where = [("role", "==", "test"), ("fold", "==", fold)]
    return tables.read(path, tables.SPLITS, list(tables.TRAINED_ON.columns), where=where)


def load(rows: pd.DataFrame, features: list[str], normalize: str) -> list[Frames]:
    """Returns the features of `rows`, each float32 (n_frames, n_dims), in the rows' order.

    Args:
        rows: columns clip, parent, speaker, shard.
        features: entries of stages/features.
        normalize: `speaker` standardises each speaker by their own clips, `global` leaves that to the
            preprocessor.
    """
    clips = shards.read_features(rows, features, FEATURES)
    if normalize == "speaker":
        clips = standardize_speakers(clips, rows)
    return [clips[clip] for clip in rows["clip"]]


def test_rows(splits: pd.DataFrame, index: pd.DataFrame, fold: int) -> pd.DataFrame:
    """Returns one fold's test rows, originals only: the splits' columns, parent, shard and n_frames.

    Raises:
        InputError: a clip has no features, or the splits have no such fold.
    """
    own = splits[(splits["fold"] == fold) & (splits["role"] == "test")]
    if own.empty:
        raise InputError(f"{SPLITS}: has no test clips of fold {fold}, which was trained. Run `dvc repro`.")
    _check_stored(own, index)
    stored = index[["clip", "parent", "shard", "n_frames"]]
    return own.merge(stored, on="clip").sort_values("clip", ignore_index=True)


def _check_stored(clips: pd.DataFrame, index: pd.DataFrame) -> None:
    """Refuses to leave out clips in silence."""
    lacking = clips.loc[~clips["clip"].isin(index["clip"]), "clip"]
    if len(lacking):
        raise InputError(
            f"{INDEX}: has no features of {len(lacking)} clips that {SPLITS} lists, "
            f"'{lacking.iloc[0]}' first. Run `dvc repro`."
        )
