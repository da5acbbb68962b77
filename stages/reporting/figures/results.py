"""Figures of predictions and training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from stages.reporting.figures.style import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    VERMILION,
    Picture,
    canvas,
    level,
    picture,
    styled,
)

MOST_NAMED = 32  # speakers whose names fit on the axis
MARKS = {"female": ("o", VERMILION), "male": ("s", BLUE), "unknown": ("D", GREY)}


@styled
def confusion(counts: NDArray[np.int64], classes: Sequence[str], *, normalized: bool) -> Picture:
    """Returns the confusion matrix, truth by prediction.

    Args:
        counts: (n_classes, n_classes).
        normalized: whether each row is divided by its sum.
    """
    support = counts.sum(axis=1, keepdims=True)
    fractions = counts / np.maximum(support, 1)
    figure, (axes,) = canvas(4.4)
    name = "confusion_normalized" if normalized else "confusion_counts"
    hints = {}
    for (row, column), value in np.ndenumerate(fractions):
        cell = Rectangle((column - 0.5, row - 0.5), 1, 1, linewidth=0, antialiased=False)
        cell.set(facecolor=colormaps["Blues"](value), gid=f"cell-{row}-{column}")
        axes.add_patch(cell)
        hints[str(cell.get_gid())] = (
            f"{classes[row]}: {counts[row, column]} of {support[row, 0]} predicted as {classes[column]}"
        )
        text = f"{value:.2f}".removeprefix("0") if normalized else str(counts[row, column])
        axes.text(
            column, row, text, ha="center", va="center", color="white" if value > 0.6 else INK, fontsize=9
        )
    ends = (-0.5, len(classes) - 0.5)
    axes.set(xlim=ends, ylim=ends[::-1], aspect="equal")
    axes.set_xticks(range(len(classes)), classes, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), classes)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="predicted emotion", ylabel="acted emotion")
    title = "Confusion matrix, fraction of each row" if normalized else "Confusion matrix, number of clips"
    rows = "; ".join(_confused(counts, classes, row) for row in range(len(classes)) if support[row, 0])
    return picture(figure, name, title, f"{title}. {rows}.", hints=hints)


def _confused(counts: NDArray[np.int64], classes: Sequence[str], row: int) -> str:
    """Returns `anger: 77 of 96 correct, 9 predicted as happiness`, the most frequent mistake."""
    wrong = counts[row].copy()
    wrong[row] = 0
    text = f"{classes[row]}: {counts[row, row]} of {counts[row].sum()} correct"
    return f"{text}, {wrong.max()} predicted as {classes[wrong.argmax()]}" if wrong.any() else text


@styled
def speakers(scores: pd.DataFrame, chance: float) -> Picture:
    """Returns each speaker's uar as a dot, lowest first.

    Args:
        scores: columns speaker, sex and uar.
    """
    ordered = scores.sort_values(["uar", "speaker"], ignore_index=True)
    mean = float(ordered["uar"].mean())
    figure, (axes,) = canvas(3.6)
    hints = {}
    for sex, rows in ordered.groupby("sex"):
        marker, colour = MARKS[str(sex)]
        for place, speaker, uar in zip(rows.index, rows["speaker"], rows["uar"], strict=True):
            (mark,) = axes.plot(place, uar, marker, color=colour, markersize=5, markerfacecolor="none")
            mark.set_gid(f"speaker-{place}")
            hints[f"speaker-{place}"] = f"{speaker}: {uar:.2f}"
        mark.set_label(str(sex))  # one entry of the legend for all
    level(axes, mean, f"mean {mean:.2f}", "-")
    level(axes, chance, f"chance {chance:.3f}")
    axes.set(ylim=(0, 1.02), ylabel="UAR", xlabel="speaker, lowest first")
    named = len(ordered) <= MOST_NAMED
    axes.set_xticks(
        ordered.index if named else [], ordered["speaker"] if named else [], rotation=90, fontsize=8
    )
    axes.margins(x=0.03)
    axes.grid(visible=True, axis="y")
    figure.legend(loc="outside lower right", ncols=3)
    low, high = ordered.iloc[0], ordered.iloc[-1]
    alt = (
        f"UAR of {len(ordered)} speakers, sorted: from {low['uar']:.2f} ({low['speaker']}) to "
        f"{high['uar']:.2f} ({high['speaker']}); mean {mean:.2f}, chance {chance:.3f}."
    )
    return picture(figure, "speakers", "UAR by speaker", alt, hints=hints)


@styled
def sexes(scores: pd.DataFrame, chance: float) -> Picture:
    """Returns bars of the uar of all speakers and of each sex, beside human listeners' if there are votes.

    Args:
        scores: a row each, named by the index; columns uar, uar_low, uar_high and listeners, NaN if
            unknown.
    """
    figure, (axes,) = canvas(3.2)
    voted = scores["listeners"].notna().any()
    width = 0.38 if voted else 0.55
    places = np.arange(len(scores)) - (width / 2 if voted else 0)
    axes.bar(places, scores["uar"], width, color=BLUE, label="model")
    axes.errorbar(
        places, scores["uar"], _reach(scores), fmt="none", ecolor=INK, capsize=4, label="95 % interval"
    )
    if voted:
        axes.bar(
            places + width, scores["listeners"], width, color="white", edgecolor=VERMILION, hatch="///",
            label="listeners",
        )  # fmt: skip
    level(axes, chance, f"chance {chance:.3f}")
    axes.set_xticks(range(len(scores)), [str(group) for group in scores.index])
    axes.set(ylim=(0, 1.02), xlim=(-0.5, len(scores) + 0.1), ylabel="UAR", xlabel="speakers")
    axes.grid(visible=True, axis="y")
    figure.legend(loc="outside lower right", ncols=3)
    groups = [_described(str(group), row) for group, row in scores.iterrows()]
    return picture(figure, "sexes", "UAR by sex", f"UAR by sex. {'; '.join(groups)}; chance {chance:.3f}.")


def _described(group: str, scores: pd.Series) -> str:
    """Returns `female: model 0.53 (0.44 to 0.62), listeners 0.43`."""
    text = f"{group}: model {scores['uar']:.2f}"
    if pd.notna(scores["uar_low"]):
        text += f" ({scores['uar_low']:.2f} to {scores['uar_high']:.2f})"
    if pd.notna(scores["listeners"]):
        text += f", listeners {scores['listeners']:.2f}"
    return text


@styled
def reliability(bins: pd.DataFrame, ece: float) -> Picture:
    """Returns the reliability diagram, with the number of clips below.

    Args:
        bins: columns confidence, accuracy and n_clips (`metrics.reliability`).
        ece: expected calibration error.
    """
    figure, (above, below) = canvas(4.6, 2, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1, label="perfect calibration")
    above.vlines(
        bins["confidence"], bins["confidence"], bins["accuracy"], color=ORANGE, linewidth=3, label="gap"
    )
    above.plot(bins["confidence"], bins["accuracy"], color=BLUE, linewidth=1)
    sizes = 10 + 90 * bins["n_clips"] / bins["n_clips"].max()
    above.scatter(bins["confidence"], bins["accuracy"], sizes, color=BLUE, zorder=3, label="this model")
    above.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="accuracy")
    above.grid(visible=True, axis="both")
    below.bar(bins["confidence"], bins["n_clips"], width=0.04, color=GREY)
    below.set(xlabel="confidence", ylabel="clips")
    figure.legend(loc="outside lower right", ncols=3)
    points = ", ".join(f"{row.accuracy:.2f} at {row.confidence:.2f}" for row in bins.itertuples())
    alt = f"Accuracy against confidence, expected calibration error {ece:.3f}: {points}."
    return picture(figure, "reliability", f"Reliability diagram, calibration error {ece:.3f}", alt)


@styled
def risk_coverage(curve: pd.DataFrame) -> Picture:
    """Returns the risk-coverage curve.

    Args:
        curve: columns coverage and risk (`metrics.risk_coverage`).
    """
    figure, (axes,) = canvas(3.2)
    overall = float(curve["risk"].iloc[-1])
    axes.plot(curve["coverage"], curve["risk"], color=BLUE, linewidth=1.5)
    level(axes, overall, f"all clips {overall:.2f}")
    axes.set(
        xlim=(0, 1), ylim=(0, 1.02), ylabel="fraction wrong", xlabel="fraction kept, most confident first"
    )
    axes.grid(visible=True, axis="both")
    half = float(np.interp(0.5, curve["coverage"], curve["risk"]))
    alt = f"Fraction wrong by fraction kept: {half:.2f} of the more confident half, {overall:.2f} of all."
    return picture(figure, "risk_coverage", "Risk and coverage", alt)


@styled
def learning_curves(history: pd.DataFrame) -> Picture:
    """Returns loss and validation uar by epoch, a thin line per fold and seed, and their mean.

    Args:
        history: columns fold, seed, epoch, loss, val_loss and val_uar, at least one row.
    """
    figure, (above, below) = canvas(4.6, 2, sharex=True)
    _curves(above, history, "loss", INK, "-", "training")
    _curves(above, history, "val_loss", VERMILION, "--", "validation")
    _curves(below, history, "val_uar", VERMILION, "--", "validation")
    above.set(ylabel="loss, nats")
    below.set(ylabel="UAR", xlabel="epoch", ylim=(0, 1.02))
    below.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (above, below):
        axes.grid(visible=True, axis="y")
    figure.legend(*above.get_legend_handles_labels(), loc="outside lower right", ncols=2)
    lasts = history.groupby(["fold", "seed"])["epoch"].max() + 1
    alt = (
        f"Loss and validation UAR by epoch, trainings: {len(lasts)}. Training stops between epochs "
        f"{lasts.min()} and {lasts.max()}; the lowest training loss is {history['loss'].min():.2f}."
    )
    return picture(figure, "learning_curves", "Learning curves", alt)


def _curves(axes: Axes, history: pd.DataFrame, column: str, colour: str, dashes: str, label: str) -> None:
    """Draws a column of each training as a thin line, and their mean, up to where the first of them stops.

    A mean over those still in training would jump wherever one stops.
    """
    table = history.pivot_table(column, "epoch", ["fold", "seed"])
    mean = table.dropna().mean(axis=1)
    axes.plot(table.index, table, color=colour, linewidth=0.6, alpha=0.5)
    axes.plot(mean.index, mean, dashes, color=colour, linewidth=1.8, label=label)


@styled
def enrolment(curve: pd.DataFrame) -> Picture:
    """Returns uar by the number of other clips of the test speaker that are known, with its interval.

    Args:
        curve: columns clips, uar, uar_low and uar_high (metrics/enrolment.csv).
    """
    figure, (axes,) = canvas(3.2)
    places = range(len(curve))
    axes.errorbar(
        places, curve["uar"], _reach(curve), fmt="o-", color=BLUE, ecolor=GREY, capsize=4, markersize=5
    )
    axes.set_xticks(places, [str(clips) for clips in curve["clips"]])
    axes.set(ylim=(0, 1.02), ylabel="UAR", xlabel="other clips of the test speaker, without labels")
    axes.grid(visible=True, axis="y")
    points = ", ".join(f"{row.uar:.2f} with {row.clips}" for row in curve.itertuples())
    alt = f"UAR by the number of clips that a test speaker is enrolled with: {points}."
    return picture(figure, "enrolment", "Enrolment", alt)


@styled
def leak_inflation(scores: pd.DataFrame, chance: float, subject: str) -> Picture:
    """Returns one model's uar under a leaky protocol and under a speaker-independent one.

    Args:
        scores: the leaky protocol, the other one and their difference, named by the index; columns uar,
            uar_low and uar_high.
    """
    shown = scores.iloc[:2]
    leaky, independent, inflation = scores["uar"]
    figure, (axes,) = canvas(3.6)
    axes.bar(
        [0, 1], shown["uar"], 0.55, color=["white", BLUE], hatch=["///", ""], edgecolor=[VERMILION, BLUE]
    )
    axes.errorbar([0, 1], shown["uar"], _reach(shown), fmt="none", ecolor=INK, capsize=5)
    for place, value in enumerate(shown["uar"]):
        box = {"facecolor": "white", "edgecolor": "none", "pad": 2}
        axes.text(place, value / 2, f"{value:.2f}", ha="center", va="center", weight="bold", bbox=box)
    axes.hlines([leaky, independent], [0, 1], 1.5, color=GREY, linestyle=":", linewidth=1, zorder=0)
    axes.annotate("", (1.45, leaky), (1.45, independent), arrowprops={"arrowstyle": "<->", "color": INK})
    axes.text(
        1.52, (leaky + independent) / 2, f"leak inflation\n{inflation:+.2f}", va="center", weight="bold"
    )
    level(axes, chance, f"chance {chance:.3f}")
    names = [str(name).replace("_", " ") for name in shown.index]
    axes.set_xticks(
        [0, 1], [f"{names[0]}:\ntest speakers\nin training", f"{names[1]}:\ntest speakers\nnot in training"]
    )
    axes.set(ylim=(0, 1.02), xlim=(-0.5, 2.45), ylabel="UAR")
    axes.grid(visible=True, axis="y")
    title = f"Same model and features: {subject}"
    alt = (
        f"{title}. UAR {leaky:.2f} under {names[0]}, {independent:.2f} under {names[1]}, chance {chance:.3f}."
    )
    return picture(figure, "leak", title, alt, "png")


def _reach(scores: pd.DataFrame) -> NDArray[np.float64]:
    """Returns how far each interval reaches down and up: (2, n), NaN if there is none."""
    ends = scores[["uar_low", "uar_high"]].to_numpy(dtype=float)
    return np.asarray(np.abs(ends - scores[["uar"]].to_numpy(dtype=float)).T)
