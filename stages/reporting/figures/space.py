"""Figures of the data page: recordings by corpus and speaker, measures by label, and clips in the plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from stages.reporting.clip_space import MEASURES, Points
from stages.reporting.figures.style import BLUE, GREY, INK, PALE, VERMILION, Picture, canvas, picture, styled

BY_CORPUS = ("duration_s", "level_dbfs", "bandwidth_hz", "level_range_db")
N_SHOWN = 4  # measures
MARKERS = "os^DvP*X<>"
BOX: dict[str, Any] = {
    "whis": (5, 95),
    "showfliers": False,
    "medianprops": {"color": VERMILION, "linewidth": 2},
    "boxprops": {"color": INK},
    "whiskerprops": {"color": GREY},
    "capprops": {"color": GREY},
}


@styled
def by_corpus(measures: pd.DataFrame, corpora: pd.Series) -> Picture:
    """Returns a box per corpus for each of BY_CORPUS: quartiles, median, 5th and 95th percentile."""
    names = [name for name in BY_CORPUS if name in measures]
    return _boxes(measures[names], corpora, "corpora", "Recordings of each corpus")


@styled
def by_label(measures: pd.DataFrame, labels: pd.Series) -> Picture:
    """Returns a box per label for each measure."""
    return _boxes(measures, labels, "measures", "What differs most between labels")


def _boxes(measures: pd.DataFrame, groups: pd.Series, name: str, title: str) -> Picture:
    names, kinds = [*map(str, measures)], sorted(groups.unique())
    figure, axes = canvas(0.5 + len(names) * (0.75 + 0.24 * len(kinds)), rows=len(names))
    medians = []
    for own, measure in zip(axes, names, strict=True):
        values = measures[measure].reset_index(drop=True)
        of_kind = [values[(groups == kind).to_numpy()].dropna() for kind in kinds]
        own.boxplot(of_kind, orientation="horizontal", tick_labels=kinds, widths=0.6, **BOX)
        own.invert_yaxis()
        own.set_xlabel(MEASURES[measure])
        own.tick_params(axis="y", length=0)
        parts = [f"{kind} {part.median():.3g}" for kind, part in zip(kinds, of_kind, strict=True)]
        medians.append(f"{MEASURES[measure]}: {', '.join(parts)}")
    return picture(figure, name, title, f"{title}, medians. {'; '.join(medians)}.")


@styled
def by_speaker(measures: pd.DataFrame, corpora: pd.Series, speakers: pd.Series) -> Picture:
    """Returns each speaker's median of BY_CORPUS, sorted, with the 5th and 95th percentile as a bar."""
    names = [name for name in BY_CORPUS if name in measures]
    figure, axes = canvas(0.6 + 1.7 * len(names), rows=len(names))
    spreads = []
    for own, measure in zip(axes, names, strict=True):
        values = measures[measure].reset_index(drop=True).groupby(speakers.to_numpy())
        ends = {"low": values.quantile(0.05), "median": values.median(), "high": values.quantile(0.95)}
        table = pd.DataFrame(ends).sort_values("median")
        colours = dict(zip(sorted(corpora.unique()), _colours(corpora.nunique()), strict=True))
        corpus = pd.Series(corpora.to_numpy(), index=speakers.to_numpy()).groupby(level=0).first()
        colour = [colours[corpus[speaker]] for speaker in table.index]
        own.vlines(range(len(table)), table["low"], table["high"], color=PALE, linewidth=1.5)
        own.scatter(range(len(table)), table["median"], s=14, c=colour, zorder=3)
        own.set(xticks=[])
        own.set_ylabel(MEASURES[measure].replace(", ", ",\n", 1), fontsize=8)
        spreads.append(f"{MEASURES[measure]}: {table['median'].min():.3g} to {table['median'].max():.3g}")
    axes[-1].set_xlabel("speakers, each panel in its own order")
    title = "Recordings of each speaker"
    return picture(figure, "by_speaker", title, f"{title}, range of medians. {'; '.join(spreads)}.")


@styled
def beside(places: Points, labels: pd.Series, speakers: pd.Series, summary: str) -> Picture:
    """Returns the clips in the plane twice: coloured by label, and by speaker."""
    title = "Clips by label, and the same clips by speaker"
    figure, axes = canvas(6.6, rows=2)
    _points(axes[0], places, labels, "by label", MARKERS)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", markerscale=2, fontsize=8)
    _points(axes[1], places, speakers, f"by speaker ({speakers.nunique()})", "o")
    return picture(figure, "space", title, f"{title}. {summary}", "png")


def _points(axes: Axes, places: Points, groups: pd.Series, title: str, markers: str) -> None:
    kinds: Sequence[str] = sorted(groups.unique())
    for number, (kind, colour) in enumerate(zip(kinds, _colours(len(kinds)), strict=True)):
        own = places[(groups == kind).to_numpy()]
        marker = markers[number % len(markers)]
        axes.scatter(own[:, 0], own[:, 1], s=7, color=colour, marker=marker, linewidth=0, label=kind)
    axes.set(xticks=[], yticks=[], aspect="equal")
    axes.set_title(title, fontsize=9)
    for side in axes.spines.values():
        side.set_visible(False)


def _colours(n: int) -> list[Any]:
    """Returns `n` colours that differ: Okabe & Ito's first, else evenly over a colour map."""
    first = [BLUE, VERMILION, "#009E73", "#CC79A7", "#E69F00", INK, "#56B4E9", "#8c8c8c"]
    return first[:n] if n <= len(first) else [*matplotlib.colormaps["turbo"](np.linspace(0.02, 0.98, n))]
