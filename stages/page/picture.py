"""The picture of an answer: waveform, spectrogram, and which seconds the answer rests on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stages.audio import recording
from stages.audio.spectrum import Spectrum
from stages.inference.bundle import Prediction
from stages.inference.occlusion import Part
from stages.reporting.figures import sound
from stages.reporting.figures.style import BLUE, GREY, INK, WIDTH_IN, Picture, picture, styled

N_COLUMNS = 1500  # of the waveform
HEIGHTS_IN = {"waveform": 0.7, "spectrogram": 1.4, "answer": 1.8}
LEGEND_COLUMNS = 4


@styled
def of_answer(
    prediction: Prediction,
    classes: Sequence[str],
    path: Path,
    spectrum: Spectrum | None,
    parts: Sequence[Part],
) -> Picture:
    """Returns the picture, its parts above each other on one time axis.

    Args:
        spectrum: of the recording, or None to leave out the spectrogram.
        parts: and their effects, shown for a recording that was judged as one; else none, and the
            probabilities of each window are shown.
    """
    panels = ["waveform", *(["spectrogram"] if spectrum is not None else []), "answer"]
    heights = [HEIGHTS_IN[name] for name in panels]
    figure = Figure(figsize=(WIDTH_IN, sum(heights) + 0.8))
    axes = dict(zip(panels, figure.subplots(len(panels), sharex=True, height_ratios=heights), strict=True))
    envelope, duration_s = outline(path)
    time_s = np.linspace(0, duration_s, len(envelope))
    axes["waveform"].fill_between(time_s, -envelope, envelope, color=INK, linewidth=0)
    axes["waveform"].set(yticks=[], xlim=(0, duration_s))
    if spectrum is not None:
        sound.spectrogram(axes["spectrogram"], spectrum, float(spectrum.power.max()))
        axes["spectrogram"].set_ylabel("kHz")
    answer = axes["answer"]
    answer.set_xlabel("time, s")
    what = f"{duration_s:.1f} s of sound: its waveform" + (" and spectrogram" if spectrum is not None else "")
    if parts:
        _effects(answer, parts, prediction.emotion)
        alt = f"{what}, and what each part adds to {prediction.emotion}."
    else:
        _timeline(answer, prediction, classes)
        figure.legend(loc="outside lower center", ncols=LEGEND_COLUMNS)
        alt = f"{what}, and the probabilities of {len(prediction.timeline)} windows."
    return picture(figure, "answer", "", alt, "png")


def _effects(axes: Axes, parts: Sequence[Part], emotion: str) -> None:
    starts, ends = (np.array([getattr(part, name) for part in parts]) for name in ("start_s", "end_s"))
    effects = np.array([part.effect for part in parts])
    axes.bar(starts, effects, ends - starts, align="edge", color=np.where(effects > 0, BLUE, GREY))
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_ylabel(f"adds to\n{emotion}")


def _timeline(axes: Axes, prediction: Prediction, classes: Sequence[str]) -> None:
    """Draws the probabilities of each window; windows without an answer stay empty."""
    windows = prediction.timeline
    edges = [window.start_s for window in windows] + [windows[-1].end_s]
    rows = np.array([[window.probabilities.get(name, np.nan) for name in classes] for window in windows])
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 1, len(classes)))
    values = np.vstack([rows, rows[-1:]]).T
    axes.stackplot(edges, values, labels=classes, step="post", colors=colours)
    axes.set(ylim=(0, 1), ylabel="probability")


def outline(path: Path) -> tuple[NDArray[np.float32], float]:
    """Returns the largest magnitude in each of about N_COLUMNS parts of a file, and its duration in s."""
    parts, n_samples = [], 0
    with recording.opened(path) as (rate_hz, _, blocks):
        n = max(1, rate_hz // 100)
        for block in blocks:
            n_samples += len(block)
            mono = np.abs(block).max(axis=1)
            parts.append(np.maximum.reduceat(mono, np.arange(0, len(mono), n)))
    peaks = np.concatenate(parts)
    step = -(-len(peaks) // N_COLUMNS)
    return np.maximum.reduceat(peaks, np.arange(0, len(peaks), step)), n_samples / rate_hz
