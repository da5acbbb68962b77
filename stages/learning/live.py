"""The learning curves of all folds, rewritten after each epoch: plots that watch the file follow training."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd

from stages.base.files import METRICS, replacing, write

CURVE = "curve.csv"  # of one training
COLUMNS = ["fold", "seed", "epoch", "loss", "val_loss", "val_uar", "learning_rate"]
HISTORY = METRICS / "history.csv"
SIGNAL = Path(".dvc", "tmp", "exps", "run", "DVCLIVE_STEP_COMPLETED")

Follow = Callable[[pd.DataFrame], None]  # is given the learning curve after each epoch


def ignore(curve: pd.DataFrame) -> None:
    """Follows nothing."""


def follow(curve: pd.DataFrame, fold: int, seed: int, folder: Path) -> None:
    """Writes the learning curve of a training, and those of all trainings so far to metrics/history.csv.

    Args:
        curve: a row per epoch, with columns of COLUMNS; empty for a model without epochs.
        folder: of the training, beside those of the others.
    """
    with replacing(folder / CURVE) as temporary:
        curve.assign(fold=fold, seed=seed).reindex(columns=COLUMNS).to_csv(temporary, index=False)
    show(path.parent for path in sorted(folder.parent.glob(f"*/{CURVE}")))
    if len(curve):
        signal(int(curve["epoch"].iloc[-1]))


def show(folders: Iterable[Path]) -> None:
    """Writes the learning curves of the trainings in these folders to metrics/history.csv."""
    curves = [pd.read_csv(folder / CURVE) for folder in folders]
    with replacing(HISTORY) as temporary:
        pd.concat(curves).to_csv(temporary, index=False, float_format="%.6g")


def signal(epoch: int) -> None:
    """Tells what watches this repository that an epoch is finished, as DVCLive does.

    VS Code's extension and Studio then read the plots again, also those of an experiment that runs in a
    folder of its own. Outside of DVC there is nothing to tell.
    """
    if root := os.environ.get("DVC_ROOT"):
        write(json.dumps({"pid": os.getpid(), "step": epoch}), Path(root) / SIGNAL)
