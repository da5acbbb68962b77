"""Two models on the same clips: which is better, by how much, and for whom.

Both tables of a pair are of schema PREDICTIONS, and their rows are the same clips in the same folds:
`pair` sees to it, and the other functions take what it returns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.base.errors import InputError
from stages.evaluation import metrics

SIGNIFICANCE = 1 - metrics.CONFIDENCE
POWER = 0.8
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "ece"})


@dataclass(frozen=True)
class Run:
    """Predictions and what they came from.

    Attributes:
        name: what messages call it.
        predictions: of schema PREDICTIONS.
        params: of the evaluate stage that made them, by dotted key.
    """

    name: str
    predictions: pd.DataFrame
    params: dict[str, Any]


@dataclass(frozen=True)
class Difference:
    """One metric of two models.

    Attributes:
        a: its value for the first.
        b: its value for the second.
        difference: b - a.
        low: lower end of the difference's 95 % interval.
        high: its upper end.
        p_value: two-sided, of there being no difference.
        detectable: the true difference that a test of this precision finds significant four times in five.
    """

    a: float
    b: float
    difference: float
    low: float
    high: float
    p_value: float
    detectable: float

    @property
    def significant(self) -> bool:
        """Whether the difference is more than chance, at 5 %."""
        return self.p_value < SIGNIFICANCE


def pair(a: Run, b: Run) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns both runs' predictions, row by row the same clip in the same fold.

    Raises:
        InputError: they differ in protocol, labels, clips or folds, so that their scores answer different
            questions.
    """
    protocol_a, protocol_b = (run.params.get("split.protocol") for run in (a, b))
    if protocol_a != protocol_b:
        raise InputError(
            f"{a.name} was split by {protocol_a} and {b.name} by {protocol_b}: their scores answer different "
            "questions. Give both the same params.split.protocol."
        )
    classes = [set(metrics.class_names(run.predictions)) for run in (a, b)]
    if classes[0] != classes[1]:
        raise InputError(
            f"{a.name} and {b.name} do not tell apart the same labels: only one of them has "
            f"{', '.join(sorted(classes[0] ^ classes[1]))}. Give both the same params.split.labels."
        )
    for what, columns in {"clips": ["clip"], "folds": ["fold", "clip"], "labels": ["clip", "label"]}.items():
        keys_a, keys_b = (set(run.predictions[columns].itertuples(index=False)) for run in (a, b))
        if keys_a != keys_b:
            example = min(keys_a ^ keys_b)
            raise InputError(
                f"{a.name} and {b.name} were not tested on the same {what}: of {len(keys_a)} and "
                f"{len(keys_b)} clips {len(keys_a & keys_b)} agree, and {example.clip} does not. "
                "Give both the same params.corpus, params.split and params.train.fold."
            )
    first, second = (run.predictions.sort_values(["fold", "clip"], ignore_index=True) for run in (a, b))
    return first, second


def differences(a: pd.DataFrame, b: pd.DataFrame, n_resamples: int, seed: int) -> dict[str, Difference]:
    """Returns the difference of each metric, b - a, with its uncertainty over speakers.

    One draw of speakers, with replacement, serves both models, so what makes a speaker hard for both
    cancels. As in `metrics.intervals`, the draws' deviation gives the standard error and Student's t with
    n_speakers - 1 degrees of freedom the interval and the p-value. On equal models that holds its 5 % from
    two speakers on (ece, whose draws are biased, alarms less); percentiles of the draws do not, and swapping
    the models speaker by speaker cannot reach 5 % with fewer than six. Where all speakers differ alike, as
    two may by chance, there is no deviation to judge by, and the difference itself stands for it.

    The smallest detectable difference is the standard error times t(0.975) + t(0.8) (Bloom 1995), for two
    models that differ from speaker to speaker as these do.

    Args:
        n_resamples: draws.
        seed: of the draws.

    Raises:
        InputError: there is one speaker.
    """
    from scipy import stats

    n_speakers = a["speaker"].nunique()
    if n_speakers < 2:
        raise InputError(
            f"{a['speaker'].iloc[0]} is the only test speaker, and what holds for other speakers cannot be "
            "told from one: there is no interval. Test with two or more, or see `dvc metrics diff`."
        )
    classes = metrics.class_names(a)
    sums_a, sums_b = _sums(a), _sums(b)
    times_drawn = metrics.draw_speakers(n_speakers, n_resamples, seed)
    score_a, score_b = (_scores(sums.sum(axis=0), len(classes)) for sums in (sums_a, sums_b))
    drawn_a, drawn_b = (_scores(times_drawn @ sums, len(classes)) for sums in (sums_a, sums_b))
    reach = stats.t.ppf(1 - SIGNIFICANCE / 2, n_speakers - 1)
    found = {}
    for name in score_a:
        difference = float(score_b[name] - score_a[name])
        error = metrics.standard_error(drawn_b[name] - drawn_a[name], n_speakers)
        if np.isclose(error, 0):
            error = abs(difference)
        found[name] = Difference(
            a=float(score_a[name]),
            b=float(score_b[name]),
            difference=difference,
            low=float(difference - reach * error),
            high=float(difference + reach * error),
            p_value=float(2 * stats.t.sf(abs(difference) / error, n_speakers - 1)) if error else 1.0,
            detectable=float((reach + stats.t.ppf(POWER, n_speakers - 1)) * error),
        )
    return found


