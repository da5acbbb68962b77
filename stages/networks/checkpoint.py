"""The state of an unfinished training of a network, in one npz file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.base import npz
from stages.base.errors import InputError

FILE = "checkpoint.npz"


@dataclass
class Progress:
    """How far a training has come, and the counters for early stopping and the learning rate."""

    epoch: int = 0  # epochs finished
    best: float = -np.inf
    since_best: int = 0
    since_plateau: int = 0
    seconds: float = 0.0  # of the finished epochs
    curve: list[dict[str, float]] = field(default_factory=list)


def write(progress: Progress, best: list[NDArray[Any]], state: list[Any], path: Path) -> None:
    """Writes a checkpoint.

    Args:
        progress: epochs, counters and learning curve.
        best: the weights of the best epoch.
        state: the Keras variables that training changes.
    """
    arrays: dict[str, Any] = {f"best_{i}": value for i, value in enumerate(best)}
    arrays |= {f"state_{i}": variable.numpy() for i, variable in enumerate(state)}
    npz.write(path, progress=json.dumps(asdict(progress)), **arrays)


def read_progress(path: Path) -> Progress:
    """Returns the progress in a checkpoint, that of a new training if there is none.

    Raises:
        InputError: the checkpoint is damaged.
    """
    if not path.is_file():
        return Progress()
    with _opened(path) as file:
        return Progress(**json.loads(str(file["progress"])))


def restore(state: list[Any], n_weights: int, path: Path) -> list[NDArray[Any]]:
    """Sets the variables of `state` to a checkpoint's. Returns the `n_weights` weights of the best epoch.

    Raises:
        InputError: the checkpoint is damaged.
    """
    with _opened(path) as file:
        for i, variable in enumerate(state):
            variable.assign(file[f"state_{i}"])
        return [file[f"best_{i}"] for i in range(n_weights)]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with npz.zipped(path) as file:
            yield file
    except (*npz.UNREADABLE, TypeError) as error:
        if isinstance(error, OSError) and error.errno:
            raise  # the disk, not the checkpoint
        raise InputError(
            f"{path}: not a checkpoint written by train ({error}). Delete it to restart the fold."
        ) from error
