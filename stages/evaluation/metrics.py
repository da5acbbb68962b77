"""Metrics of predictions, for all clips and by group, with confidence intervals.

Every function takes a table of schema PREDICTIONS: a row per clip with its `label` and, for each class, the
probability `p_<class>`. After trainings with several seeds there is a row per clip and seed, and scores are
those of all rows together, so UAR, accuracy, recalls, log loss and Brier score are means over seeds. The
predicted class is the one with the highest probability, the alphabetically first if several are equal.
Averages over classes include only classes that have clips in the table.
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
MEANS_OF_CORPORA = frozenset({"cross_corpus"})  # protocols whose scores are means over the test corpora

logger = logging.getLogger(__name__)


def summarize(predictions: pd.DataFrame, protocol: str, n_resamples: int, seed: int) -> dict[str, Any]:
    """Returns all metrics as nested scalars, computed on the predictions of all folds and seeds together.

    A metric that is undefined for these predictions is left out and a warning is logged.

    Args:
        protocol: see `overall`.
    """
    if predictions["fold"].nunique() < 2:
        logger.warning("the standard deviation over folds is undefined and left out: there is only one fold")
    n_seeds = predictions["seed"].nunique()
    return {
        **overall(predictions, protocol, n_resamples, seed),
        "averaged_over": "corpora" if protocol in MEANS_OF_CORPORA else "clips",
        "chance_uar": 1 / predictions["label"].nunique(),
        "recall": recalls(predictions),
        "corpus": by_group(predictions, "corpus"),
        "sex": by_group(predictions, "sex"),
        "fold": over(predictions, "fold", protocol),
        **({"seeds": {"n": n_seeds, **over(predictions, "seed", protocol)}} if n_seeds > 1 else {}),
        "worst_speaker": worst_speaker(predictions),
        "n_clips": predictions["clip"].nunique(),
        "n_speakers": predictions["speaker"].nunique(),
        "n_folds": predictions["fold"].nunique(),
    }


def overall(predictions: pd.DataFrame, protocol: str, n_resamples: int, seed: int) -> dict[str, float]:
    """Returns the metrics of `stated` with the ends of their intervals: for a new corpus, or a new speaker.

    Args:
        protocol: see `stated`.
    """
    ends = {} if protocol in MEANS_OF_CORPORA else intervals(predictions, n_resamples, seed)
    return stated(predictions, protocol) | ends


def stated(predictions: pd.DataFrame, protocol: str) -> dict[str, float]:
    """Returns the metrics of `scores` as the results of a protocol state them, without resampling.

    Args:
        protocol: a name of `splitting.protocols`; with `cross_corpus` scores are `mean_of_corpora`, otherwise
            over all clips.
    """
    return mean_of_corpora(predictions) if protocol in MEANS_OF_CORPORA else scores(predictions)


def scores(predictions: pd.DataFrame) -> dict[str, float]:
    """Returns the metrics of `scores_of_counts` and, from the probabilities:

    - auc: area under the ROC curve of each class against the rest, averaged over classes, in [0, 1];
      undefined if a class that has a probability has no clip
    - log_loss: in nats, 0 or more
    - brier: squared distance between probabilities and one-hot labels, summed over classes, in [0, 2]
    - ece: see `calibration_error`
    - confidence_auc: area under the ROC curve of confidence as a sign that a prediction is right, in [0, 1];
      at 0.5 it separates nothing, which `ece` does not show: a constant equal to the accuracy is perfectly
      calibrated (Hendrycks & Gimpel 2017). Undefined if all predictions are right, or all wrong
    - aurc: the mean of the risk-coverage curve, see `risk_coverage`, in [0, 1]

    >>> predictions = pd.DataFrame(
    ...     {"speaker": ["a", "b"], "label": ["anger", "fear"], "p_anger": [0.8, 0.6], "p_fear": [0.2, 0.4]}
    ... )
    >>> values = scores(predictions)
    >>> values["uar"], values["auc"], round(values["brier"], 2)
    (0.5, 1.0, 0.4)
    """
    from sklearn import metrics

    truth, predicted, probabilities = arrays(predictions)
    classes = class_names(predictions)
    # scikit-learn warns unless a row sums to 1 in float64, which a float32 softmax misses slightly.
    normalized = probabilities / probabilities.sum(axis=1, keepdims=True)
    values = {
        **scores_of_counts(confusions(predictions).sum(axis=0)),
        "log_loss": metrics.log_loss(truth, normalized, labels=classes),
        "brier": metrics.brier_score_loss(truth, normalized, labels=classes, scale_by_half=False),
        "ece": calibration_error(probabilities.max(axis=1), truth == predicted),
        "aurc": risk_coverage(predictions)["risk"].mean(),
    }
    if len(set(truth == predicted)) > 1:
        values["confidence_auc"] = metrics.roc_auc_score(truth == predicted, probabilities.max(axis=1))
    else:
        logger.warning("confidence_auc is undefined and left out: it needs right and wrong predictions")
    if absent := sorted(set(classes) - set(truth)):
        logger.warning("auc is undefined and left out: no clip of %s", ", ".join(absent))
    else:
        areas = [metrics.roc_auc_score(truth == name, probabilities[:, i]) for i, name in enumerate(classes)]
        values["auc"] = np.mean(areas)
    return {name: float(value) for name, value in values.items()}


def class_names(predictions: pd.DataFrame) -> list[str]:
    """Returns the classes that have a probability, sorted.

    >>> class_names(pd.DataFrame(columns=["label", "p_fear", "p_anger"]))
    ['anger', 'fear']
    """
    return sorted(name.removeprefix("p_") for name in predictions.columns if name.startswith("p_"))


def confusions(predictions: pd.DataFrame) -> NDArray[np.int64]:
    """Returns each speaker's clips by true and predicted class: (n_speakers, n_classes, n_classes)."""
    truth, predicted, _ = arrays(predictions)
    classes = class_names(predictions)
    speakers, speaker = np.unique(predictions["speaker"].to_numpy(dtype=str), return_inverse=True)
    counts = np.zeros((len(speakers), len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, (speaker, np.searchsorted(classes, truth), np.searchsorted(classes, predicted)), 1)
    return counts


def scores_of_counts(counts: NDArray[np.number]) -> dict[str, NDArray[np.float64]]:
    """Returns the metrics that follow from confusion counts, for many tables at once; all in [0, 1].

    - uar: unweighted average recall, the mean of the classes' recalls (Schuller et al. 2009)
    - accuracy: the fraction of clips whose class is predicted correctly
    - macro_f1, weighted_f1: the mean of the classes' F1, unweighted or weighted by their clips
    - macro_precision: the mean of the classes' precisions; 0 for a class that is never predicted

    Args:
        counts: (..., n_classes, n_classes), true by predicted class.

    Returns:
        each metric as (...,).

    >>> values = scores_of_counts(np.array([[8, 2], [1, 1]]))
    >>> float(values["uar"]), float(values["accuracy"])  # recalls 0.8 and 0.5; 9 of 12 clips
    (0.65, 0.75)
    """
    correct = np.diagonal(counts, axis1=-2, axis2=-1).astype(float)
    support, n_predicted = counts.sum(axis=-1), counts.sum(axis=-2)
    present = support > 0
    n_clips, n_present = support.sum(axis=-1), present.sum(axis=-1)
    recall = correct / np.maximum(support, 1)
    precision = correct / np.maximum(n_predicted, 1)
    f1 = 2 * correct / np.maximum(support + n_predicted, 1)
    return {
        "uar": recall.sum(axis=-1) / n_present,
        "accuracy": correct.sum(axis=-1) / n_clips,
        "macro_f1": f1.sum(axis=-1) / n_present,
        "weighted_f1": (f1 * support).sum(axis=-1) / n_clips,
        "macro_precision": (precision * present).sum(axis=-1) / n_present,
    }


def calibration_error(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> float:
    """Returns the expected calibration error, in [0, 1] (Guo et al. 2017, equation 3).

    Args:
        confidence: (n_clips,), the probability of the predicted class.
        correct: (n_clips,), whether the prediction was correct.

    >>> round(calibration_error(np.array([0.9, 0.9, 0.5]), np.array([True, False, True])), 3)
    0.433
    """
    gaps = np.bincount(confidence_bins(confidence), weights=confidence - correct)
    return float(np.abs(gaps).sum() / len(confidence))


def reliability(predictions: pd.DataFrame) -> pd.DataFrame:
    """Returns the bins of `calibration_error` that contain clips, a row each, by increasing confidence.

    `confidence` and `accuracy` are means over the bin's clips, in [0, 1]; `n_clips` is their number.
    """
    truth, predicted, probabilities = arrays(predictions)
    confidence = probabilities.max(axis=1)
    clips = pd.DataFrame({"confidence": confidence, "accuracy": truth == predicted, "n_clips": 1})
    return (
        clips.groupby(confidence_bins(confidence))
        .agg({"confidence": "mean", "accuracy": "mean", "n_clips": "sum"})
        .reset_index(drop=True)
    )


def risk_coverage(predictions: pd.DataFrame) -> pd.DataFrame:
    """Returns the risk-coverage curve (El-Yaniv & Wiener 2010), a row per number of clips kept.

    `coverage` is the fraction of clips kept, the most confident first, in (0, 1]; `risk` is the fraction of
    those whose class is predicted wrongly. Clips of equal confidence count with their mean risk, so their
    order does not matter.

    >>> predictions = pd.DataFrame(
    ...     {"label": ["anger", "anger", "fear"], "p_anger": [0.9, 0.7, 0.6], "p_fear": [0.1, 0.3, 0.4]}
    ... )
    >>> risk_coverage(predictions).round(2).to_dict("list")
    {'coverage': [0.33, 0.67, 1.0], 'risk': [0.0, 0.0, 0.33]}
    """
    truth, predicted, probabilities = arrays(predictions)
    clips = pd.DataFrame({"confidence": probabilities.max(axis=1), "wrong": truth != predicted})
    clips["wrong"] = clips.groupby("confidence")["wrong"].transform("mean")
    wrong = clips.sort_values("confidence", ascending=False)["wrong"].to_numpy(dtype=float)
    n_kept = np.arange(1, len(wrong) + 1)
    return pd.DataFrame({"coverage": n_kept / len(wrong), "risk": wrong.cumsum() / n_kept})


def recalls(predictions: pd.DataFrame) -> dict[str, float]:
    """Returns the recall of each class that has clips, in [0, 1]."""
    recall = pd.Series(correct(predictions)).groupby(predictions["label"].to_numpy(dtype=str)).mean()
    if absent := sorted(set(class_names(predictions)) - set(recall.index)):
        logger.warning("recall is undefined and left out: no clip of %s", ", ".join(absent))
    return {str(name): float(value) for name, value in recall.items()}


def headline(predictions: pd.DataFrame) -> dict[str, float]:
    """Returns uar, accuracy and the number of clips."""
    values = scores_of_counts(confusions(predictions).sum(axis=0))
    return {name: float(values[name]) for name in HEADLINE} | {"n_clips": predictions["clip"].nunique()}


def stated_headline(predictions: pd.DataFrame, protocol: str) -> dict[str, float]:
    """Returns uar and accuracy as `stated` does."""
    if protocol not in MEANS_OF_CORPORA:
        return headline(predictions)
    by_corpus = pd.DataFrame([headline(rows) for _, rows in predictions.groupby("corpus")])
    return {name: float(by_corpus[name].mean()) for name in HEADLINE}


def by_group(predictions: pd.DataFrame, column: str) -> dict[str, dict[str, float]]:
    """Returns the headline metrics and the number of speakers for each value of `column`.

    Clips whose value is not known are in no group, which is logged.
    """
    if n_unknown := int(predictions[column].isna().sum()):
        logger.warning("%s is not known for %d clips, which are left out of its scores", column, n_unknown)
    return {
        str(value): headline(rows) | {"n_speakers": rows["speaker"].nunique()}
        for value, rows in predictions.groupby(column)
    }


def worst_speaker(predictions: pd.DataFrame) -> dict[str, float | str]:
    """Returns the name and the headline metrics of the speaker with the lowest uar."""
    speakers = {str(name): headline(rows) for name, rows in predictions.groupby("speaker")}
    worst = min(speakers, key=lambda speaker: speakers[speaker]["uar"])
    return {"speaker": worst, **speakers[worst]}


def over(predictions: pd.DataFrame, column: str, protocol: str) -> dict[str, float]:
    """Returns the mean and the sample standard deviation of the headline metrics over `fold` or `seed`.

    There is no standard deviation over one. Over seeds, it is that between trainings on the same folds,
    tested on the same clips; how much speakers differ is not in it.

    Args:
        protocol: see `stated`.
    """
    found = pd.DataFrame([stated_headline(rows, protocol) for _, rows in predictions.groupby(column)])
    values = {f"{name}_mean": float(found[name].mean()) for name in HEADLINE}
    if len(found) > 1:
        values |= {f"{name}_std": float(found[name].std(ddof=1)) for name in HEADLINE}
    return values


def human_uar(labels: pd.Series, votes: pd.Series) -> float:
    """Returns the uar of human listeners, in [0, 1].

    Args:
        labels: the class of each clip.
        votes: the listeners' majority vote; tied classes, joined by "+", count as wrong.

    >>> human_uar(pd.Series(["anger", "anger", "fear"]), pd.Series(["anger", "anger+fear", "fear"]))
    0.75
    """
    return float((labels == votes).groupby(labels).mean().mean())


def votes(manifest: pd.DataFrame, merge: Mapping[Any, str]) -> pd.Series:
    """Returns the listeners' majority vote, by clip, for each clip that has one.

    Args:
        manifest: columns clip and listeners.
        merge: labels to rename, as in params.split.labels.merge.

    >>> manifest = pd.DataFrame({"clip": ["a", "b"], "listeners": ["calm+neutral", None]})
    >>> votes(manifest, {"calm": "neutral"}).to_dict()
    {'a': 'neutral'}
    """
    majority = manifest.set_index("clip")["listeners"].dropna().str.split("+")
    return majority.map(lambda tied: "+".join(sorted({merge.get(name, name) for name in tied})))


def mean_of_corpora(predictions: pd.DataFrame) -> dict[str, float]:
    """Returns the mean over corpora of each metric of `scores`, with its 95 % interval for a new corpus.

    Every corpus counts the same. The interval is that of Student's t over the corpora's scores, with as many
    degrees of freedom as there are corpora less one, clipped to [0, 1]; only the metrics of
    `scores_of_counts` have one. A metric that is undefined for a corpus is left out.

    >>> predictions = pd.DataFrame(
    ...     {"corpus": list("ccd"), "speaker": list("123"), "label": "anger", "p_anger": [0.9, 0.9, 0.1]}
    ... )
    >>> mean_of_corpora(predictions.assign(p_fear=1 - predictions["p_anger"]))["accuracy"]
    0.5
    """
    from scipy import stats

    by_corpus = pd.DataFrame([scores(rows) for _, rows in predictions.groupby("corpus")]).dropna(axis=1)
    values = by_corpus.mean().to_dict()
    bounded = scores_of_counts(confusions(predictions).sum(axis=0))
    if len(by_corpus) > 1:
        quantile = stats.t.ppf((1 + CONFIDENCE) / 2, len(by_corpus) - 1)
        for name in bounded:
            margin = quantile * stats.sem(by_corpus[name])
            values[f"{name}_low"] = max(values[name] - margin, 0)
            values[f"{name}_high"] = min(values[name] + margin, 1)
    return {str(name): float(value) for name, value in values.items()}


def intervals(predictions: pd.DataFrame, n_resamples: int, seed: int) -> dict[str, float]:
    """Returns `<metric>_low` and `<metric>_high`, the ends of the 95 % confidence intervals, in [0, 1].

    Clips of one speaker are not independent, so speakers are resampled with replacement (Field & Welsh 2007).
    The interval is that of Student's t with n - 1 degrees of freedom for n speakers, with `standard_error`
    around the score, clipped to [0, 1]. Percentiles of the resamples would be too narrow for few speakers.
    Intervals show variation between speakers, not between training runs.

    Args:
        predictions: of schema PREDICTIONS. With fewer than two speakers there is no interval.
        n_resamples: number of resamples.

    >>> predictions = pd.DataFrame(
    ...     {"speaker": list("aabbcc"), "label": "anger", "p_anger": [0.9, 0.8, 0.7, 0.6, 0.9, 0.2]}
    ... )
    >>> predictions["p_fear"] = 1 - predictions["p_anger"]
    >>> found = intervals(predictions, n_resamples=1000, seed=0)
    >>> round(found["accuracy_low"], 2), found["accuracy_high"]
    (0.13, 1.0)
    """
    from scipy import stats

    counts = confusions(predictions)
    if len(counts) < 2:
        logger.warning("intervals are undefined and left out: they need at least two speakers")
        return {}
    n_clips = counts.sum(axis=(1, 2))
    n_drawn = resample_speakers(len(counts), n_resamples, seed)
    score = scores_of_counts(counts.sum(axis=0))
    resampled = scores_of_counts(np.tensordot(n_drawn, counts, axes=1))
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, len(counts) - 1)
    values = {}
    for name, samples in resampled.items():
        margin = quantile * standard_error(samples, n_clips)
        values[f"{name}_low"] = float(max(score[name] - margin, 0))
        values[f"{name}_high"] = float(min(score[name] + margin, 1))
    return values


def resample_speakers(n_speakers: int, n_resamples: int, seed: int) -> NDArray[np.int64]:
    """Returns how often each speaker is in each resample: (n_resamples, n_speakers), rows sum to n_speakers.

    >>> resample_speakers(3, 2, seed=0).sum(axis=1)
    array([3, 3])
    """
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_speakers, np.full(n_speakers, 1 / n_speakers), size=n_resamples)


