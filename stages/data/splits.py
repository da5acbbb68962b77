"""The splits: which clips train, validate and test in each fold, without a row for each clip and fold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.base.files import SPLITS
from stages.data import tables
from stages.data.tables import LEFT_OUT, ROLES

Roles = NDArray[np.object_]  # (n_clips,) of "train", "validation", "test" or ""


class Splits:
    """Clips with their role in each fold; `fold` makes the rows of one fold at a time.

    A clip's `roles` are written as `train*3 test*1 out*2`: for how many folds in succession it has a role, or
    is left out. So the table grows with the number of clips times that of changes of role: at most two for
    each fold that tests a clip, and in `leave_one_speaker_out` about four, however many speakers there are.

    Attributes:
        clips: of schema SPLITS, or some of its columns, `clip` and `roles` among them; its `attrs` are what
            it was made with.
        n_folds: the number of folds, which are numbered from 0.
    """

    def __init__(self, clips: pd.DataFrame) -> None:
        self.clips = clips.reset_index(drop=True)
        self._at, different = pd.factorize(self.clips["roles"])  # most clips share their roles with others
        runs = pd.Series(different, dtype=str).str.extractall(r"(?P<role>[a-z]+)\*(?P<n_folds>\d+)")
        n_folds = runs["n_folds"].astype(int)
        self._role = runs["role"].to_numpy(object)
        self._end = n_folds.groupby(level=0).cumsum().to_numpy()  # the fold after a run
        self._start = self._end - n_folds.to_numpy()
        self.n_folds = int(self._end.max(initial=0))

    @classmethod
    def of(cls, clips: pd.DataFrame, folds: Iterable[Roles]) -> Splits:
        """Returns the splits of `clips`, given their roles in each fold; clips without any are left out.

        >>> clips = pd.DataFrame({"clip": ["a", "b", "c"]})
        >>> folds = np.array([["train", "", ""], ["train", "test", ""], ["test", "train", ""]], object)
        >>> Splits.of(clips, folds).clips["roles"].tolist()
        ['train*2 test*1', 'out*1 test*1 train*1']
        """
        text, since = np.full(len(clips), "", object), np.zeros(len(clips), int)
        before: Roles | None = None
        for number, now in enumerate(chain(folds, [np.full(len(clips), None, object)])):  # None ends all runs
            if before is not None:
                ends = now != before
                ended = zip(before[ends], number - since[ends], strict=True)
                text[ends] += [f" {role or LEFT_OUT}*{n}" for role, n in ended]
                since[ends] = number
            before = now
        table = clips.assign(roles=pd.Series(text, clips.index, dtype=str).str.strip())
        return cls(table[~table["roles"].str.fullmatch(rf"{LEFT_OUT}\*\d+")])

    @classmethod
    def read(cls, path: Path = SPLITS, columns: list[str] | None = None) -> Splits:
        """Returns the splits at `path`, or only the `columns` of their clips.

        Raises:
            InputError: as `tables.read`.
        """
        return cls(tables.read(path, tables.SPLITS, columns))

    def write(self, path: Path = SPLITS) -> None:
        """Writes the splits; `read` returns them again."""
        tables.write(self.clips, tables.SPLITS, path)

    def fold(self, number: int, *roles: str) -> pd.DataFrame:
        """Returns a fold's rows: fold, role and the columns of `clips`; only those with one of `roles`.

        >>> splits = Splits(pd.DataFrame({"clip": ["a", "b"], "roles": ["train*1 test*1", "test*1 out*1"]}))
        >>> splits.fold(0, "test")
           fold  role clip
        1     0  test    b
        """
        role = self._role[(self._start <= number) & (number < self._end)][self._at]
        chosen = np.isin(role, roles or ROLES)
        rows = self.clips[chosen].drop(columns="roles")
        rows.insert(0, "fold", number)
        rows.insert(1, "role", role[chosen].astype(str))
        return rows

    @cached_property
    def counts(self) -> pd.Series:
        """The number of clips by fold, role and label, where there is one."""
        return pd.concat([rows[["fold", "role", "label"]].value_counts(sort=False) for rows in self])

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Yields the rows of each fold."""
        return map(self.fold, range(self.n_folds))
