"""Trainer of Keras networks: an epoch loop with early stopping that can be interrupted and resumed.

After every `checkpoint_every_epochs` epochs the whole state (weights, optimizer, dropout's generators,
patience counters, learning curve) is written to one file. An interrupted run continues from it to the same
final weights, bit by bit, as an uninterrupted one: the order of clips depends on (seed, epoch) only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
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

from stages.base.errors import InputError
from stages.base.params import Training
from stages.learning.live import Follow, ignore
from stages.learning.preprocessing import Clips, Partition
from stages.learning.trainer import Model
from stages.networks import checkpoint, precision, weights
from stages.networks.checkpoint import Progress
from stages.networks.weights import FILE, Build

# With two, oneDNN's convolutions sum in an order that varies from run to run.
tf.config.threading.set_inter_op_parallelism_threads(1)

Array = NDArray[np.float32]
Indices = NDArray[np.int64]
Shape = tuple[int | None, ...]

PREDICT_BATCH = 64  # clips scored at once; affects memory only

# The smallest change of the monitored metric that counts as an improvement.
MIN_IMPROVEMENT = 1e-4

OPTIMIZERS = {"adam": keras.optimizers.Adam, "rmsprop": keras.optimizers.RMSprop, "sgd": keras.optimizers.SGD}


class Learner:
    """A network in training.

    Attributes:
        network: is stored and applied.
        input_shape: of one clip.
        optimizer: with a state for every trained variable.
        state: all variables that training changes.
        step: a step of gradient descent on (x, y, weight); returns the loss.
        apply: returns the logits of a batch.
    """

    def __init__(self, network: keras.Model, trained: keras.Model, training: Training) -> None:
        """Takes a new network, and `trained`: the same, or what contains it and is used in training only."""
        self.network, self.input_shape = network, network.input_shape[1:]
        optimizer = OPTIMIZERS[training.optimizer](training.learning_rate, clipnorm=training.clip_norm)
        optimizer.build(trained.trainable_variables)
        # `variables` includes the generators of random layers, which `weights` does not.
        self.optimizer, self.state = optimizer, [*trained.variables, *optimizer.variables]
        criterion = keras.losses.CategoricalCrossentropy(from_logits=True)
        x, y, weight = (
            tf.TensorSpec((None, *axes), tf.float32)
            for axes in (self.input_shape, network.output_shape[1:], ())
        )

        # Keras traces its own functions again, and differently, for the shapes that come first: after an
        # interruption the last bits would differ.
        @tf.function(input_signature=[x, y, weight])  # type: ignore[untyped-decorator]
        def step(x: tf.Tensor, y: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                logits = trained(x, training=True)
                loss = tf.add_n([criterion(y, logits, sample_weight=weight), *trained.losses])
            gradients = tape.gradient(loss, trained.trainable_variables)
            optimizer.apply(gradients, trained.trainable_variables)
            return loss

        self.step = step
        self.apply = compiled(network)


class NetworkTrainer:
    """Trains, stores and applies a network of arrays of one shape.

    Subclasses for frames and images replace `input_shape`, `groups`, `batch`, `training_batch` and
    `in_training`.
    """

    file = FILE
    trains_on_validation = False  # validation chooses the epoch

    def __init__(self, build: Build, training: Training) -> None:
        """Takes a function of (input_shape, n_classes) that returns a network with logits as output."""
        self.build, self.training = build, training
        self.started_from, self.epochs = training.init_from, training.epochs

    def input_shape(self, shape: tuple[int, ...], epoch: int) -> Shape:
        """Returns the network's input shape in an epoch for clips stored as arrays of `shape`."""
        return shape

    def groups(self, clips: Clips) -> list[Indices]:
        """Returns the indices of clips that are read with equal length, the shortest group first."""
        return [np.arange(len(clips))]

    def batch(self, clips: Clips, batch: Indices, epoch: int) -> Any:
        """Returns the clips of a batch as the network takes them in an epoch."""
        return clips.x[batch]

    def training_batch(
        self, clips: Clips, y: Array, batch: Indices, epoch: int, rng: np.random.Generator
    ) -> tuple[Any, Array]:
        """Returns a batch for training, and its targets (n_clips, n_classes), here `y`.

        Args:
            y: target probabilities times the clip's weight.
        """
        return self.batch(clips, batch, epoch), y

    def in_training(self, network: keras.Model) -> keras.Model:
        """Returns the network with the layers that are used in training only."""
        return network

    def fit(
        self,
        train: Partition,
        validation: Partition | None,
        folder: Path,
        seed: int,
        follow: Follow = ignore,
    ) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Trains the network and writes its best epoch's weights to `folder`.

        Args:
            train: training clips and labels.
            validation: the same of other clips; None trains all epochs and keeps the last.
            folder: with the checkpoint of an interrupted training, if any.
            seed: of initial weights, dropout, order and augmentation.
            follow: is given the learning curve after each epoch.

        Returns:
            One row per epoch: epoch, loss, learning_rate, and with validation val_loss and val_uar.
            And `n_parameters`, `precision`, and `earlier_s`: seconds of the epochs before an interruption.

        Raises:
            InputError: the loss is not finite, or the initial weights cannot be used.
        """
        training, path = self.training, folder / checkpoint.FILE
        progress = checkpoint.read_progress(path)
        earlier_s = progress.seconds
        learner = self.learner(train, max(progress.epoch - 1, 0), seed)
        if progress.epoch:
            best = checkpoint.restore(learner.state, len(learner.network.weights), path)
            tqdm.write(f"train: {folder.name} continues after epoch {progress.epoch}")
        else:
            if self.started_from is not None:
                weights.start(learner.network, self.started_from, self.build, train.classes)
            best = learner.network.get_weights()
        while progress.epoch < training.epochs and not self._stops(progress, learner, train):
            if self.input_shape(train.x.shape[1:], progress.epoch) != learner.input_shape:
                learner = _continued(learner, self.learner(train, progress.epoch, seed))
                progress.best, progress.since_best, progress.since_plateau = -np.inf, 0, 0
            started = time.monotonic()
            row = self.train_epoch(learner, train, seed, progress.epoch)
            row |= self._validate(learner, validation, progress.epoch)
            _check_finite(row, learner.network, folder.name)
            if _improved(learner, progress, row, training):
                best = [np.array(value) for value in learner.network.get_weights()]
            progress.curve.append(row)
            progress.epoch += 1
            progress.seconds += time.monotonic() - started
            if progress.epoch % training.checkpoint_every_epochs == 0:
                checkpoint.write(progress, best, learner.state, path)
            follow(pd.DataFrame(progress.curve))
        learner.network.set_weights(best)
        weights.save(learner.network, folder / FILE)
        path.unlink(missing_ok=True)
        n_parameters = int(learner.network.count_params())
        resolved = precision.resolved(training.precision)
        facts = {"n_parameters": n_parameters, "precision": resolved, "earlier_s": earlier_s}
        return pd.DataFrame(progress.curve), facts

    def load(self, folder: Path, n_classes: int) -> Model:
        """Returns the network with the weights in `folder`, computed in float32.

        The weights are read at the first clips, whose length decides the shape of the network's input.

        Raises:
            InputError: then, if there are no weights, or they are of another network.
        """
        epoch = self.training.epochs

        @cache
        def network(*shape: int | None) -> Callable[[Any], tf.Tensor]:
            made = self.build(shape, n_classes)
            weights.load(made, folder / FILE, "Run `dvc repro train`.")
            return compiled(made)

        return lambda clips: self._logits(network(*self.input_shape(clips.x.shape[1:], epoch)), clips, epoch)

    def learner(self, train: Partition, epoch: int, seed: int) -> Learner:
        """Returns a new network for the inputs of an epoch, with new optimizer and random layers."""
        # Keras has no other way to make layers' initial weights and TensorFlow's kernels repeatable. And the
        # weights' file contains names of layers, which are numbered on from fold to fold in one session.
        keras.backend.clear_session()
        keras.utils.set_random_seed(seed)
        tf.config.experimental.enable_op_determinism()
        keras.config.set_dtype_policy(precision.policy(self.training.precision))
        try:
            network = self.build(self.input_shape(train.x.shape[1:], epoch), len(train.classes))
        finally:
            keras.config.set_dtype_policy("float32")
        return Learner(network, self.in_training(network), self.training)

    def train_epoch(self, learner: Learner, train: Partition, seed: int, epoch: int) -> dict[str, float]:
        """Trains one epoch. Random numbers depend on seed and epoch only, so a resumed run draws the same."""
        total = 0.0
        for x, y, weight in self.batches(train, epoch, np.random.default_rng((seed, epoch))):
            total += float(learner.step(x, y, weight)) * len(y)
        rate = float(keras.ops.convert_to_numpy(learner.optimizer.learning_rate))
        learner.optimizer.learning_rate = rate * self.training.learning_rate_decay
        return {"epoch": epoch, "loss": total / len(train), "learning_rate": rate}

    def batches(
        self, train: Partition, epoch: int, rng: np.random.Generator
    ) -> Iterator[tuple[Any, Array, NDArray[np.float64]]]:
        """Yields clips, their target probabilities (n_clips, n_classes) and their weights, in random order.

        Clips are shuffled within their group, cut into batches, of which all but the last are full, and the
        batches are shuffled.
        """
        balanced = "balanced" if self.training.class_weights == "balanced" else None
        weight = compute_sample_weight(balanced, train.y).astype(np.float32)
        target = np.eye(len(train.classes), dtype=np.float32)[train.y] * weight[:, None]
        order = np.concatenate([rng.permutation(group) for group in self.groups(train)])
        batches = _cut(order, self.training.batch_size)
        for number in rng.permutation(len(batches)):
            batch = batches[number]
            x, y = self.training_batch(train, target[batch], batch, epoch, rng)
            weights = y.sum(axis=1)  # of mixed clips, mixed too
            yield x, y / weights[:, None], weights

    def _validate(self, learner: Learner, validation: Partition | None, epoch: int) -> dict[str, float]:
        if validation is None:
            return {}
        logits = self._logits(learner.apply, validation, epoch)
        loss = -log_softmax(logits, axis=1)[np.arange(len(validation)), validation.y].mean()
        present = np.unique(validation.y)
        uar = recall_score(validation.y, logits.argmax(axis=1), labels=present, average="macro")
        return {"val_loss": float(loss), "val_uar": float(uar)}

    def _logits(self, apply: Callable[[Any], tf.Tensor], clips: Clips, epoch: int) -> NDArray[np.float64]:
        batches = [batch for group in self.groups(clips) for batch in _cut(group, PREDICT_BATCH)]
        logits = np.concatenate([apply(self.batch(clips, batch, epoch)) for batch in batches])
        in_order = np.argsort(np.concatenate(batches))
        return logits[in_order].astype(np.float64)

    def _stops(self, progress: Progress, learner: Learner, train: Partition) -> bool:
        """Returns whether training stops early, which it does not before inputs have had their last shape."""
        patience, epochs = self.training.patience_epochs, self.training.epochs
        if patience is None or progress.since_best < patience:
            return False
        return bool(learner.input_shape == self.input_shape(train.x.shape[1:], epochs))


def compiled(network: keras.Model) -> Callable[[Any], tf.Tensor]:
    """Returns the function from a batch of any length to its logits.

    It is traced here: at their first calls, TensorFlow takes the functions of several folds for one that it
    traces again and again, and warns.
    """
    signature = tf.TensorSpec((None, *network.input_shape[1:]), tf.float32)
    function: Callable[[Any], tf.Tensor] = tf.function(
        lambda batch: network(batch, training=False)
    ).get_concrete_function(signature)
    return function


def _cut(indices: Indices, size: int) -> Sequence[Indices]:
    """Returns the indices in batches of `size`, the last one perhaps smaller."""
    return np.split(indices, range(size, len(indices), size))


def _continued(old: Learner, new: Learner) -> Learner:
    """Returns `new` with the state of `old`."""
    for value, carried in zip(new.state, old.state, strict=True):
        value.assign(carried)
    return new


def _check_finite(row: dict[str, float], network: keras.Model, fold: str) -> None:
    """Raises InputError for values that are not finite: weights may be, while ReLU hides it from the loss."""
    values = {"loss": [*row.values()], **{weight.path: weight for weight in network.weights}}
    for name, value in values.items():
        if not np.isfinite(value).all():
            raise InputError(
                f"{fold}: training diverged, {name} of epoch {row['epoch'] + 1} is not finite. Lower "
                "`training.learning_rate` or `training.clip_norm` in params.yaml."
            )


def _improved(learner: Learner, progress: Progress, row: dict[str, float], training: Training) -> bool:
    """Updates the patience counters and the learning rate. Returns whether this epoch is the best so far."""
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
        rate = row["learning_rate"] * training.learning_rate_decay
        if rate > plateau.min_learning_rate:
            learner.optimizer.learning_rate = max(rate * plateau.factor, plateau.min_learning_rate)
        progress.since_plateau = 0
    return False
