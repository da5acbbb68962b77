"""Trainer of Keras networks: an explicit epoch loop that validation steers and an interrupt cannot spoil.

After every epoch the whole state (weights, optimizer, dropout's generators, patience counters, learning
curve) is written to one file. A run that was killed reads it and goes on to the same final weights, to
the bit, as one that was not: the order of clips depends on (seed, epoch) alone.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import log_softmax
from sklearn.metrics import recall_score
from sklearn.utils.class_weight import compute_sample_weight
from tqdm import tqdm

from stages.core.errors import InputError
from stages.core.files import replacing
from stages.core.inputs import Part
from stages.core.params import Block, Count, Positive

FILE = "model.weights.h5"
CHECKPOINT = "checkpoint.npz"
HDF5_BYTES = 1 << 20  # more than what the weights' file has beside the weights
PREDICT_BATCH = 64  # clips scored at once; it moves no result, only memory

# An epoch has to be better than the best by this much to count as better.
MIN_IMPROVEMENT = 1e-4


class Plateau(Block):
    """Learning rate times `factor` after `patience_epochs` without improvement, down to the minimum."""

    patience_epochs: Count
    factor: Annotated[float, Field(gt=0, lt=1)]
    min_learning_rate: Positive


class Training(Block):
    """How a network is trained.

    Attributes:
        class_weights: `balanced` weighs clips by the inverse frequency of their class.
        monitor: what validation watches, `uar` or `loss`; the epoch best in it gives the weights.
        patience_epochs: early stopping after so many epochs without improvement; null never stops.
    """

    optimizer: Literal["adam", "rmsprop", "sgd"]
    learning_rate: Positive
    clip_norm: Positive | None
    epochs: Count
    batch_size: Count
    class_weights: Literal["none", "balanced"]
    monitor: Literal["uar", "loss"]
    patience_epochs: Count | None
    plateau: Plateau | None
    checkpoint_every_epochs: Count


@dataclass
class Progress:
    """What decides when to slow down and stop, and is worth a checkpoint."""

    epoch: int = 0  # epochs finished
    best: float = -np.inf
    since_best: int = 0
    since_plateau: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)


def fit(
    build: Callable[[], keras.Model],
    config: Any,
    train: Part,
    validation: Part | None,
    folder: Path,
    seed: int,
) -> pd.DataFrame:
    """Trains the network and writes its best epoch's weights to `folder`.

    Args:
        build: makes the network; its output is logits (n_clips, n_classes).
        config: the model's block of params.yaml; `config.training` is used here.
        train: encoded training clips and labels.
        validation: the same of other clips; None trains all epochs and keeps the last.
        folder: where the checkpoint is looked for, and where it and the weights are written.
        seed: of initial weights, dropout and order.

    Returns:
        One row per epoch: epoch, loss, learning_rate, and val_loss and val_uar where there is validation.

    Raises:
        InputError: the loss is infinite or no number.
    """
    training: Training = config.training
    # Keras has no other way to make layers' initial weights and TensorFlow's kernels repeatable; and the
    # weights' file holds layers' names, which count on from fold to fold unless the session is cleared.
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    network = build()
    network.compile(_optimizer(training), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    network.optimizer.build(network.trainable_variables)
    progress, best = _resume(network, folder / CHECKPOINT)
    weights = compute_sample_weight("balanced" if training.class_weights == "balanced" else None, train.y)
    bar = tqdm(total=training.epochs, initial=progress.epoch, unit="epoch", desc=folder.name, leave=False)
    while progress.epoch < training.epochs and not _patience_over(progress, training):
        row = _epoch(network, train, weights, training.batch_size, seed, progress.epoch)
        row |= _validate(network, validation)
        if not np.isfinite([*row.values()]).all():
            raise InputError(
                f"{folder.name}: training diverged, the loss of epoch {progress.epoch + 1} is not finite. "
                "Lower `training.learning_rate` or `training.clip_norm` in the model's block of params.yaml."
            )
        if _improved(network, progress, row, training):
            best = [np.array(value) for value in network.get_weights()]
        progress.curve.append(row)
        progress.epoch += 1
        if progress.epoch % training.checkpoint_every_epochs == 0:
            _checkpoint(network, progress, best, folder / CHECKPOINT)
        bar.set_postfix({key: f"{value:.3f}" for key, value in row.items() if key != "epoch"})
        bar.update()
    bar.close()
    network.set_weights(best)
    _save_weights(network, folder / FILE)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return pd.DataFrame(progress.curve)


def scores(
    build: Callable[[], keras.Model], config: Any, folder: Path, x: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Returns the logits, float64 (n_clips, n_classes), of the weights in `folder`."""
    return _logits(_load(build, folder), x)


