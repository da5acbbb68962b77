"""Turns scores into probabilities, with one temperature fitted on validation clips."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

# Temperatures from 1/100 to 100: beyond them the scores are constant or hard decisions.
LOG_TEMPERATURE_BOUNDS = (-np.log(100.0), np.log(100.0))
N_BINS = 20  # of confidence, for `reliability`
AT_BOUND = 0.05  # of log temperature; the minimiser stops a little before a bound


def at_bound(temperature: float) -> bool:
    """Returns whether a temperature is at a bound, where it calibrates nothing.

    Scores that do not separate the classes lead to the upper bound, which makes all probabilities equal;
    scores that separate all validation clips lead to the lower one.

    >>> at_bound(99.99), at_bound(1.5), at_bound(0.01)
    (True, False, True)
    """
    low, high = LOG_TEMPERATURE_BOUNDS
    return bool(min(np.log(temperature) - low, high - np.log(temperature)) < AT_BOUND)


def temperature(scores: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Returns the temperature T for which softmax(scores / T) has the lowest log loss on `labels`.

    One parameter changes no decision, only confidence. Guo et al. 2017, "On Calibration of Modern
    Neural Networks".

    Args:
        scores: (n_clips, n_classes), logits or decision values of validation clips.
        labels: (n_clips,), class indices.
    """
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return float(-log_softmax(scores / np.exp(log_temperature), axis=1)[rows, labels].mean())

    return float(np.exp(minimize_scalar(loss, bounds=LOG_TEMPERATURE_BOUNDS, method="bounded").x))


def probabilities(scores: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Returns float64 (n_clips, n_classes), rows summing to one."""
    return np.asarray(softmax(scores.astype(np.float64) / temperature, axis=1))


def reliability(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> dict[str, list[int]]:
    """Returns how many clips had a confidence in each of N_BINS equal bins, `n`, and how many were right.

    Args:
        probabilities: (n_clips, n_classes), of validation clips.
        labels: (n_clips,), class indices.

    Examples:
        >>> found = reliability(np.array([[0.97, 0.03], [0.48, 0.52]]), np.array([0, 0]))
        >>> found["n"][10], found["n_right"][10], found["n"][19], found["n_right"][19]
        (1, 0, 1, 1)
    """
    confidence = probabilities.max(axis=1)
    bins = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    right = probabilities.argmax(axis=1) == labels
    return {
        "n": np.bincount(bins, minlength=N_BINS).tolist(),
        "n_right": np.bincount(bins[right], minlength=N_BINS).tolist(),
    }
