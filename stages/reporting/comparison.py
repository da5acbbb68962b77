"""A comparison of two revisions as text, Markdown and JSON."""

from __future__ import annotations

import json
import textwrap
from functools import partial

import pandas as pd

from stages.evaluation import metrics, paired
from stages.evaluation.comparison import Comparison, Revision
from stages.learning.normalization import statistics
from stages.reporting.page import escaped
from stages.splitting import leak


def text(comparison: Comparison) -> str:
    """Returns the comparison for a terminal of 80 columns."""
    wrap = partial(textwrap.fill, width=80)
    parts = [
        wrap(verdict(comparison)),
        wrap(subject(comparison)),
        table(scores(comparison), "simple"),
        wrap(remarks(comparison)),
        table(changes(comparison.emotions), "simple"),
        table(changes(comparison.speakers), "simple"),
    ]
    return "\n\n".join(parts)


def markdown(comparison: Comparison) -> str:
    """Returns the comparison for a pull request: the verdict first; confusions and speakers are collapsed."""
    parts = [
        f"**{verdict(comparison)}**",
        escaped(subject(comparison)),
        table(scores(comparison), "github"),
        remarks(comparison),
        table(changes(comparison.emotions).map(escaped), "github"),
        "<details><summary>Confusion matrix of B: predicted labels in % of each true label</summary>",
        table(confusion(comparison.b.predictions).map(escaped).rename(columns=escaped), "github"),
        "</details>",
        "<details><summary>By speaker</summary>",
        table(changes(comparison.speakers).map(escaped), "github"),
        "</details>",
    ]
    return "\n\n".join(parts)


def as_json(comparison: Comparison) -> str:
    """Returns the verdict and all numbers, unrounded."""
    values = {"verdict": verdict(comparison), **comparison.as_dict()}
    return json.dumps(values, indent=2, allow_nan=False)


def verdict(comparison: Comparison) -> str:
    """Returns one line on UAR."""
    uar = comparison.metrics["uar"]
    numbers = (
        f"UAR {uar.a:.3f} -> {uar.b:.3f}, difference {uar.difference:+.3f} "
        f"[{uar.low:+.3f}, {uar.high:+.3f}], p {p_value(uar.p_value)}"
    )
    if uar.significant:
        return f"{numbers}: {direction('uar', uar)}"
    if not uar.difference:
        return f"{numbers}: no difference"
    return (
        f"{numbers}: no significant difference for these {comparison.n_speakers} speakers; {detectable(uar)}"
    )


def detectable(difference: paired.Difference) -> str:
    """Returns the smallest detectable difference, or why there is none, in a phrase."""
    if difference.smallest_p_value >= paired.SIGNIFICANCE:
        return (
            f"none can be significant, because so few speakers give no p below "
            f"{difference.smallest_p_value:.3g}"
        )
    if difference.detectable is None:
        return "all speakers differ equally, so no smallest detectable difference is known"
    return f"smallest detectable with 80 % power {difference.detectable:.3f}"


def direction(name: str, difference: paired.Difference) -> str:
    """Returns whether B is better or worse than A, or "" if the difference is not significant."""
    if not difference.significant:
        return ""
    return "better" if (difference.difference < 0) == (name in paired.LOWER_IS_BETTER) else "worse"


def subject(comparison: Comparison) -> str:
    """Returns what is compared, and whatever makes its scores too high."""
    protocol = str(comparison.a.params.get("split.protocol"))
    leaky = ", test speakers are in the training data" if leak.leaky(protocol) else ""
    pooled = ", all corpora's clips together" if protocol in metrics.MEANS_OF_CORPORA else ""
    folds = f"{comparison.n_folds} fold{'s' * (comparison.n_folds > 1)}"
    return (
        f"A is {described(comparison.a)}, B is {described(comparison.b)}. Both are tested on "
        f"{comparison.n_clips} clips of {comparison.n_speakers} speakers in {folds} "
        f"({protocol}{leaky}{pooled})."
    )


