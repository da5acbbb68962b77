"""Trainer of Keras networks: an explicit epoch loop that validation steers and an interrupt cannot spoil.

After every `checkpoint_every_epochs` epochs the whole state (weights, optimizer, dropout's generators,
patience counters, learning curve) is written to one file. A run that was killed reads it and goes on to the
same final weights, to the bit, as one that was not: the order of clips depends on (seed, epoch) alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.metrics import recall_score
from sklearn.utils.class_weight import compute_sample_weight
from tqdm import tqdm

from stages.base import npz
from stages.base.errors import InputError
from stages.base.files import replacing
from stages.learning.preprocessing import Partition
from stages.networks import precision, weights
from stages.networks.training import FrameTraining, ImageTraining, Training
from stages.networks.weights import FILE, Build

__all__ = ["FrameTraining", "ImageTraining", "Training", "fit", "scores", "started_from"]

CHECKPOINT = "checkpoint.npz"
PREDICT_BATCH = 64  # clips scored at once; it moves no result, only memory

# An epoch has to be better than the best by this much to count as better.
MIN_IMPROVEMENT = 1e-4


@dataclass
class Progress:
    """What decides when to slow down and stop, and is worth a checkpoint."""

    epoch: int = 0  # epochs finished
    best: float = -np.inf
    since_best: int = 0
    since_plateau: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)


class Learner:
    """A network in training.

    Attributes:
        network: what is stored and applied.
        pixels: side of the images it is fed, None for what comes as it is.
        optimizer: with a state for every trained variable.
        state: all that training changes.
    """

    def __init__(self, network: keras.Model, training: Training, pixels: int | None) -> None:
        """Takes a fresh network."""
        self.network, self.pixels = network, pixels
        shape = network.input_shape[1:]
        before = training.layers()
        trained = keras.Sequential([keras.Input(shape), *before, network]) if before else network
        self.optimizer = _optimizer(training)
        self.optimizer.build(trained.trainable_variables)
        # `variables` holds the generators of random layers, which `weights` leaves out.
        self.state = [*trained.variables, *self.optimizer.variables]
        criterion = keras.losses.CategoricalCrossentropy(from_logits=True)
        x, y, weight = (
            tf.TensorSpec((None, *axes), tf.float32) for axes in (shape, network.output_shape[1:], ())
        )

        # Keras's own functions are traced anew, and differently, for whatever shapes come first: after a kill
        # the last bits would be others.
        @tf.function(input_signature=[x, y, weight])  # type: ignore[untyped-decorator]
        def step(x: tf.Tensor, y: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                logits = trained(x, training=True)
                loss = tf.add_n([criterion(y, logits, sample_weight=weight), *trained.losses])
            gradients = tape.gradient(loss, trained.trainable_variables)
            self.optimizer.apply(gradients, trained.trainable_variables)
            return loss

        self.step = step
        self.apply = _application(network)


def fit(
    build: Build, config: Any, train: Partition, validation: Partition | None, folder: Path, seed: int
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Trains the network and writes its best epoch's weights to `folder`.

    Args:
        build: makes the network of (input_shape, n_classes); its output is logits (n_clips, n_classes).
        config: the model's block of params.yaml; `config.training` is used here.
        train: encoded training clips and labels.
        validation: the same of other clips; None trains all epochs and keeps the last.
        folder: where the checkpoint is looked for, and where it and the weights are written.
        seed: of initial weights, dropout, order and what is altered.

    Returns:
        One row per epoch: epoch, loss, learning_rate, and val_loss and val_uar where there is validation.
        What else is worth noting: `n_parameters` and `precision`.

    Raises:
        InputError: the loss is infinite or no number, or there are no fit weights to start from.
    """
    training: Training = config.training
    progress = _finished(folder / CHECKPOINT)
    learner = learner_of(build, training, train, max(progress.epoch - 1, 0), seed)
    if progress.epoch:
        best = _resume(learner, folder / CHECKPOINT)
        tqdm.write(f"train: {folder.name} goes on after epoch {progress.epoch}")
    else:
        if training.init_from is not None:
            weights.start(learner.network, training.init_from, build, train.classes)
        best = learner.network.get_weights()
    bar = tqdm(total=training.epochs, initial=progress.epoch, unit="epoch", desc=folder.name, leave=False)
    while progress.epoch < training.epochs and not _patience_over(progress, training):
        if training.pixels(progress.epoch) != learner.pixels:
            learner = _resized(learner, learner_of(build, training, train, progress.epoch, seed))
            progress.best, progress.since_best, progress.since_plateau = -np.inf, 0, 0
        row = train_epoch(learner, training, train, seed, progress.epoch)
        row |= _validate(learner, training, validation)
        if not np.isfinite([*row.values()]).all():
            raise InputError(
                f"{folder.name}: training diverged, the loss of epoch {progress.epoch + 1} is not finite. "
                "Lower `training.learning_rate` or `training.clip_norm` in the model's block of params.yaml."
            )
        if _improved(learner, progress, row, training):
            best = [np.array(value) for value in learner.network.get_weights()]
        progress.curve.append(row)
        progress.epoch += 1
        if progress.epoch % training.checkpoint_every_epochs == 0:
            _checkpoint(learner, progress, best, folder / CHECKPOINT)
        bar.set_postfix({key: f"{value:.3f}" for key, value in row.items() if key != "epoch"})
        bar.update()
    bar.close()
    learner.network.set_weights(best)
    weights.save(learner.network, folder / FILE)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    n_parameters = int(learner.network.count_params())
    facts = {"n_parameters": n_parameters, "precision": precision.resolved(training.precision)}
    return pd.DataFrame(progress.curve), facts


