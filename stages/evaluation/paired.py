"""Paired tests: how much two models differ on the same clips, and for which clips.

The functions take two tables of schema PREDICTIONS whose rows are the same clips in the same order, as
`comparison.match` returns them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.base.errors import InputError
from stages.evaluation import metrics

SIGNIFICANCE = 1 - metrics.CONFIDENCE
POWER = 0.8
TOLERANCE = 1e-9  # differences closer than this are equal: sums in another order differ in the last bits
MOST_EXHAUSTIVE = 20  # speakers: 2^20 swaps, the most there can be for `evaluate.n_resamples`
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "ece"})


@dataclass(frozen=True)
class Difference:
    """One metric of two models.

    Attributes:
        a: its value for the first.
        b: its value for the second.
        difference: b - a.
        low: lower end of the difference's 95 % confidence interval.
        high: its upper end.
        p_value: two-sided, of the hypothesis that there is no difference.
        smallest_p_value: the smallest that this number of speakers can give.
        detectable: the smallest true difference that is significant at 5 % with 80 % power; None if there are
            too few speakers for any to be significant, or if the difference does not vary between speakers.
    """

    a: float
    b: float
    difference: float
    low: float
    high: float
    p_value: float
    smallest_p_value: float
    detectable: float | None

    @property
    def significant(self) -> bool:
        """Whether the difference is significant at 5 %."""
        return self.p_value < SIGNIFICANCE


def differences(a: pd.DataFrame, b: pd.DataFrame, n_resamples: int, seed: int) -> dict[str, Difference]:
    """Returns the difference b - a of each metric, with its uncertainty over speakers.

    The p-value is that of a permutation test: if the models are equally good, swapping their predictions for
    any set of speakers is as likely as not to have happened (Fisher 1935; sign flips of whole clusters:
    Canay, Romano & Shaikh 2017). It is the fraction of swaps, the original included, whose difference is at
    least as large: of all 2^n swaps for few speakers, else of `n_resamples` random ones. That keeps the false
    alarm rate at or below 5 % for any number of speakers; fewer than six cannot reach 5 %.

    The interval is Student's t, as in `metrics.intervals`: both models are scored on the same resamples of
    speakers, so what makes a speaker hard for both cancels. Where the p-value is not below 5 %, it is
    extended to contain 0, which the test does not reject.

    The smallest detectable difference is the standard error times t(0.975) + t(0.8) (Bloom 1995).

    Args:
        a, b: predictions of the same clips.
        n_resamples: number of resamples, and of random swaps.
        seed: of both.

    Raises:
        InputError: there is only one speaker.
    """
    from scipy import stats

    n_speakers = a["speaker"].nunique()
    if n_speakers < 2:
        raise InputError(
            f"{a['speaker'].iloc[0]} is the only test speaker, and an interval over speakers needs at least "
            "two. Test with two or more, or see `dvc metrics diff`."
        )
    n_classes = len(metrics.class_names(a))
    n_clips = metrics.confusions(a).sum(axis=(1, 2))
    sums_a, sums_b = _sums(a), _sums(b)
    n_drawn = metrics.resample_speakers(n_speakers, n_resamples, seed)
    swapped = swaps(n_speakers, n_resamples, seed)
    change = swapped @ (sums_b - sums_a)
    score_a, score_b = (_scores(sums.sum(axis=0), n_classes) for sums in (sums_a, sums_b))
    resampled_a, resampled_b = (_scores(n_drawn @ sums, n_classes) for sums in (sums_a, sums_b))
    swapped_a = _scores(sums_a.sum(axis=0) + change, n_classes)
    swapped_b = _scores(sums_b.sum(axis=0) - change, n_classes)
    quantile, power = (stats.t.ppf(level, n_speakers - 1) for level in (1 - SIGNIFICANCE / 2, POWER))
    smallest = 2 / len(swapped) if len(swapped) == 2**n_speakers else 1 / len(swapped)
    found = {}
    for name in score_a:
        difference = float(score_b[name] - score_a[name])
        error = metrics.standard_error(resampled_b[name] - resampled_a[name], n_clips)
        p_value = _as_large(swapped_b[name] - swapped_a[name], difference)
        ends = [difference - quantile * error, difference + quantile * error]
        if p_value >= SIGNIFICANCE:
            ends = [min(ends[0], 0.0), max(ends[1], 0.0)]
        found[name] = Difference(
            a=float(score_a[name]),
            b=float(score_b[name]),
            difference=difference,
            low=float(ends[0]),
            high=float(ends[1]),
            p_value=p_value,
            smallest_p_value=smallest,
            detectable=None
            if smallest >= SIGNIFICANCE or error < TOLERANCE
            else float((quantile + power) * error),
        )
    return found


def swaps(n_speakers: int, n_random: int, seed: int) -> NDArray[np.int64]:
    """Returns for which speakers the models are swapped: 0 or 1, (n_swaps, n_speakers), first none at all.

    All 2^n_speakers if they are no more than `n_random`, otherwise none and `n_random` random ones.

    >>> swaps(2, 100, seed=0)
    array([[0, 0],
           [0, 1],
           [1, 0],
           [1, 1]])
    >>> swaps(24, 100, seed=0).shape
    (101, 24)
    """
    if n_speakers < MOST_EXHAUSTIVE and 2**n_speakers <= n_random:
        return np.array(list(product((0, 1), repeat=n_speakers)), dtype=np.int64)
    random = np.random.default_rng([seed, n_speakers]).integers(0, 2, (n_random, n_speakers))
    return np.vstack([np.zeros((1, n_speakers), dtype=np.int64), random])


def _as_large(swapped: NDArray[np.float64], difference: float) -> float:
    """Returns the fraction of swaps whose difference is at least as large as the one without swaps."""
    return float(np.mean(np.abs(swapped) >= abs(difference) - TOLERANCE))


def mcnemar(a: pd.DataFrame, b: pd.DataFrame) -> float:
    """Returns the exact two-sided p-value of McNemar's test (1947), in [0, 1].

    The test treats clips as independent. Clips of one speaker are not, so where each model suits some
    speakers better it finds differences that do not hold for other speakers.

    >>> labels = pd.DataFrame({"label": ["anger"] * 3})
    >>> mcnemar(labels.assign(p_anger=1.0, p_fear=0.0), labels.assign(p_anger=0.0, p_fear=1.0))
    0.25
    """
    from scipy import stats

    correct_a, correct_b = metrics.correct(a), metrics.correct(b)
    n_lost, n_gained = int((correct_a & ~correct_b).sum()), int((correct_b & ~correct_a).sum())
    return float(stats.binomtest(n_lost, n_lost + n_gained).pvalue) if n_lost + n_gained else 1.0


def flips(a: pd.DataFrame, b: pd.DataFrame, column: str) -> pd.DataFrame:
    """Returns what changed for each value of `column`, the largest net loss first.

    Columns: the value, `clips`, `a` and `b` (each model's accuracy, in [0, 1]), and the number of clips that
    go `right_to_wrong` and `wrong_to_right`.
    """
    correct_a, correct_b = metrics.correct(a), metrics.correct(b)
    clips = pd.DataFrame(
        {
            column: a[column],
            "clips": 1,
            "a": correct_a,
            "b": correct_b,
            "right_to_wrong": correct_a & ~correct_b,
            "wrong_to_right": correct_b & ~correct_a,
        }
    )
    table = clips.groupby(column).agg(
        {"clips": "sum", "a": "mean", "b": "mean", "right_to_wrong": "sum", "wrong_to_right": "sum"}
    )
    net = table["wrong_to_right"] - table["right_to_wrong"]
    return table.loc[net.sort_values(kind="stable").index].reset_index()


def _sums(predictions: pd.DataFrame) -> NDArray[np.float64]:
    """Returns per speaker the sums from which `_scores` computes the metrics: (n_speakers, n_sums).

    The confusion counts, the log loss, the Brier score, and for each confidence bin the sum of confidence
    minus correctness. The sums of several speakers add up, so a resample is a weighted sum.
    """
    truth, predicted, probabilities = metrics.arrays(predictions)
    confidence = probabilities.max(axis=1)
    normalized = probabilities / probabilities.sum(axis=1, keepdims=True)
    is_class = truth[:, np.newaxis] == np.array(metrics.class_names(predictions))
    excess = confidence - (truth == predicted)
    clips = np.column_stack(
        [
            -np.log(np.maximum(normalized[is_class], np.finfo(float).eps)),
            np.square(normalized - is_class).sum(axis=1),
            excess[:, np.newaxis] * np.eye(metrics.N_BINS)[metrics.confidence_bins(confidence)],
        ]
    )
    sums = pd.DataFrame(clips).groupby(predictions["speaker"].to_numpy(dtype=str)).sum().to_numpy()
    counts = metrics.confusions(predictions)
    return np.hstack([counts.reshape(len(counts), -1), sums])


def _scores(sums: NDArray[np.float64], n_classes: int) -> dict[str, NDArray[np.float64]]:
    """Returns the metrics of `metrics.scores` except auc as (...,), from sums (..., n_sums).

    auc ranks clips of different speakers against each other, so it is not a function of sums over speakers.
    """
    counts, rest = np.split(sums, [n_classes**2], axis=-1)
    counts = counts.reshape(*counts.shape[:-1], n_classes, n_classes)
    n_clips = counts.sum(axis=(-2, -1))
    return {
        **metrics.scores_of_counts(counts),
        "log_loss": rest[..., 0] / n_clips,
        "brier": rest[..., 1] / n_clips,
        "ece": np.abs(rest[..., 2:]).sum(axis=-1) / n_clips,
    }
