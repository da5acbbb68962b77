"""Paired tests: how much two models differ on the same clips, and for which clips.

The functions take two tables of schema PREDICTIONS with the same clips, as `comparison.match` checks. Each
may have several training seeds: then scores are means over seeds.
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
CLIP = ["fold", "clip"]  # what is tested, once per training seed
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
            too few speakers for any to be significant, or if the difference does not vary.
        speakers_error: standard error of the difference that is due to the choice of test speakers.
        seeds_error: the same due to training seeds, of each model that has several; None if neither has.
    """

    a: float
    b: float
    difference: float
    low: float
    high: float
    p_value: float
    smallest_p_value: float
    detectable: float | None
    speakers_error: float
    seeds_error: float | None

    @property
    def significant(self) -> bool:
        """Whether the difference is significant at 5 %."""
        return self.p_value < SIGNIFICANCE


def differences(a: pd.DataFrame, b: pd.DataFrame, n_resamples: int, seed: int) -> dict[str, Difference]:
    """Returns the difference b - a of each metric, with its uncertainty over speakers and training seeds.

    The p-value is that of a permutation test: if the models are equally good, swapping their predictions for
    any set of speakers is as likely as not to have happened (Fisher 1935; sign flips of whole clusters:
    Canay, Romano & Shaikh 2017). It is the fraction of swaps, the original included, whose difference is at
    least as large: of all 2^n swaps for few speakers, else of `n_resamples` random ones. That keeps the false
    alarm rate at or below 5 % for any number of speakers; fewer than six cannot reach 5 %.

    Swaps keep the trained models as they are. Where a model has several seeds, the variance between its
    trainings is added, and the p-value is the larger of the one above and that of Student's t with both
    sources of variation, with the degrees of freedom of Satterthwaite (1946). Of a model with one seed, the
    variance between trainings is not known and left out.

    The interval is Student's t, as in `metrics.intervals`: both models are scored on the same resamples of
    speakers, so what makes a speaker hard for both cancels. Where the p-value is not below 5 %, it is
    extended to contain 0, which the test does not reject.

    The smallest detectable difference is the standard error times t(0.975) + t(0.8) (Bloom 1995).

    Args:
        a: predictions, with one training seed or more.
        b: predictions of the same clips.
        n_resamples: number of resamples, and of random swaps.

    Raises:
        InputError: there is only one speaker.
    """
    from scipy import stats

    n_speakers = a["speaker"].nunique()
    if n_speakers < 2:
        raise InputError(
            f"{a['speaker'].iloc[0]} is the only test speaker, but an interval over speakers needs at least "
            "two. Test two or more, or use `dvc metrics diff`."
        )
    n_classes = len(metrics.class_names(a))
    n_clips = metrics.confusions(a).sum(axis=(1, 2))
    n_seeds_a, n_seeds_b = a["seed"].nunique(), b["seed"].nunique()
    sums_a, sums_b = _sums(a) * n_seeds_b, _sums(b) * n_seeds_a  # so that a clip counts the same in both
    n_drawn = metrics.resample_speakers(n_speakers, n_resamples, seed)
    swapped = swaps(n_speakers, n_resamples, seed)
    change = swapped @ (sums_b - sums_a)
    score_a, score_b = (_scores(sums.sum(axis=0), n_classes) for sums in (sums_a, sums_b))
    resampled_a, resampled_b = (_scores(n_drawn @ sums, n_classes) for sums in (sums_a, sums_b))
    swapped_a = _scores(sums_a.sum(axis=0) + change, n_classes)
    swapped_b = _scores(sums_b.sum(axis=0) - change, n_classes)
    of_seeds = [_of_seeds(each, n_classes) for each, n in ((a, n_seeds_a), (b, n_seeds_b)) if n > 1]
    smallest = 2 / len(swapped) if len(swapped) == 2**n_speakers else 1 / len(swapped)
    found = {}
    for name in score_a:
        difference = float(score_b[name] - score_a[name])
        speakers_error = metrics.standard_error(resampled_b[name] - resampled_a[name], n_clips)
        trainings = [values[name] for values in of_seeds]
        variances = [speakers_error**2, *(values.var(ddof=1) / len(values) for values in trainings)]
        freedoms = [n_speakers - 1, *(len(values) - 1 for values in trainings)]
        error, freedom = combined(variances, freedoms)
        quantile, power = (stats.t.ppf(level, freedom) for level in (1 - SIGNIFICANCE / 2, POWER))
        reach = margin(variances, freedoms)
        p_value = _as_large(swapped_b[name] - swapped_a[name], difference)
        if trainings and abs(difference) > TOLERANCE:
            of_both = float(2 * stats.t.sf(abs(difference) / error, freedom)) if error > TOLERANCE else 0.0
            p_value = max(p_value, of_both)
        ends = [difference - reach, difference + reach]
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
            speakers_error=speakers_error,
            seeds_error=float(np.sqrt(sum(variances[1:]))) if trainings else None,
        )
    return found


