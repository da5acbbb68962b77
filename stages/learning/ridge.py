"""Ridge regression on the classes in closed form, stored as one matrix in an npz file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import recall_score

from stages.base import npz
from stages.base.errors import InputError
from stages.learning.live import Follow, ignore
from stages.learning.preprocessing import Clips, Partition
from stages.learning.trainer import Model

N_GROUPS = 5  # of clips, where there is one speaker only

Scores = NDArray[np.float64]


class RidgeTrainer:
    """Fits, stores and applies a ridge classifier; it validates by leaving out each training speaker."""

    file = "ridge.npz"
    started_from = None
    epochs = None
    trains_on_validation = True

    def __init__(self, penalties: Sequence[float], *, balanced: bool = False) -> None:
        """Takes the penalties to choose from, and whether each class counts alike."""
        self.penalties, self.balanced = penalties, balanced

    def fit(
        self,
        train: Partition,
        validation: Partition | None,
        folder: Path,
        seed: int,
        follow: Follow = ignore,
    ) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Fits the classifier and writes it to `folder`; it has no epochs to follow.

        Returns:
            An empty learning curve, `n_parameters`, `penalty`, and `held_out`: each recording's scores by a
            fit without its speaker, and the labels. Of a single speaker, clips are held out: the scores are
            too good.
        """
        weights, intercept, found = self._solved(train)
        npz.write(folder / self.file, weights=weights, intercept=intercept)
        return pd.DataFrame(), {"n_parameters": weights.size + intercept.size, **found}

    def learned(self, train: Partition, seed: int, place: str) -> Model:
        """Returns a model fitted on `train`, which is not stored."""
        weights, intercept, _ = self._solved(train)
        return lambda clips: np.asarray(clips.x @ weights + intercept, np.float64)

    def _solved(self, train: Partition) -> tuple[Scores, Scores, dict[str, Any]]:
        """Returns the weights (n_dims, n_classes), the intercept (n_classes,), `penalty` and `held_out`."""
        groups = train.speakers
        if groups is None or len(np.unique(groups)) < 2:
            groups = clip_groups(train.y, np.arange(len(train)) if train.parents is None else train.parents)
        x, n_classes = train.x.astype(np.float64), len(train.classes)
        targets = np.eye(n_classes)[train.y] - 1 / n_classes
        kernel = x @ x.T + 1
        weights = np.ones(len(x))
        if self.balanced:
            weights = len(x) / n_classes / np.bincount(train.y, minlength=n_classes)[train.y]
        found = [held_out(kernel, targets, groups, penalty / weights) for penalty in self.penalties]
        validated = np.ones(len(x), bool) if train.original is None else train.original
        found, labels = [scores[validated] for scores in found], train.y[validated]
        uars = [recall_score(labels, scores.argmax(axis=1), average="macro") for scores in found]
        best = int(np.argmax(uars))
        dual = np.linalg.solve(kernel + np.diag(self.penalties[best] / weights), targets)
        chosen = {"penalty": self.penalties[best], "held_out": (found[best], labels)}
        return x.T @ dual, dual.sum(axis=0), chosen

    def load(self, folder: Path, n_classes: int) -> Model:
        """Returns the model that `fit` wrote to `folder`.

        Raises:
            InputError: there is no model written by train, or it is given other inputs.
        """
        path = folder / self.file
        with npz.written_by_train(path, "a model") as stored:
            weights, intercept = (np.asarray(stored[name], float) for name in ("weights", "intercept"))
            if weights.shape[1:] != (n_classes,) or intercept.shape != (n_classes,):
                raise ValueError(f"weights {weights.shape}, not of {n_classes} classes")

        def scores(clips: Clips) -> Scores:
            if clips.x.shape[1:] != weights.shape[:1]:
                shapes = f"weights {weights.shape}, inputs {clips.x.shape}"
                raise InputError(f"{path}: not a model written by train ({shapes}). Run `dvc repro train`.")
            return np.asarray(clips.x @ weights + intercept, np.float64)

        return scores


def clip_groups(y: NDArray[np.int64], parents: NDArray) -> NDArray[np.int64]:
    """Returns a group for each clip: of each class, N_GROUPS runs of recordings, each with its copies.

    Args:
        y: (n_clips,), class indices.
        parents: (n_clips,), the recording that a clip is, or is a copy of.

    Examples:
        >>> clip_groups(np.array([0, 0, 0, 0, 1, 1]), np.array(["a", "a", "b", "b", "c", "d"]))
        array([0, 0, 2, 2, 0, 2])
    """
    recordings = pd.DataFrame({"parent": parents, "y": y}).drop_duplicates("parent").set_index("parent")["y"]
    of_class = recordings.groupby(recordings)
    group = of_class.cumcount() * N_GROUPS // of_class.transform("size")
    return group.loc[parents].to_numpy()


def held_out(kernel: Scores, targets: Scores, groups: NDArray, penalties: Scores) -> Scores:
    """Returns each row's scores by a ridge regression that was fitted without the row's group.

    Closed form: with A = (K + diag(penalties))^-1, a group's are Y - A_gg^-1 (A Y).

    Args:
        kernel: float64 (n, n), 1 added for the intercept.
        targets: float64 (n, n_classes).
        groups: (n,), the speakers.
        penalties: float64 (n,), positive: the penalty over the row's weight.

    Examples:
        >>> x, y = np.array([[1.0], [2.0], [4.0]]), np.array([[1.0], [2.0], [3.0]])
        >>> scores = held_out(x @ x.T, y, np.array(["a", "b", "b"]), np.ones(3))
        >>> scores[0].round(6)  # (4 + 12) / (20 + 1)
        array([0.761905])
    """
    inverse = np.linalg.inv(kernel + np.diag(penalties))
    dual = inverse @ targets
    out = np.empty_like(targets)
    for group in np.unique(groups):
        own = np.flatnonzero(groups == group)
        out[own] = targets[own] - np.linalg.solve(inverse[np.ix_(own, own)], dual[own])
    return out
