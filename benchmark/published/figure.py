"""The benchmark's figure: accuracy as reported, here with the report's split, and here with new speakers."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from benchmark.published.page import Entry
from stages.reporting.figures.style import BLUE, GREY, INK, PALE, VERMILION, Picture, canvas, picture, styled

TITLE = "Sixteen published systems, and new speakers"


@styled
def draw(entries: Sequence[Entry]) -> Picture:
    """Returns a figure with one line per system: three accuracies and the majority-class baseline."""
    figure, (axes,) = canvas(1.6 + 0.34 * len(entries))
    for place, entry in enumerate(entries):
        _line(axes, place, entry)
    letters = [entry.report for entry in entries]
    for place in range(1, len(entries)):
        if letters[place] != letters[place - 1]:
            axes.axhline(place - 0.5, color=PALE, linewidth=0.8)
    axes.set_yticks(
        range(len(entries)), [f"{entry.name.replace('_', ' ')}\n{entry.corpus}" for entry in entries]
    )
    axes.tick_params(axis="y", length=0, labelsize=7)
    axes.set(xlim=(0, 102), ylim=(len(entries) - 0.4, -0.6), xlabel="accuracy, %")
    axes.grid(visible=True, axis="x")
    handles = {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2)
    summaries = [f"{entry.name}: {entry.summary()}" for entry in entries]
    return picture(figure, "benchmark", TITLE, f"{TITLE}. {'; '.join(summaries)}.", "png")


def _line(axes: Axes, place: int, entry: Entry) -> None:
    """Draws one system's marks."""
    reported, leaky, new_speakers = entry.reported, entry.report_split, entry.new_speakers
    ends = [row.percent("accuracy") for row in (leaky, new_speakers) if row.ran]
    if len(ends) == 2:
        axes.plot(ends, [place, place], color=PALE, linewidth=3, solid_capstyle="round", zorder=1)
    if reported is not None:
        axes.plot(reported, place, "D", color=INK, markerfacecolor="none", label="reported", zorder=3)
    if leaky.ran:
        axes.plot(
            leaky.percent("accuracy"), place, "o", color=VERMILION, label="here, the report's split", zorder=3
        )
    if new_speakers.ran:
        axes.plot(
            new_speakers.percent("accuracy"), place, "s", color=BLUE, label="here, new speakers", zorder=4
        )
        if new_speakers.text("accuracy_low"):
            interval = [new_speakers.percent("accuracy_low"), new_speakers.percent("accuracy_high")]
            axes.plot(interval, [place, place], color=BLUE, linewidth=1.2, label="95 % interval", zorder=2)
        axes.plot(
            new_speakers.percent("majority"), place, "|", color=GREY, markersize=11, label="majority class"
        )
    if not (leaky.ran or new_speakers.ran):
        axes.annotate(leaky.text("status"), (1, place), va="center", fontsize=7, color=GREY)
