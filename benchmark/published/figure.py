"""The benchmark's figure: accuracy as reported, here with the report's split, and here with new speakers."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from benchmark.published.page import Entry, corpora_of
from stages.reporting.figures.style import BLUE, GREY, INK, PALE, VERMILION, Picture, canvas, picture, styled

TITLE = "Sixteen published systems, and new speakers"


@styled
def draw(entries: Sequence[Entry]) -> Picture:
    """Returns a figure with one line per system: three accuracies and the majority-class baseline."""
    figure, (axes,) = canvas(1.6 + 0.36 * len(entries))
    for place, entry in enumerate(entries):
        _line(axes, place, entry)
    letters = [entry.report for entry in entries]
    for place in range(1, len(entries)):
        if letters[place] != letters[place - 1]:
            axes.axhline(place - 0.5, color=PALE, linewidth=0.8)
    axes.set_yticks(range(len(entries)), [_label(entry) for entry in entries], fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(0, 101), ylim=(len(entries) - 0.4, -0.8), xlabel="accuracy, %      * a stand-in")
    axes.grid(visible=True, axis="x")
    handles = {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2)
    summaries = [f"{entry.name}: {entry.summary()}" for entry in entries]
    return picture(figure, "benchmark", TITLE, f"{TITLE}. {'; '.join(summaries)}.", "png")


def _label(entry: Entry) -> str:
    """Returns `A1 cnn1d, RAVDESS*`."""
    return f"{entry.name.replace('_', ' ')}, {corpora_of([entry])}{'*' if entry.is_stand_in else ''}"


def _line(axes: Axes, place: int, entry: Entry) -> None:
    """Draws one system's marks: the reported accuracy above the line, ours on it."""
    if entry.reported is not None:
        axes.plot(
            entry.reported,
            place - 0.28,
            "v",
            color=INK,
            markerfacecolor=INK if entry.is_comparable else "white",
            markersize=5,
            label="reported" if entry.is_comparable else "reported, of other or validation clips",
            clip_on=False,
            zorder=5,
        )
    if not entry.ran:
        axes.annotate(entry.report_split.text("status"), (1, place), va="top", fontsize=7, color=GREY)
        return
    report_split, new_speakers = entry.report_split_accuracy, entry.new_speakers_accuracy
    axes.plot([report_split, new_speakers], [place, place], color=PALE, linewidth=4, zorder=1)
    for row, accuracy, below, color, marker, name in (
        (entry.report_split, report_split, 0.22, VERMILION, "o", "the report's split"),
        (entry.new_speakers, new_speakers, 0.34, BLUE, "s", "new speakers"),
    ):
        label = f"here, {name}, with interval"
        axes.plot(accuracy, place, marker, color=color, label=label, clip_on=False, zorder=3)
        if row.text("accuracy_low"):
            interval = [row.percent(f"accuracy_{end}") for end in ("low", "high")]
            axes.plot(interval, [place + below] * 2, color=color, linewidth=1.2, zorder=2)
    axes.plot(
        entry.new_speakers.percent("majority"), place, "|", color=GREY, markersize=11, label="majority class"
    )
