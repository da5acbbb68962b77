"""Figure of a search: validation UAR by trial and by each parameter."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pandas as pd
from matplotlib.ticker import MaxNLocator, NullFormatter

from stages.reporting.figures.style import BLUE, GREY, VERMILION, Picture, canvas, picture, styled

ROW_IN = 1.9  # height of each part
MOST_NAMED = 24  # characters of a choice

Scale = Literal["linear", "log", "choice"]


@styled
def search(trials: pd.DataFrame, best: int, parameters: Mapping[str, tuple[Scale, Sequence[Any]]]) -> Picture:
    """Returns validation UAR by trial, with the best so far, and by each parameter.

    Args:
        trials: columns trial, uar, which is NaN if the trial failed, and each parameter.
        best: number of the best trial.
        parameters: scale of each, and its lowest and highest value or its choices.
    """
    scored = trials.dropna(subset="uar")
    top = scored[scored["trial"] == best]
    figure, axes = canvas(ROW_IN * (1 + len(parameters)) + 0.3, rows=1 + len(parameters), sharey=True)
    axes[0].step(scored["trial"], scored["uar"].cummax(), where="post", color=GREY, linewidth=1)
    axes[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    for place, key in zip(axes, ["trial", *parameters], strict=True):
        scale, ends = parameters.get(key, ("linear", []))
        for rows, mark, colour in ((scored, "o", BLUE), (top, "D", VERMILION)):
            x = [ends.index(value) for value in rows[key]] if scale == "choice" else rows[key]
            place.plot(x, rows["uar"], mark, color=colour, markersize=5, markerfacecolor="none")
        if scale == "choice":
            names = [textwrap.shorten(str(end), MOST_NAMED, placeholder=" ...") for end in ends]
            place.set_xticks(range(len(ends)), names)
            place.set_xlim(-0.5, len(ends) - 0.5)
        if scale == "log":
            place.set(xscale="log", xlim=(ends[0] * 0.9, ends[1] * 1.1))
            place.xaxis.set_major_formatter("{x:g}")
            place.xaxis.set_minor_formatter(NullFormatter())
        place.set(xlabel="trial; the line is the best so far" if key == "trial" else key, ylabel="UAR")
        place.grid(visible=True, axis="y")
    (row,) = top.to_dict("records")
    values = ", ".join(f"{key} {row[key]}" for key in parameters)
    alt = f"Validation UAR of {len(scored)} trials; the best is {row['uar']:.3f}, of trial {best}: {values}."
    return picture(figure, "search", f"Validation UAR of {len(scored)} trials", alt, suffix="png")