def mcnemar(a: pd.DataFrame, b: pd.DataFrame) -> float:
    """Returns the exact two-sided p-value of McNemar's test (1947), which takes clips as independent.

    Clips of one speaker are not, so where models suit some speakers better than others it finds differences
    that other speakers would not show.
    """
    from scipy import stats

    right_a, right_b = _right(a), _right(b)
    n_lost, n_won = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    return float(stats.binomtest(n_lost, n_lost + n_won).pvalue) if n_lost + n_won else 1.0


def flips(a: pd.DataFrame, b: pd.DataFrame, column: str) -> pd.DataFrame:
    """Returns what changed for each value of `column`, those that lose most first.

    Columns: the value, `clips`, `a` and `b` (the share recognised, in [0, 1]), and the clips
    `right_to_wrong` and `wrong_to_right`.
    """
    right_a, right_b = _right(a), _right(b)
    clips = pd.DataFrame(
        {
            column: a[column],
            "clips": 1,
            "a": right_a,
            "b": right_b,
            "right_to_wrong": right_a & ~right_b,
            "wrong_to_right": right_b & ~right_a,
        }
    )
    table = clips.groupby(column).agg(
        {"clips": "sum", "a": "mean", "b": "mean", "right_to_wrong": "sum", "wrong_to_right": "sum"}
    )
    net = table["wrong_to_right"] - table["right_to_wrong"]
    return table.loc[net.sort_values(kind="stable").index].reset_index()


def _right(predictions: pd.DataFrame) -> NDArray[np.bool_]:
    """Returns whether each clip is recognised."""
    truth, predicted, _ = metrics.arrays(predictions)
    return np.asarray(truth == predicted)


def _sums(predictions: pd.DataFrame) -> NDArray[np.float64]:
    """Returns what `_scores` needs of each speaker, such that speakers add up: (n_speakers, n_sums).

    The confusion counts, the log loss, the Brier score, and for each bin of confidence how far it exceeds
    what is right.
    """
    truth, predicted, probabilities = metrics.arrays(predictions)
    confidence = probabilities.max(axis=1)
    sharing = probabilities / probabilities.sum(axis=1, keepdims=True)
    is_class = truth[:, np.newaxis] == np.array(metrics.class_names(predictions))
    excess = confidence - (truth == predicted)
    clips = np.column_stack(
        [
            -np.log(np.maximum(sharing[is_class], np.finfo(float).eps)),
            np.square(sharing - is_class).sum(axis=1),
            excess[:, np.newaxis] * np.eye(metrics.N_BINS)[metrics.confidence_bins(confidence)],
        ]
    )
    sums = pd.DataFrame(clips).groupby(predictions["speaker"].to_numpy(dtype=str)).sum().to_numpy()
    counts = metrics.confusions(predictions)
    return np.hstack([counts.reshape(len(counts), -1), sums])


def _scores(sums: NDArray[np.float64], n_classes: int) -> dict[str, NDArray[np.float64]]:
    """Returns the metrics of (..., n_sums) as (...,): those of `metrics.scores` but auc.

    auc ranks clips of different speakers against each other, so that speakers do not add up.
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