def scores(
    build: Build, config: Any, folder: Path, x: NDArray[np.float32], n_classes: int
) -> NDArray[np.float64]:
    """Returns the logits, float64 (n_clips, n_classes), of the weights in `folder`, computed in float32.

    Raises:
        InputError: there are no weights, or they are of another network.
    """
    training: Training = config.training
    network = build(training.input_shape(x.shape[1:], training.epochs), n_classes)
    weights.load(network, folder / FILE, "Run `dvc repro train`.")
    return _logits(_application(network), training, x, training.pixels(training.epochs))


def started_from(config: Any) -> str | None:
    """Returns the folder in data/pretrained that training starts from, None where it starts at random."""
    training: Training = config.training
    return training.init_from


def learner_of(build: Build, training: Training, train: Partition, epoch: int, seed: int) -> Learner:
    """Returns a fresh network for the images of an epoch, with fresh optimizer and random layers."""
    # Keras has no other way to make layers' initial weights and TensorFlow's kernels repeatable; and the
    # weights' file holds layers' names, which count on from fold to fold unless the session is cleared.
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    shape = training.input_shape(train.x.shape[1:], epoch)
    keras.config.set_dtype_policy(precision.policy(training.precision))
    try:
        network = build(shape, len(train.classes))
    finally:
        keras.config.set_dtype_policy("float32")
    return Learner(network, training, training.pixels(epoch))


def _resized(old: Learner, new: Learner) -> Learner:
    """Returns `new`, which goes on from where `old` is."""
    for value, carried in zip(new.state, old.state, strict=True):
        value.assign(carried)
    return new


def _optimizer(training: Training) -> keras.optimizers.Optimizer:
    classes = {
        "adam": keras.optimizers.Adam,
        "rmsprop": keras.optimizers.RMSprop,
        "sgd": keras.optimizers.SGD,
    }
    return classes[training.optimizer](training.learning_rate, clipnorm=training.clip_norm)


def train_epoch(
    learner: Learner, training: Training, train: Partition, seed: int, epoch: int
) -> dict[str, float]:
    """Trains one epoch. What is drawn depends on seed and epoch alone, so a resumed run draws the same."""
    total = 0.0
    for x, y, weight in _batches(training, train, learner.pixels, np.random.default_rng((seed, epoch))):
        total += float(learner.step(x, y, weight)) * len(y)
    rate = float(keras.ops.convert_to_numpy(learner.optimizer.learning_rate))
    learner.optimizer.learning_rate = rate * training.learning_rate_decay
    return {"epoch": epoch, "loss": total / len(train.y), "learning_rate": rate}


