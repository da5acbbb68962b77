"""What predictions are worth: scalars with their uncertainty, whole and by group.

Every function takes a table of schema PREDICTIONS: a row per clip, its `label` and, for each class, the
probability `p_<class>`. The class with the highest probability is the prediction, the alphabetically
first of equals. Averages over classes run over the classes that have clips in the table, so a class
without any counts neither for nor against.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

N_BINS = 15  # of the calibration error, as in Guo et al. 2017
CONFIDENCE = 0.95
HEADLINE = ("uar", "accuracy")

logger = logging.getLogger(__name__)


def summarize(predictions: pd.DataFrame, n_resamples: int, seed: int) -> dict[str, Any]:
    """Returns all metrics as nested scalars, the folds' predictions pooled.

    A metric that these predictions leave undefined is not in it; the log says which and why.

    Args:
        predictions: of schema PREDICTIONS.
        n_resamples: draws for the intervals.
        seed: of those draws.
    """
    n_clips = predictions["clip"].nunique()
    return {
        **scores(predictions),
        **intervals(predictions, n_resamples, seed),
        "chance_uar": 1 / predictions["label"].nunique(),
        "recall": recalls(predictions),
        "corpus": by_group(predictions, "corpus"),
        "sex": by_group(predictions, "sex"),
        "fold": over_folds(predictions),
        "worst_speaker": worst_speaker(predictions),
        "n_clips": n_clips,
        "n_speakers": predictions["speaker"].nunique(),
        "n_folds": predictions["fold"].nunique(),
    }


def scores(predictions: pd.DataFrame) -> dict[str, float]:
    """Returns the metrics of all rows together: those of `scores_of_counts` and, from the probabilities,

    - auc: area under the curve of each class against the rest, averaged, in [0, 1]; undefined if a class
      that has a probability has no clip
    - log_loss: in nats, 0 or more
    - brier: squared distance of the probabilities from the truth, summed over classes, in [0, 2]
    - ece: see `calibration_error`
    """
    from sklearn import metrics

    truth, predicted, probabilities = arrays(predictions)
    classes = class_names(predictions)
    # scikit-learn warns unless a row sums to 1 in float64, which a float32 softmax misses by a hair.
    sharing = probabilities / probabilities.sum(axis=1, keepdims=True)
    values = {
        **scores_of_counts(confusions(predictions).sum(axis=0)),
        "log_loss": metrics.log_loss(truth, sharing, labels=classes),
        "brier": metrics.brier_score_loss(truth, sharing, labels=classes, scale_by_half=False),
        "ece": calibration_error(probabilities.max(axis=1), truth == predicted),
    }
    if absent := sorted(set(classes) - set(truth)):
        logger.warning("auc is undefined and left out: no clip of %s", ", ".join(absent))
    else:
        areas = [metrics.roc_auc_score(truth == name, probabilities[:, i]) for i, name in enumerate(classes)]
        values["auc"] = np.mean(areas)
    return {name: float(value) for name, value in values.items()}


def class_names(predictions: pd.DataFrame) -> list[str]:
    """Returns the classes that have a probability, sorted."""
    return sorted(name.removeprefix("p_") for name in predictions.columns if name.startswith("p_"))


def confusions(predictions: pd.DataFrame) -> NDArray[np.int64]:
    """Returns the clips of each speaker by truth and prediction: (n_speakers, n_classes, n_classes)."""
    truth, predicted, _ = arrays(predictions)
    classes = class_names(predictions)
    speakers, speaker = np.unique(predictions["speaker"].to_numpy(dtype=str), return_inverse=True)
    counts = np.zeros((len(speakers), len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, (speaker, np.searchsorted(classes, truth), np.searchsorted(classes, predicted)), 1)
    return counts


def scores_of_counts(counts: NDArray[np.number]) -> dict[str, NDArray[np.float64]]:
    """Returns the metrics that follow from confusion counts, for many tables at once; all in [0, 1].

    - uar: unweighted average recall, the mean of the classes' recalls (Schuller et al. 2009)
    - accuracy: the share of clips recognised
    - macro_f1, weighted_f1: the classes' F1 averaged, each counting the same or by its clips
    - macro_precision: the mean of the classes' precisions, 0 for one that is never predicted

    Args:
        counts: (..., n_classes, n_classes), truth by prediction.

    Returns:
        each metric as (...,).
    """
    right = np.diagonal(counts, axis1=-2, axis2=-1).astype(float)
    support, n_predicted = counts.sum(axis=-1), counts.sum(axis=-2)
    present = support > 0
    n_clips, n_present = support.sum(axis=-1), present.sum(axis=-1)
    recall = right / np.maximum(support, 1)
    precision = right / np.maximum(n_predicted, 1)
    f1 = 2 * right / np.maximum(support + n_predicted, 1)
    return {
        "uar": recall.sum(axis=-1) / n_present,
        "accuracy": right.sum(axis=-1) / n_clips,
        "macro_f1": f1.sum(axis=-1) / n_present,
        "weighted_f1": (f1 * support).sum(axis=-1) / n_clips,
        "macro_precision": (precision * present).sum(axis=-1) / n_present,
    }


def calibration_error(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> float:
    """Returns the expected calibration error, in [0, 1] (Guo et al. 2017, equation 3).

    Args:
        confidence: (n_clips,), the predicted class's probability.
        correct: (n_clips,), whether it was right.
    """
    gaps = np.bincount(confidence_bins(confidence), weights=confidence - correct)
    return float(np.abs(gaps).sum() / len(confidence))


def reliability(predictions: pd.DataFrame) -> pd.DataFrame:
    """Returns what `calibration_error` weighs, a row per bin that has clips, by rising confidence.

    `confidence` and `accuracy` are means over the bin's clips, in [0, 1], and `n_clips` is their number.
    """
    truth, predicted, probabilities = arrays(predictions)
    confidence = probabilities.max(axis=1)
    clips = pd.DataFrame({"confidence": confidence, "accuracy": truth == predicted, "n_clips": 1})
    return (
        clips.groupby(confidence_bins(confidence))
        .agg({"confidence": "mean", "accuracy": "mean", "n_clips": "sum"})
        .reset_index(drop=True)
    )


def recalls(predictions: pd.DataFrame) -> dict[str, float]:
    """Returns the share recognised of each class that has clips, in [0, 1]."""
    counts = confusions(predictions).sum(axis=0)
    n_clips = dict(zip(class_names(predictions), counts.sum(axis=1), strict=True))
    n_right = dict(zip(class_names(predictions), counts.diagonal(), strict=True))
    if absent := [name for name, n in n_clips.items() if not n]:
        logger.warning("recall is undefined and left out: no clip of %s", ", ".join(absent))
    return {name: float(n_right[name] / n) for name, n in n_clips.items() if n}


def headline(predictions: pd.DataFrame) -> dict[str, float]:
    """Returns uar, accuracy and the number of clips."""
    values = scores_of_counts(confusions(predictions).sum(axis=0))
    return {name: float(values[name]) for name in HEADLINE} | {"n_clips": predictions["clip"].nunique()}


def by_group(predictions: pd.DataFrame, column: str) -> dict[str, dict[str, float]]:
    """Returns the headline of each value of `column`, with its number of speakers."""
    return {
        str(value): headline(rows) | {"n_speakers": rows["speaker"].nunique()}
        for value, rows in predictions.groupby(column)
    }


def worst_speaker(predictions: pd.DataFrame) -> dict[str, float | str]:
    """Returns the name and the headline of the speaker with the lowest uar."""
    speakers = {str(name): headline(rows) for name, rows in predictions.groupby("speaker")}
    worst = min(speakers, key=lambda speaker: speakers[speaker]["uar"])
    return {"speaker": worst, **speakers[worst]}


def over_folds(predictions: pd.DataFrame) -> dict[str, float]:
    """Returns the mean and the sample deviation over folds of the headline metrics."""
    folds = pd.DataFrame([headline(rows) for _, rows in predictions.groupby("fold")])
    values = {f"{name}_mean": float(folds[name].mean()) for name in HEADLINE}
    if len(folds) > 1:
        values |= {f"{name}_deviation": float(folds[name].std(ddof=1)) for name in HEADLINE}
    else:
        logger.warning("the deviation over folds is undefined and left out: there is one fold")
    return values


def human_uar(labels: pd.Series, votes: pd.Series) -> float:
    """Returns the uar of listeners, in [0, 1].

    Args:
        labels: the class of each clip.
        votes: the listeners' majority for it; tied classes, joined by "+", are wrong.
    """
    return float((labels == votes).groupby(labels).mean().mean())


def votes(manifest: pd.DataFrame, merge: Mapping[Any, str]) -> pd.Series:
    """Returns the listeners' majority for each clip that has one, by clip, as `human_uar` takes it.

    Args:
        manifest: columns clip and listeners.
        merge: the label policy, which votes follow too.
    """
    majority = manifest.set_index("clip")["listeners"].dropna().str.split("+")
    return majority.map(lambda tied: "+".join(sorted({merge.get(name, name) for name in tied})))


def intervals(predictions: pd.DataFrame, n_resamples: int, seed: int) -> dict[str, float]:
    """Returns `<metric>_low` and `<metric>_high`, the 95 % intervals over speakers.

    Clips of one speaker are alike, so it is speakers that are drawn with replacement (Field & Welsh 2007).
    The draws' deviation, times sqrt(n / (n - 1)), is the standard error, and the interval Student's t with
    n - 1 degrees of freedom about the score, cut at 0 and 1. Percentiles of the draws are too narrow for
    few speakers. The interval says what other speakers would change, not another training.

    Args:
        predictions: of schema PREDICTIONS. With fewer than two speakers there is no interval.
        n_resamples: draws.
        seed: of the draws.
    """
    from scipy import stats

    counts = confusions(predictions)
    n_speakers = len(counts)
    if n_speakers < 2:
        logger.warning("intervals are undefined and left out: they need two speakers")
        return {}
    times_drawn = draw_speakers(n_speakers, n_resamples, seed)
    score = scores_of_counts(counts.sum(axis=0))
    draws = scores_of_counts(np.tensordot(times_drawn, counts, axes=1))
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, n_speakers - 1)
    values = {}
    for name, drawn in draws.items():
        reach = quantile * standard_error(drawn, n_speakers)
        values[f"{name}_low"] = float(max(score[name] - reach, 0))
        values[f"{name}_high"] = float(min(score[name] + reach, 1))
    return values


def draw_speakers(n_speakers: int, n_resamples: int, seed: int) -> NDArray[np.int64]:
    """Returns how often each resample draws each speaker: (n_resamples, n_speakers)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_speakers, np.full(n_speakers, 1 / n_speakers), size=n_resamples)


def standard_error(draws: NDArray[np.float64], n_speakers: int) -> float:
    """Returns the deviation of a score over resamples of its speakers, unbiased for few of them."""
    return float(draws.std(ddof=1) * np.sqrt(n_speakers / (n_speakers - 1)))


def confidence_bins(confidence: NDArray[np.float64]) -> NDArray[np.int64]:
    """Returns the bin of each confidence: N_BINS of equal width."""
    return np.minimum((confidence * N_BINS).astype(np.int64), N_BINS - 1)


def arrays(predictions: pd.DataFrame) -> tuple[NDArray, NDArray, NDArray[np.float64]]:
    """Returns the truth and the predicted class (n_clips,) and the probabilities (n_clips, n_classes)."""
    classes = class_names(predictions)
    probabilities = predictions[[f"p_{name}" for name in classes]].to_numpy(dtype=float)
    predicted = np.array(classes)[probabilities.argmax(axis=1)]
    return predictions["label"].to_numpy(dtype=str), predicted, probabilities