def _of_seeds(predictions: pd.DataFrame, n_classes: int) -> dict[str, NDArray[np.float64]]:
    """Returns the metrics of each training seed: (n_seeds,)."""
    sums = np.array([_sums(rows).sum(axis=0) for _, rows in predictions.groupby("seed")])
    return _scores(sums, n_classes)


def combined(variances: list[float], freedoms: list[int]) -> tuple[float, float]:
    """Returns the standard error of a sum of independent estimates, and its degrees of freedom.

    Args:
        variances: of the estimates.
        freedoms: degrees of freedom of each variance.

    >>> combined([9.0, 16.0], [5, 8])  # 25^2 / (9^2 / 5 + 16^2 / 8)
    (5.0, 12.966804979253112)
    """
    total = sum(variances)
    if not total:
        return 0.0, float(freedoms[0])
    fractions = [
        (variance / total) ** 2 / freedom for variance, freedom in zip(variances, freedoms, strict=True)
    ]
    return float(np.sqrt(total)), float(1 / sum(fractions))


def margin(variances: list[float], freedoms: list[int]) -> float:
    """Returns half the width of the 95 % interval of a sum of independent estimates: see `combined`.

    It is at least that of the first one, over speakers, alone. Of two speakers, a second estimate raises the
    degrees of freedom so much that the interval would become narrower.

    >>> [round(margin([9.0, 9.0], freedoms), 1) for freedoms in ([1, 2], [23, 2])]  # of 2 and of 24 speakers
    [38.1, 9.9]
    """
    from scipy import stats

    estimates = combined(variances, freedoms), combined(variances[:1], freedoms[:1])
    return float(max(stats.t.ppf(1 - SIGNIFICANCE / 2, freedom) * error for error, freedom in estimates))


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
    if 2**n_speakers <= n_random:
        return np.array(list(product((0, 1), repeat=n_speakers)), dtype=np.int64)
    random = np.random.default_rng([seed, n_speakers]).integers(0, 2, (n_random, n_speakers))
    return np.vstack([np.zeros((1, n_speakers), dtype=np.int64), random])


def _as_large(swapped: NDArray[np.float64], difference: float) -> float:
    """Returns the fraction of swaps whose difference is at least as large as the one without swaps."""
    return float(np.mean(np.abs(swapped) >= abs(difference) - TOLERANCE))


def mcnemar(a: pd.DataFrame, b: pd.DataFrame) -> float:
    """Returns the exact two-sided p-value of McNemar's test (1947), in [0, 1].

    The test treats clips as independent. Clips of one speaker are not, so where each model suits some
    speakers better it finds differences that do not hold for other speakers. With several seeds, a clip
    counts as right if most trainings are.

    >>> labels = pd.DataFrame({"fold": 0, "seed": 0, "clip": list("abc"), "label": "anger"})
    >>> mcnemar(labels.assign(p_anger=1.0, p_fear=0.0), labels.assign(p_anger=0.0, p_fear=1.0))
    0.25
    """
    from scipy import stats

    right_a, right_b = (_fraction_right(each) > 0.5 for each in (a, b))
    n_lost, n_gained = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    return float(stats.binomtest(n_lost, n_lost + n_gained).pvalue) if n_lost + n_gained else 1.0


def flips(a: pd.DataFrame, b: pd.DataFrame, column: str) -> pd.DataFrame:
    """Returns what changed for each value of `column`, the largest net loss first.

    Columns: the value, `clips`, `a` and `b` (each model's accuracy, in [0, 1]), and the number of clips that
    go `right_to_wrong` and `wrong_to_right`. With several seeds, accuracies are means over them, and a clip
    counts as right if most trainings are.
    """
    fraction_a, fraction_b = _fraction_right(a), _fraction_right(b)
    right_a, right_b = fraction_a > 0.5, fraction_b > 0.5
    clips = pd.DataFrame(
        {
            column: a.groupby(CLIP)[column].first(),
            "clips": 1,
            "a": fraction_a,
            "b": fraction_b,
            "right_to_wrong": right_a & ~right_b,
            "wrong_to_right": right_b & ~right_a,
        }
    )
    table = clips.groupby(column).agg(
        {"clips": "sum", "a": "mean", "b": "mean", "right_to_wrong": "sum", "wrong_to_right": "sum"}
    )
    net = table["wrong_to_right"] - table["right_to_wrong"]
    return table.loc[net.sort_values(kind="stable").index].reset_index()


def _fraction_right(predictions: pd.DataFrame) -> pd.Series:
    """Returns the fraction of trainings that recognise a clip, in [0, 1], by CLIP."""
    return predictions[CLIP].assign(right=metrics.correct(predictions)).groupby(CLIP)["right"].mean()


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
