"""Splits as a table with a row for each clip and fold, which is easier to build, compare and change."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from stages.base.files import SPLITS
from stages.data import tables
from stages.data.splits import Splits

COLUMNS = ["fold", "role", *(name for name in tables.SPLITS.columns if name != "roles")]


def of_rows(rows: pd.DataFrame) -> Splits:
    """Returns the splits of rows with fold, role, clip and what describes the clip, equal in all folds."""
    clips = rows.drop(columns=["fold", "role"]).drop_duplicates(ignore_index=True)
    roles = rows.pivot_table("role", "fold", "clip", aggfunc="first")[clips["clip"]].fillna("")
    made = Splits.of(clips, roles.to_numpy(object))
    made.clips.attrs = rows.attrs
    return made


def rows_of(splits: Splits) -> pd.DataFrame:
    """Returns a row for each clip and fold: fold, role, clip and what describes the clip."""
    rows = pd.concat(splits, ignore_index=True)
    rows.attrs = splits.clips.attrs
    return rows


def read(path: Path = SPLITS) -> pd.DataFrame:
    """Returns the rows of the splits at `path`."""
    return rows_of(Splits.read(path))


def write(rows: pd.DataFrame, path: Path = SPLITS) -> None:
    """Writes the splits of `rows`."""
    of_rows(rows).write(path)
