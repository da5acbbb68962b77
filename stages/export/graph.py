"""A fold as a TensorFlow graph: from prepared clips to probabilities, and from samples to prepared clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import tensorflow as tf

from stages.base import npz
from stages.base.errors import InputError
from stages.learning import estimator
from stages.learning.ridge import RidgeTrainer
from stages.learning.trained_fold import TrainedFold
from stages.networks import weights
from stages.networks.frames import FrameTrainer
from stages.networks.images import ImageTrainer
from stages.networks.network import NetworkTrainer

Graph = Callable[[tf.Tensor], tf.Tensor]


def probabilities(fold: TrainedFold) -> Graph:
    """Returns the function from prepared clips, float32 (n_clips, *shape), to (n_clips, n_classes).

    Raises:
        InputError: a classifier of a kind that has no graph.
    """
    scores = _scores(fold)
    temperature = np.float32(fold.record["temperature"])
    return lambda x: tf.nn.softmax(scores(x) / temperature, axis=1)


def _scores(fold: TrainedFold) -> Graph:
    trainer = fold.trainer
    if isinstance(trainer, NetworkTrainer):
        return _network(trainer, fold)
    if isinstance(trainer, RidgeTrainer):
        with npz.zipped(fold.folder / trainer.file) as stored:
            matrix, intercept = stored["weights"].astype(np.float32), stored["intercept"].astype(np.float32)
        return lambda x: tf.matmul(x, matrix) + intercept
    if isinstance(trainer, estimator.EstimatorTrainer):
        model = estimator.load(fold.folder / trainer.file, type(trainer.build()))
        graphs: dict[str, Callable[[Any], Graph]] = {
            "SVC": _svc,
            "MLPClassifier": _mlp,
            "DummyClassifier": _constant,
        }
        if type(model).__name__ in graphs:
            return graphs[type(model).__name__](model)
    raise InputError(
        f"params.model: '{fold.record['model']}' has no graph. Add one to stages/export/graph.py."
    )


def _network(trainer: NetworkTrainer, fold: TrainedFold) -> Graph:
    epoch, shape = trainer.training.epochs, fold.preparation.preprocessor.shape
    network = trainer.build(trainer.input_shape(shape, epoch), len(fold.record["classes"]))
    weights.load(network, fold.folder / weights.FILE, "Run `dvc repro train`.")
    pixels = trainer.pixels(epoch) if isinstance(trainer, ImageTrainer) else None
    if pixels is None:
        return lambda x: network(x, training=False)
    height, width, _ = shape
    resize = resizing(height, width, pixels)
    return lambda x: network(resize(x), training=False)


def resizing(height: int, width: int, pixels: int) -> Graph:
    """Returns TensorFlow's resize, with `antialias`, of images (n_clips, height, width, 1) to squares.

    It is one matrix per axis; as an operation, not every runtime has it. tf2onnx converts tf.einsum in an
    order that depends on Python's hashes, and with some sizes wrongly.
    """
    rows, columns = (_resizing(size, pixels).T for size in (height, width))

    def resize(x: tf.Tensor) -> tf.Tensor:
        image = tf.reshape(x, (-1, height, width)) @ columns
        return tf.transpose(tf.transpose(image, (0, 2, 1)) @ rows, (0, 2, 1))[..., None]

    return resize


def _resizing(size: int, pixels: int) -> np.ndarray:
    """Returns the matrix (pixels, size) of TensorFlow's resize of one axis."""
    identity = np.eye(size, dtype=np.float32)[:, :, None]
    return np.asarray(tf.image.resize(identity, (pixels, size), antialias=True))[:, :, 0]