def n_parameters(build: Callable[[], keras.Model], folder: Path) -> int:
    """Returns the number of weights."""
    return int(build().count_params())


def _save_weights(network: keras.Model, path: Path) -> None:
    # A disk that is full while HDF5 writes can crash the process, so it is asked first.
    needed = sum(weight.nbytes for weight in network.get_weights()) + HDF5_BYTES
    if shutil.disk_usage(path.parent).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    try:
        network.save_weights(path)
    except (OSError, RuntimeError) as error:
        if number := re.search(r"errno = (\d+)", str(error)):  # HDF5 tells the system's reason in words alone
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
        raise


def _load(build: Callable[[], keras.Model], folder: Path) -> keras.Model:
    network = build()
    try:
        network.load_weights(folder / FILE)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder / FILE}: no weights of this network ({' '.join(str(error).split())[:200]}). "
            "Run `dvc repro train`."
        ) from error
    return network


def _optimizer(training: Training) -> keras.optimizers.Optimizer:
    classes = {
        "adam": keras.optimizers.Adam,
        "rmsprop": keras.optimizers.RMSprop,
        "sgd": keras.optimizers.SGD,
    }
    return classes[training.optimizer](training.learning_rate, clipnorm=training.clip_norm)


def _epoch(
    network: keras.Model,
    train: Part,
    weights: NDArray[np.float64],
    batch_size: int,
    seed: int,
    epoch: int,
) -> dict[str, float]:
    order = np.random.default_rng((seed, epoch)).permutation(len(train.y))
    total = 0.0
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        loss = network.train_on_batch(train.x[batch], train.y[batch], sample_weight=weights[batch])
        network.reset_metrics()
        total += float(loss) * len(batch)
    rate = float(keras.ops.convert_to_numpy(network.optimizer.learning_rate))
    return {"epoch": epoch, "loss": total / len(order), "learning_rate": rate}


def _validate(network: keras.Model, validation: Part | None) -> dict[str, float]:
    if validation is None:
        return {}
    logits = _logits(network, validation.x)
    loss = -log_softmax(logits, axis=1)[np.arange(len(validation.y)), validation.y].mean()
    present = np.unique(validation.y)
    uar = recall_score(validation.y, logits.argmax(axis=1), labels=present, average="macro")
    return {"val_loss": float(loss), "val_uar": float(uar)}


def _logits(network: keras.Model, x: NDArray[np.float32]) -> NDArray[np.float64]:
    parts = [network.predict_on_batch(x[at : at + PREDICT_BATCH]) for at in range(0, len(x), PREDICT_BATCH)]
    return np.concatenate(parts).astype(np.float64)


def _improved(network: keras.Model, progress: Progress, row: dict[str, float], training: Training) -> bool:
    """Moves the patience counters and the learning rate. Returns whether this epoch is the best so far."""
    if "val_loss" not in row:
        return True
    value = row["val_uar"] if training.monitor == "uar" else -row["val_loss"]
    if value > progress.best + MIN_IMPROVEMENT:
        progress.best = value
        progress.since_best = progress.since_plateau = 0
        return True
    progress.since_best += 1
    progress.since_plateau += 1
    plateau = training.plateau
    if plateau is not None and progress.since_plateau >= plateau.patience_epochs:
        network.optimizer.learning_rate = max(
            row["learning_rate"] * plateau.factor, plateau.min_learning_rate
        )
        progress.since_plateau = 0
    return False


def _patience_over(progress: Progress, training: Training) -> bool:
    return training.patience_epochs is not None and progress.since_best >= training.patience_epochs


def _state(network: keras.Model) -> list[keras.Variable]:
    # `variables` holds dropout's seed generators too, which `weights` leaves out.
    return [*network.variables, *network.optimizer.variables]


def _checkpoint(network: keras.Model, progress: Progress, best: list[NDArray[Any]], path: Path) -> None:
    arrays: dict[str, Any] = {f"best_{i}": value for i, value in enumerate(best)}
    arrays |= {f"state_{i}": np.array(variable) for i, variable in enumerate(_state(network))}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, progress=json.dumps(asdict(progress)), **arrays)


def _resume(network: keras.Model, path: Path) -> tuple[Progress, list[NDArray[Any]]]:
    """Returns progress and best weights, from the checkpoint (which also sets `network`) or fresh."""
    if not path.is_file():
        return Progress(), network.get_weights()
    with np.load(path, allow_pickle=False) as file:
        for i, variable in enumerate(_state(network)):
            variable.assign(file[f"state_{i}"])
        best = [file[f"best_{i}"] for i in range(len(network.weights))]
        progress = Progress(**json.loads(str(file["progress"])))
    tqdm.write(f"train: {path.parent.name} goes on after epoch {progress.epoch}")
    return progress, best
