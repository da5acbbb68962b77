"""Support vector machine on statistics of the features over time."""

from __future__ import annotations

from copy import copy
from functools import partial
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_expit
from sklearn.metrics.pairwise import pairwise_kernels
from sklearn.svm import SVC

from stages.base.params import Block, Positive
from stages.learning.estimator import EstimatorTrainer
from stages.learning.preprocessing import Inputs

LAYOUTS = ("mean", "stats", "flat")
LARGEST_GRAM = 2**29  # bytes, for 8,192 clips: the kernel of more is computed row by row
FEWEST = 8  # clips whose decisions are faster by a matrix than row by row


class Config(Block):
    inputs: Inputs
    kernel: Literal["rbf", "linear", "poly", "sigmoid"]
    c: Positive
    gamma: Positive | Literal["scale", "auto"]
    class_weights: Literal["none", "balanced"]


def build(config: Config) -> SVC:
    """Returns an unfitted SVC (Cortes & Vapnik 1995), one class against one."""
    weights = "balanced" if config.class_weights == "balanced" else None
    return SVC(
        C=config.c,
        kernel=config.kernel,
        gamma=config.gamma,
        class_weight=weights,
        decision_function_shape="ovo",
    )


class SvmTrainer(EstimatorTrainer):
    """Fits, stores and applies an SVC. It chooses no epoch, so it trains on the validation speakers too."""

    trains_on_validation = True

    def learn(self, model: SVC, x: NDArray[np.float32], y: NDArray[np.int64]) -> None:
        """Fits as `SVC.fit` does, up to rounding, in a third of the time.

        libsvm computes the kernel row by row, and again for each pair of classes. Here it is computed once,
        as a matrix, and the model is then turned into the one that `SVC.fit` would have made of `x`.
        """
        if 8 * len(x) ** 2 > LARGEST_GRAM:
            super().learn(model, x, y)
            return
        wide, kernel, variance = x.astype(np.float64), model.kernel, x.var(dtype=np.float64)
        n_dims = wide.shape[1]
        gammas = {"scale": 1 / (n_dims * variance) if variance else 1.0, "auto": 1 / n_dims}
        gamma = gammas.get(model.gamma, model.gamma)
        gram = _kernel(model, gamma, wide, wide)
        model.set_params(kernel="precomputed").fit(gram, y)
        model.set_params(kernel=kernel)
        model.support_vectors_ = wide[model.support_]
        model.n_features_in_, model.shape_fit_, model._gamma = n_dims, wide.shape, gamma

    def decide(self, model: SVC, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Returns what `SVC.decision_function` does, up to rounding, in a fifth of the time: see `learn`."""
        n_fitted, width = model.shape_fit_
        if len(x) < FEWEST or 8 * len(x) * n_fitted > LARGEST_GRAM or x.shape[1:] != (width,):
            return super().decide(model, x)
        gram = np.zeros((len(x), n_fitted))
        gram[:, model.support_] = _kernel(model, model._gamma, x.astype(np.float64), model.support_vectors_)
        precomputed = copy(model).set_params(kernel="precomputed")
        precomputed.n_features_in_ = n_fitted
        return np.asarray(precomputed.decision_function(gram))

    def scores(self, model: SVC, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Returns a score of each class: see `class_scores`."""
        return class_scores(super().scores(model, x), len(model.classes_))


def _kernel(model: SVC, gamma: float, a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the kernel of each row of `a` with each of `b`: (len(a), len(b))."""
    settings = {"gamma": gamma, "degree": model.degree, "coef0": model.coef0}
    return np.asarray(pairwise_kernels(a, b, metric=model.kernel, filter_params=True, **settings))


def class_scores(margins: NDArray[np.float64], n_classes: int) -> NDArray[np.float64]:
    """Returns each class's score from the margins of its pairs: (n_clips, n_classes).

    A class scores the sum of log sigmoid(2 d) over its pairs: the log probability of winning them all, with
    Platt's sigmoid (1999) of fixed slope, which the temperature rescales. Counts of votes, scikit-learn's
    scores of a class against the rest, differ by about 1 between the first and the second class of nearly
    every clip, so their softmax is equally confident of all clips.

    Args:
        margins: (n_clips, n_pairs), for the pairs (0, 1), (0, 2), ... (1, 2), ...; positive for the first
            class of the pair. With two classes (n_clips, 2), already a score per class.

    >>> class_scores(np.array([[2.0, 0.5, -1.0]]), 3).round(2).tolist()
    [[-0.33, -6.15, -1.44]]
    """
    if n_classes == 2:
        return margins
    scores = np.zeros((len(margins), n_classes))
    for margin, (first, second) in zip(margins.T, combinations(range(n_classes), 2), strict=True):
        scores[:, first] += log_expit(2 * margin)
        scores[:, second] += log_expit(-2 * margin)
    return scores


def trainer(config: Config) -> SvmTrainer:
    return SvmTrainer(partial(build, config))
