"""The report's tables: scores, folds and recordings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from stages.data import tables
from stages.data.splits import Splits
from stages.evaluation import metrics
from stages.reporting.page import Table, table

NAMES = {
    "uar": "UAR: mean recall of the emotions",
    "accuracy": "accuracy: fraction of clips recognised",
    "macro_f1": "F1, mean of the emotions",
    "weighted_f1": "F1, weighted by clips",
    "macro_precision": "precision, mean of the emotions",
    "auc": "AUC, each emotion against the rest",
    "log_loss": "log loss, nats (best is 0)",
    "brier": "Brier score, 0 to 2 (best is 0)",
    "ece": "calibration error (best is 0)",
    "confidence_auc": "AUC of confidence: right against wrong (0.5 separates nothing)",
    "aurc": "mean risk over coverage (best is 0)",
}
UNKNOWN = "unknown"
MOST_NAMED = 12  # speakers of a fold listed by name


def of_results(
    test: dict[str, Any], predictions: pd.DataFrame, n_resamples: int, seed: int
) -> dict[str, Table]:
    """Returns the scores of all clips, of each emotion and of groups, with intervals over speakers.

    Args:
        test: metrics/test.json.
    """
    scores = [
        [text, f"{test[name]:.3f}", interval(test, name)] for name, text in NAMES.items() if name in test
    ]
    emotions = rounded(of_emotions(predictions, n_resamples, seed)).rename_axis("emotion")
    groups = [
        _group(str(name), test[column][name] | metrics.intervals(rows, n_resamples, seed))
        for column in ("corpus", "sex")
        for name, rows in predictions.groupby(column)
    ]
    groups.append(_group(f"worst speaker, {test['worst_speaker']['speaker']}", test["worst_speaker"]))
    if "human_uar" in test:
        groups.append(
            ["human listeners, audio only", f"{test['human_uar']:.3f}", "", "", str(test["human_n_clips"])]
        )
    return {
        "scores": Table(
            "Mean scores of the test corpora, intervals for a new corpus"
            if test.get("averaged_over") == "corpora"
            else "Scores of all test clips",
            ["score", "value", "95 % interval"],
            scores,
        ),
        "emotions": table(emotions, "Recall of each emotion"),
        "groups": Table("Scores of groups", ["group", "UAR", "95 % interval", "accuracy", "clips"], groups),
    }


def _group(name: str, scores: Mapping[Any, Any]) -> list[str]:
    return [
        name,
        f"{scores['uar']:.3f}",
        interval(scores, "uar"),
        f"{scores['accuracy']:.3f}",
        str(scores["n_clips"]),
    ]


def of_emotions(predictions: pd.DataFrame, n_resamples: int, seed: int) -> pd.DataFrame:
    """Returns a row per emotion: recall, recall_low, recall_high, NaN without interval, and clips."""
    rows = {}
    for emotion, clips in predictions.groupby("label"):
        ends = metrics.intervals(clips, n_resamples, seed)  # of one emotion, recall is accuracy
        rows[str(emotion)] = {
            "recall": metrics.headline(clips)["accuracy"],
            "recall_low": ends.get("accuracy_low"),
            "recall_high": ends.get("accuracy_high"),
            "clips": clips["clip"].nunique(),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def rounded(scores: pd.DataFrame) -> pd.DataFrame:
    """Returns scores as text, the ends of the first column's interval in one column."""
    first = str(scores.columns[0])
    ends = [interval(row.dropna().to_dict(), first) for _, row in scores.iterrows()]
    shown = scores.drop(columns=[f"{first}_low", f"{first}_high"])
    shown[first] = shown[first].map("{:.3f}".format)
    shown.insert(1, "95 % interval", ends)
    return shown.rename(columns={"uar": "UAR"})


def of_robustness(measured: dict[str, Any] | None) -> dict[str, Table]:
    """Returns the scores of degraded test clips, if they were measured."""
    if measured is None:
        return {}
    caption = f"Scores of {measured['n_clips']} test clips of {measured['n_speakers']} speakers, degraded"
    return {"robustness": table(conditions(measured).rename_axis("recordings"), caption)}


def conditions(measured: dict[str, Any]) -> pd.DataFrame:
    """Returns a row per way of degrading the test clips, as text: UAR, lost, warned and abstained.

    Args:
        measured: metrics/robustness.json.
    """
    scores = pd.DataFrame.from_dict(measured["conditions"], orient="index")
    percent = scores[["warned", "abstained"]].map("{:.0%}".format)
    return scores[["uar", "lost"]].map("{:.3f}".format).join(percent).rename(columns={"uar": "UAR"})


def interval(test: Mapping[Any, Any], name: str) -> str:
    """Returns `0.535 to 0.690`, or "" if there is no interval."""
    return f"{test[f'{name}_low']:.3f} to {test[f'{name}_high']:.3f}" if f"{name}_low" in test else ""


def of_speakers(predictions: pd.DataFrame) -> pd.DataFrame:
    """Returns a row per speaker: speaker, sex and uar. Names include the corpus only if there are several."""
    scores = pd.DataFrame.from_dict(metrics.by_group(predictions, "speaker"), orient="index")
    scores["sex"] = predictions.groupby("speaker")["sex"].first().fillna(UNKNOWN)
    scores = scores.rename_axis("speaker").reset_index()
    scores["speaker"] = _short(scores["speaker"])
    return scores[["speaker", "sex", "uar"]]