def _batches(
    training: Training, train: Partition, pixels: int | None, rng: np.random.Generator
) -> Iterator[tuple[Any, NDArray[np.float32], NDArray[np.float64]]]:
    """Yields clips, their classes' shares (n_clips, n_classes) and their weights, in an order drawn anew."""
    weight = compute_sample_weight("balanced" if training.class_weights == "balanced" else None, train.y)
    target = np.eye(len(train.classes), dtype=np.float32)[train.y]
    # The shortest first: a batch is padded to its longest clip's bucket, and all but one are full.
    buckets = [(steps, rng.permutation(clips)) for steps, clips in training.buckets(train.x)]
    order = np.concatenate([clips for _, clips in buckets])
    read = [steps for steps, clips in buckets for _ in clips]
    starts = range(0, len(order), training.batch_size)
    for number in rng.permutation(len(starts)):
        here = slice(starts[number], starts[number] + training.batch_size)
        batch = order[here]
        x, y = training.altered(train.x[batch, read[here][-1]], target[batch], rng)
        yield _sized(x, pixels), y, weight[batch]


def _sized(x: Any, pixels: int | None) -> Any:
    """Returns images scaled to squares, float32 (n_clips, pixels, pixels, n_channels), or as they are."""
    if pixels is None:
        return x
    return tf.image.resize(x, (pixels, pixels), antialias=True)


def _validate(learner: Learner, training: Training, validation: Partition | None) -> dict[str, float]:
    if validation is None:
        return {}
    logits = _logits(learner.apply, training, validation.x, learner.pixels)
    loss = -log_softmax(logits, axis=1)[np.arange(len(validation.y)), validation.y].mean()
    present = np.unique(validation.y)
    uar = recall_score(validation.y, logits.argmax(axis=1), labels=present, average="macro")
    return {"val_loss": float(loss), "val_uar": float(uar)}


def _application(network: keras.Model) -> Callable[[Any], tf.Tensor]:
    """Returns the function from a batch of any length to its logits."""
    signature = [tf.TensorSpec((None, *network.input_shape[1:]), tf.float32)]
    compiled: Callable[[Any], tf.Tensor] = tf.function(
        lambda batch: network(batch, training=False), input_signature=signature
    )
    return compiled


def _logits(
    apply: Callable[[Any], tf.Tensor], training: Training, x: NDArray[np.float32], pixels: int | None
) -> NDArray[np.float64]:
    scored, logits = [], []
    for steps, clips in training.buckets(x):
        for at in range(0, len(clips), PREDICT_BATCH):
            batch = clips[at : at + PREDICT_BATCH]
            scored.append(batch)
            logits.append(apply(_sized(x[batch, steps], pixels)))
    return np.concatenate(logits)[np.argsort(np.concatenate(scored))].astype(np.float64)


def _improved(learner: Learner, progress: Progress, row: dict[str, float], training: Training) -> bool:
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
        rate = row["learning_rate"] * training.learning_rate_decay * plateau.factor
        learner.optimizer.learning_rate = max(rate, plateau.min_learning_rate)
        progress.since_plateau = 0
    return False


def _patience_over(progress: Progress, training: Training) -> bool:
    """Returns whether training stops early, which it does not before images have their last size."""
    if training.patience_epochs is None or progress.since_best < training.patience_epochs:
        return False
    return training.pixels(progress.epoch) == training.pixels(training.epochs)


def _checkpoint(learner: Learner, progress: Progress, best: list[NDArray[Any]], path: Path) -> None:
    arrays: dict[str, Any] = {f"best_{i}": value for i, value in enumerate(best)}
    arrays |= {f"state_{i}": variable.numpy() for i, variable in enumerate(learner.state)}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, progress=json.dumps(asdict(progress)), **arrays)


@contextmanager
def _intact(path: Path) -> Iterator[Any]:
    """Yields the open checkpoint.

    Raises:
        InputError: it is damaged.
    """
    try:
        with npz.zipped(path) as file:
            yield file
    except (*npz.UNREADABLE, TypeError) as error:
        raise InputError(
            f"{path}: no checkpoint that train wrote ({error}). Delete it to train the fold from its start."
        ) from error


def _finished(path: Path) -> Progress:
    """Returns the progress that the checkpoint tells of, or a fresh one."""
    if not path.is_file():
        return Progress()
    with _intact(path) as file:
        return Progress(**json.loads(str(file["progress"])))


def _resume(learner: Learner, path: Path) -> list[NDArray[Any]]:
    """Brings `learner` to the checkpoint's state. Returns the best weights so far."""
    with _intact(path) as file:
        for i, variable in enumerate(learner.state):
            variable.assign(file[f"state_{i}"])
        return [file[f"best_{i}"] for i in range(len(learner.network.weights))]