def _svc(model: Any) -> Graph:
    """Returns the class scores of models.svm from a fitted SVC."""
    support, gamma = model.support_vectors_.astype(np.float32), np.float32(model._gamma)
    kernels: dict[str, Graph] = {
        "linear": lambda product: product,
        "poly": lambda product: (gamma * product + model.coef0) ** model.degree,
        "sigmoid": lambda product: tf.tanh(gamma * product + model.coef0),
    }
    squares = (support**2).sum(axis=1)
    n_classes = len(model.classes_)
    first, second = zip(*combinations(range(n_classes), 2), strict=True)
    pairs = _pairs(model)

    def scores(x: tf.Tensor) -> tf.Tensor:
        product = tf.matmul(x, support.T.copy())
        if model.kernel == "rbf":
            distance = tf.reduce_sum(x * x, axis=1, keepdims=True) + squares - 2 * product
            values = tf.exp(-gamma * distance)
        else:
            values = kernels[model.kernel](product)
        margins = tf.matmul(values, pairs) + model.intercept_.astype(np.float32)
        if n_classes == 2:
            return tf.concat([-margins, margins], axis=1)
        one_hot = np.eye(n_classes, dtype=np.float32)
        return tf.matmul(_log_sigmoid(2 * margins), one_hot[list(first)]) + tf.matmul(
            _log_sigmoid(-2 * margins), one_hot[list(second)]
        )

    return scores


def _log_sigmoid(x: tf.Tensor) -> tf.Tensor:
    """Returns log(1 / (1 + exp(-x))) without overflow."""
    return tf.minimum(x, 0.0) - tf.math.log(1 + tf.exp(-tf.abs(x)))


def _pairs(model: Any) -> np.ndarray:
    """Returns the weight of each support vector in the margin of each pair of classes, (n_support, n_pairs).

    A support vector of class i has its weight against class j in row j if j < i, else in row j - 1.
    """
    owner = np.repeat(np.arange(len(model.classes_)), model.n_support_)
    columns = []
    for first, second in combinations(range(len(model.classes_)), 2):
        weight = np.where(owner == first, model.dual_coef_[second - 1], 0.0)
        columns.append(np.where(owner == second, model.dual_coef_[first], weight))
    return np.stack(columns, axis=1).astype(np.float32)


def _mlp(model: Any) -> Graph:
    """Returns log probabilities, as learning.estimator does; an MLP of two classes has one output."""
    layers = [
        (matrix.astype(np.float32), bias.astype(np.float32))
        for matrix, bias in zip(model.coefs_, model.intercepts_, strict=True)
    ]

    def scores(x: tf.Tensor) -> tf.Tensor:
        for matrix, bias in layers[:-1]:
            x = tf.nn.relu(tf.matmul(x, matrix) + bias)
        x = tf.matmul(x, layers[-1][0]) + layers[-1][1]
        if len(model.classes_) == 2:
            x = tf.concat([_log_sigmoid(-x), _log_sigmoid(x)], axis=1)
        return tf.maximum(tf.nn.log_softmax(x, axis=1), np.log(np.float32(1e-12)))

    return scores


def _constant(model: Any) -> Graph:
    scores = np.log(np.clip(model.class_prior_, 1e-12, None)).astype(np.float32)[None]
    return lambda x: tf.zeros_like(x[:, :1]) + scores


def whole(front_end: Graph, folds: Sequence[TrainedFold]) -> Graph:
    """Returns the function from samples (n_samples,) at the model's rate to probabilities (n_classes,).

    They are the mean over the folds of the mean over the windows.
    """
    of_folds = [(Prepared(fold), probabilities(fold)) for fold in folds]

    def answer(samples: tf.Tensor) -> tf.Tensor:
        frames = front_end(samples)
        means = [tf.reduce_mean(apply(prepared(frames)), axis=0) for prepared, apply in of_folds]
        return tf.add_n(means) / len(means)

    return answer