def of_sexes(predictions: pd.DataFrame, votes: pd.Series, n_resamples: int, seed: int) -> pd.DataFrame:
    """Returns a row for all speakers and for each sex: uar, uar_low, uar_high, and the listeners' uar.

    Args:
        votes: the listeners' majority vote by clip.
    """
    scores = {}
    for name, rows in [("all", predictions), *predictions.groupby("sex")]:
        voted = rows.assign(vote=rows["clip"].map(votes)).dropna(subset="vote")
        scores[str(name)] = {
            "uar": metrics.headline(rows)["uar"],
            **metrics.intervals(rows, n_resamples, seed),
            "listeners": metrics.human_uar(voted["label"], voted["vote"]) if len(voted) else None,
        }
    columns = ["uar", "uar_low", "uar_high", "listeners"]
    return pd.DataFrame.from_dict(scores, orient="index").reindex(columns=columns).astype(float)


def _mean_count(mean: float) -> str:
    """Returns a mean of counts with one decimal, if it is not whole.

    >>> [_mean_count(mean) for mean in (24.0, 2.53, 0.04, 0.0)]
    ['24', '2.5', '<0.1', '0']
    """
    return "<0.1" if 0 < mean < 0.05 else f"{mean:.1f}".removesuffix(".0")


def of_split(splits: Splits) -> dict[str, Table]:
    """Returns the clips and speakers of each role: means over folds, and fold by fold.

    Roles are columns: there are at most three, and any number of emotions.
    """
    counted = splits.counts.reset_index()
    n_clips = counted.pivot_table("count", "fold", "role", aggfunc="sum", fill_value=0)
    present = [role for role in tables.ROLES if role in n_clips]
    short = _short(splits.clips["speaker"])
    sexes, names = [], []
    for rows in splits:
        speakers = rows.assign(speaker=short).drop_duplicates(["role", "speaker"])
        sexes.append(pd.crosstab(speakers["role"], speakers["sex"].fillna(UNKNOWN)))
        names.append(_names(speakers.loc[speakers["role"] == "test", "speaker"]))
    n_speakers = pd.concat(sexes).groupby("role").sum()
    counts: list[pd.DataFrame | pd.Series] = [
        n_clips.sum().rename("clips"),
        n_speakers.sum(axis="columns").rename("speakers"),
        n_speakers,
        counted.pivot_table("count", "role", "label", aggfunc="sum", fill_value=0),
    ]
    roles = pd.concat(counts, axis=1).loc[present].T.rename_axis("mean over folds") / splits.n_folds
    means = roles.map(_mean_count)
    folds = n_clips[present].assign(**{"test speakers": names})
    return {
        "roles": table(means, "Clips and speakers of each role"),
        "folds": table(folds, "Clips of each fold"),
    }


def _short(speakers: pd.Series) -> pd.Series:
    """Returns the speakers, without their corpus if it is the same for all."""
    parts = speakers.str.split("/", n=1)
    return parts.str[1] if len(parts.str[0].unique()) == 1 else speakers


def _names(speakers: pd.Series) -> str:
    """Returns the speakers' names, or their number if there are many."""
    names = sorted(speakers.unique())
    return ", ".join(names) if len(names) <= MOST_NAMED else f"{len(names)} speakers"


def of_recordings(manifest: pd.DataFrame) -> dict[str, Table]:
    """Returns the recordings by corpus, emotion, sex and intensity, and why others were excluded."""
    clips, excluded = manifest[manifest["problem"] == ""], manifest[manifest["problem"] != ""]
    corpus = (clips["corpus"] + ", " + clips["channel"]).rename("corpus")
    corpora = clips.groupby(corpus).agg(
        clips=("clip", "size"),
        speakers=("speaker", "nunique"),
        sentences=("sentence", "nunique"),
        minutes=("duration_s", lambda seconds: f"{seconds.sum() / 60:.1f}"),
        median=("duration_s", lambda seconds: f"{seconds.median():.2f} s"),
    )
    reason = excluded["problem"].str.split(":").str[0].rename("reason")
    return {
        "corpora": table(corpora, "Usable recordings"),
        "by_emotion": table(pd.crosstab(clips["emotion"], corpus), "Clips by emotion"),
        "by_sex": table(pd.crosstab(corpus, clips["sex"].fillna(UNKNOWN)), "Clips by sex of the speaker"),
        "by_intensity": table(pd.crosstab(corpus, clips["intensity"]), "Clips by intensity"),
        "excluded": table(pd.crosstab(excluded["corpus"], reason), "Excluded files, by reason"),
    }


def of_examples(clips: pd.DataFrame) -> dict[str, Table]:
    """Returns the recordings that figures show."""
    durations = clips["duration_s"].map("{:.2f} s".format)
    shown = clips.assign(duration=durations).set_index("emotion")[["clip", "intensity", "duration"]]
    return {"shown": table(shown, "Clips shown")}