def described(revision: Revision) -> str:
    """Returns a revision's name, model and number of training seeds if there are several."""
    train = {key.removeprefix("train."): value for key, value in revision.params.items()}
    used = statistics(train)
    known = "" if used == "none" else f", statistics of test clips: {used}"
    seeds = f", {revision.n_seeds} training seeds" if revision.n_seeds > 1 else ""
    return f"{revision.name} ({train.get('model')}{seeds}{known})"


def scores(comparison: Comparison) -> pd.DataFrame:
    """Returns a row per metric, as text."""
    rows = [
        (
            name,
            f"{metric.a:.3f}",
            f"{metric.b:.3f}",
            f"{metric.difference:+.3f}",
            f"[{metric.low:+.3f}, {metric.high:+.3f}]",
            p_value(metric.p_value).removeprefix("= "),
            direction(name, metric),
        )
        for name, metric in comparison.metrics.items()
    ]
    return pd.DataFrame(rows, columns=["metric", "A", "B", "B - A", "95 % interval", "p", "B is"])


def remarks(comparison: Comparison) -> str:
    """Returns how to read the table of scores, and McNemar's test."""
    emotions = comparison.emotions
    uar = comparison.metrics["uar"]
    n_lost, n_gained = emotions["right_to_wrong"].sum(), emotions["wrong_to_right"].sum()
    by_swaps = "from swapping the two models' predictions speaker by speaker"
    return (
        f"{variation(comparison)} p-values are {by_swaps}"
        f"{'' if uar.seeds_error is None else ', or from Student’s t with both sources if that is larger'}; "
        f"the smallest possible here is {uar.smallest_p_value:.2g}. UAR: {detectable(uar)}. {n_lost} "
        f"clips become wrong and {n_gained} become right: McNemar's exact test, which treats clips as "
        f"independent, p {p_value(comparison.mcnemar_p_value)}."
    )


def variation(comparison: Comparison) -> str:
    """Returns which sources of variation intervals and p-values contain, with the standard errors of UAR."""
    uar = comparison.metrics["uar"]
    if uar.seeds_error is None:
        return "Intervals and p-values show variation between speakers, not between training runs."
    single = [name for name, each in (("A", comparison.a), ("B", comparison.b)) if each.n_seeds == 1]
    missing = f" Not that of {single[0]}, which was trained with one seed." if single else ""
    return (
        f"Intervals and p-values show variation between speakers (standard error of UAR "
        f"{uar.speakers_error:.3f}) and between training seeds ({uar.seeds_error:.3f}).{missing}"
    )


def changes(flips: pd.DataFrame) -> pd.DataFrame:
    """Returns a table of `paired.flips` as text."""
    accuracies = {name: flips[name].map("{:.3f}".format) for name in ("a", "b")}
    names = {"a": "A right", "b": "B right", "right_to_wrong": "now wrong", "wrong_to_right": "now right"}
    return flips.assign(**accuracies).rename(columns=names)


def confusion(predictions: pd.DataFrame) -> pd.DataFrame:
    """Returns a row per true label that has clips and a column per predicted one, in % of the row."""
    classes = metrics.class_names(predictions)
    rows = [
        (name, *(f"{100 * n / counts.sum():.0f}" for n in counts))
        for name, counts in zip(classes, metrics.confusions(predictions).sum(axis=0), strict=True)
        if counts.any()
    ]
    return pd.DataFrame(rows, columns=["true label", *classes])


def table(rows: pd.DataFrame, layout: str) -> str:
    """Returns `rows` of text in one of tabulate's layouts, the first column aligned to the left."""
    alignment = ["left", *["right"] * (rows.shape[1] - 1)]
    return rows.to_markdown(index=False, tablefmt=layout, colalign=alignment, disable_numparse=True)


def p_value(value: float) -> str:
    """Returns `= 0.012`, or `< 0.001` for smaller values."""
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"