class Prepared:
    """What `windows.Preparation` is in numpy: from features to a fold's input, window by window."""

    def __init__(self, fold: TrainedFold) -> None:
        """Takes a fold.

        Raises:
            InputError: its layout has no graph.
        """
        self.preprocessor, self.padded = fold.preparation.preprocessor, padded_lengths(fold)
        if self.preprocessor.layout == "pooled":
            raise InputError("export: the layout 'pooled' has no graph. Use the bundle, which computes it.")

    def __call__(self, frames: tf.Tensor) -> tf.Tensor:
        """Returns float32 (n_windows, *shape) of float32 (n_frames, n_dims)."""
        fitted = self.preprocessor
        if fitted.layout in ("mean", "stats"):
            pooled = (
                tf.reduce_mean(frames, axis=0, keepdims=True) if fitted.layout == "mean" else _stats(frames)
            )
            return self._standardized(pooled)
        steps = self._standardized(_averaged(frames, fitted.frames_per_step))
        n_steps = fitted.n_steps
        n = tf.shape(steps)[0]
        n_windows = tf.maximum(1, _upwards(n, n_steps))
        last = tf.cast(tf.maximum(0, n - n_steps), tf.float32)
        spacing = last / tf.cast(tf.maximum(1, n_windows - 1), tf.float32)
        starts = tf.cast(tf.round(tf.cast(tf.range(n_windows), tf.float32) * spacing), tf.int32)
        lengths = tf.constant([*self.padded, n_steps], tf.int32)
        wanted = tf.reduce_min(tf.where(lengths >= tf.minimum(n, n_steps), lengths, n_steps))
        steps = tf.pad(steps, [[0, tf.maximum(0, wanted - n)], [0, 0]])
        windows = tf.gather(steps, starts[:, None] + tf.range(wanted))
        n_dims = len(fitted.mean)
        shapes = {"image": (-1, wanted, n_dims, 1), "frames": (-1, wanted, n_dims)}
        return tf.reshape(windows, shapes.get(fitted.layout, (-1, n_steps * n_dims)))

    def _standardized(self, steps: tf.Tensor) -> tf.Tensor:
        fitted = self.preprocessor
        return (steps - fitted.mean.astype(np.float32)) * (1 / fitted.std).astype(np.float32)


def padded_lengths(fold: TrainedFold) -> list[int]:
    """Returns the numbers of steps that a fold's clips can be padded to; empty if there is only one."""
    trainer, longest = fold.trainer, fold.preparation.preprocessor.shape[0]
    lengths: list[int] = trainer.lengths(longest).tolist() if isinstance(trainer, FrameTrainer) else []
    return lengths if len(lengths) > 1 else []


def _upwards(n: tf.Tensor, divisor: int) -> tf.Tensor:
    """Returns n / divisor, rounded up. ONNX's division of integers rounds towards zero, not down."""
    return (n + divisor - 1) // divisor


def _averaged(frames: tf.Tensor, n: int) -> tf.Tensor:
    """Returns the means of each `n` frames; the last one of what is left."""
    if n == 1:
        return frames
    left = _upwards(tf.shape(frames)[0], n) * n - tf.shape(frames)[0]
    padded = tf.pad(frames, [[0, left], [0, 0]])
    counted = tf.pad(tf.ones_like(frames[:, :1]), [[0, left], [0, 0]])
    sums = tf.reduce_sum(tf.reshape(padded, (-1, n, frames.shape[1])), axis=1)
    return sums / tf.reduce_sum(tf.reshape(counted, (-1, n, 1)), axis=1)


def _stats(frames: tf.Tensor) -> tf.Tensor:
    ordered = tf.sort(tf.transpose(frames), axis=1)
    n = tf.shape(frames)[0]
    change = frames[1:] - frames[:-1]
    rows = [
        tf.reduce_mean(frames, axis=0),
        _std(frames, n),
        _quantile(ordered, n, 0.1),
        _quantile(ordered, n, 0.9),
        _std(change, tf.maximum(n - 1, 1)),
    ]
    return tf.concat(rows, axis=0)[None]


def _std(values: tf.Tensor, n: tf.Tensor) -> tf.Tensor:
    count = tf.cast(n, tf.float32)
    centred = values - tf.reduce_sum(values, axis=0) / count
    return tf.sqrt(tf.reduce_sum(tf.square(centred), axis=0) / count)


def _quantile(ordered: tf.Tensor, n: tf.Tensor, fraction: float) -> tf.Tensor:
    place = tf.cast(n - 1, tf.float32) * np.float32(fraction)
    below = tf.floor(place)
    at = tf.cast(below, tf.int32)
    low, high = (tf.gather(ordered, i, axis=1) for i in (at, tf.minimum(at + 1, n - 1)))
    return low + (high - low) * (place - below)
