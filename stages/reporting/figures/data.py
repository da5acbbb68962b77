"""Figures of the recordings as a whole."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stages.data.vocabulary import SEXES
from stages.reporting.figures.style import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    VERMILION,
    Picture,
    canvas,
    picture,
    styled,
)

N_BINS = 40
LINES = [(INK, "-"), (VERMILION, "--"), (BLUE, ":"), (GREY, "-."), (ORANGE, (0, (5, 1)))]


@styled
def emotions(clips: pd.DataFrame) -> Picture:
    """Returns the number of clips of each emotion, stacked by sex.

    Args:
        clips: columns emotion and sex.
    """
    sexes = [*SEXES, *(["unknown"] if clips["sex"].isna().any() else [])]
    counts = pd.crosstab(clips["emotion"], clips["sex"].fillna("unknown"))
    counts = counts.reindex(columns=sexes, fill_value=0)
    figure, (axes,) = canvas(0.8 + 0.32 * len(counts) + 0.6)
    looks = {"female": (ORANGE, "///"), "male": (BLUE, ""), "unknown": (GREY, "..")}
    start = np.zeros(len(counts))
    for sex in sexes:
        colour, hatch = looks[sex]
        axes.barh(
            counts.index, counts[sex], left=start, label=sex, edgecolor="white", color=colour, hatch=hatch
        )
        start += counts[sex].to_numpy()
    axes.set_xlim(0, start.max() * 1.12)
    for row, total in enumerate(start):
        axes.annotate(
            f"{total:.0f}", (total, row), (3, 0), textcoords="offset points", va="center", fontsize=9
        )
    axes.invert_yaxis()
    axes.set(xlabel="clips")
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside lower right", ncols=2)
    listed = ", ".join(f"{name} {total:.0f}" for name, total in zip(counts.index, start, strict=True))
    return picture(figure, "emotions", "Clips of each emotion", f"Clips of each emotion: {listed}.")


@styled
def durations(clips: pd.DataFrame) -> Picture:
    """Returns the distribution of durations, a line per corpus and channel.

    Args:
        clips: columns corpus, channel and duration_s.
    """
    figure, (axes,) = canvas(3.0)
    ends = np.linspace(0, clips["duration_s"].max(), N_BINS + 1)
    ranges = []
    for number, ((corpus, channel), rows) in enumerate(clips.groupby(["corpus", "channel"])):
        colour, dashes = LINES[number % len(LINES)]
        count, _ = np.histogram(rows["duration_s"], ends)
        axes.stairs(count, ends, color=colour, linestyle=dashes, linewidth=1.5, label=f"{corpus}, {channel}")
        shortest, median, longest = rows["duration_s"].quantile([0, 0.5, 1])
        ranges.append(f"{corpus} {channel}: {shortest:.1f} to {longest:.1f} s, median {median:.1f} s")
    axes.set(xlabel="duration, s", ylabel="clips", ylim=(0, None))
    figure.legend(loc="outside lower right", ncols=2)
    return picture(figure, "durations", "Durations of clips", f"Durations. {'; '.join(ranges)}.")