def standard_error(resampled: NDArray[np.float64], n_clips: NDArray[np.int64]) -> float:
    """Returns the standard error of a score, from its values in resamples of speakers.

    The bootstrap's variance is too small for few speakers, and more so if some have many more clips. With
    weights w, each speaker's fraction of the clips, and equal variance of speakers, its expectation is
    sum w^2 (1 - 2w + sum w^2) in place of sum w^2. The ratio is n / (n - 1) for n speakers with equally many
    clips.

    Args:
        resampled: (n_resamples,), the score in each resample.
        n_clips: (n_speakers,), at least two.

    >>> standard_error(np.array([0.0, 1.0, 2.0]), n_clips=np.array([5, 5]))
    1.4142135623730951
    """
    weights = n_clips / n_clips.sum()
    variance = np.square(weights).sum()
    ratio = variance / (np.square(weights) * (1 - 2 * weights + variance)).sum()
    return float(resampled.std(ddof=1) * np.sqrt(ratio))


def confidence_bins(confidence: NDArray[np.float64]) -> NDArray[np.int64]:
    """Returns the bin of each confidence, in [0, N_BINS): bins of equal width.

    >>> confidence_bins(np.array([0.0, 0.1, 0.5, 1.0]))
    array([ 0,  1,  7, 14])
    """
    return np.minimum((confidence * N_BINS).astype(np.int64), N_BINS - 1)


def arrays(predictions: pd.DataFrame) -> tuple[NDArray, NDArray, NDArray[np.float64]]:
    """Returns the true and the predicted class (n_clips,) and the probabilities (n_clips, n_classes)."""
    classes = class_names(predictions)
    probabilities = predictions[[f"p_{name}" for name in classes]].to_numpy(dtype=float)
    predicted = np.array(classes)[probabilities.argmax(axis=1)]
    return predictions["label"].to_numpy(dtype=str), predicted, probabilities


def correct(predictions: pd.DataFrame) -> NDArray[np.bool_]:
    """Returns whether the predicted class of each clip is the true one: (n_clips,)."""
    truth, predicted, _ = arrays(predictions)
    return np.asarray(truth == predicted)
