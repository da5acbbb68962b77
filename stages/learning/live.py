"""How far training is: the learning curves of all folds, rewritten after each epoch, and a progress bar.

Plots that watch the file follow training. The bar reads the curves too, because folds may be trained in
several processes.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from stages.base.errors import InputError, one_line
from stages.base.files import METRICS, replacing, write
from stages.learning.record import RECORD

CURVE = "curve.csv"  # of one training
COLUMNS = ["fold", "seed", "epoch", "loss", "val_loss", "val_uar", "learning_rate"]
HISTORY = METRICS / "history.csv"  # COLUMNS of all trainings, and FINISHED
FINISHED = "finished"  # 1 or 0: whether the training is, so that its curve counts in means
SIGNAL = Path(".dvc", "tmp", "exps", "run", "DVCLIVE_STEP_COMPLETED")

INTERVAL_S = 1.0  # between two looks at the curves
BAR = "train: {percentage:3.0f}%|{bar}| {desc} [{elapsed}, {remaining} left]{postfix}"

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
    curves = [
        _read(folder / CURVE).assign(**{FINISHED: int((folder / RECORD).is_file())}) for folder in folders
    ]
    with replacing(HISTORY) as temporary:
        pd.concat(curves).to_csv(temporary, index=False, float_format="%.6g")


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except ValueError as error:  # pandas' own errors are some
        raise InputError(f"{path}: damaged ({one_line(error)}). Delete its folder.") from error


def signal(epoch: int) -> None:
    """Writes the file by which DVCLive says that an epoch is finished; does nothing outside of DVC.

    VS Code's extension then reads the plots again, also those of an experiment that runs in a folder of its
    own. Studio does not: it gets live plots from DVCLive over HTTP.
    """
    if root := os.environ.get("DVC_ROOT"):
        write(json.dumps({"pid": os.getpid(), "step": epoch}), Path(root) / SIGNAL)


@contextmanager
def progress(folders: Sequence[Path], epochs: int | None) -> Iterator[None]:
    """Shows a bar of all trainings: how many are finished, the time left, and the last epoch of any of them.

    Early stopping makes the end come sooner than the bar says.

    Args:
        folders: of the trainings.
        epochs: that each may take; None counts finished trainings only.
    """
    ended = threading.Event()

    def fractions() -> list[float]:
        return [fraction(folder, epochs) for folder in folders]

    def finished(fractions: list[float]) -> str:
        return f"{fractions.count(1)} of {len(fractions)}"

    first = fractions()
    bar = tqdm(total=len(folders), initial=sum(first), desc=finished(first), bar_format=BAR, leave=False)

    def watch() -> None:
        while not ended.wait(INTERVAL_S):
            now = fractions()
            if sum(now) != bar.n:
                bar.n = sum(now)
                bar.set_description_str(finished(now), refresh=False)
                bar.set_postfix_str(_last_epoch(folders))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        bar.close()


def fraction(folder: Path, epochs: int | None) -> float:
    """Returns which fraction of a training is done, from 0 to 1."""
    if (folder / RECORD).is_file():
        return 1.0
    path = folder / CURVE
    if epochs is None or not path.is_file():
        return 0.0
    n_lines = len(path.read_bytes().splitlines())
    return max(0, n_lines - 1) / epochs  # without the line of the columns' names


def _last_epoch(folders: Sequence[Path]) -> str:
    """Returns `fold_02: epoch 12, loss 1.234, val_uar 0.456` of the training that last finished an epoch."""
    paths = [path for path in (folder / CURVE for folder in folders) if path.is_file()]
    if not paths:
        return ""
    newest = max(paths, key=lambda path: path.stat().st_mtime_ns)
    curve = _read(newest)
    if curve.empty:
        return ""
    row = curve.iloc[-1]
    scores = [f"{name} {row[name]:.3f}" for name in ("loss", "val_uar") if pd.notna(row[name])]
    return ", ".join([f"{newest.parent.name}: epoch {int(row['epoch']) + 1}", *scores])
