"""Figures of what single recordings sound like."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from stages.audio.spectrum import LEAST_POWER, Spectrum, cepstrum
from stages.reporting.figures.style import INK, Picture, canvas, picture, styled

COLUMNS = 2
RANGE_DB = 80.0  # shown below the loudest
# Lightness alone tells the value, for eyes and printers without colour.
SPECTRUM_COLOURS, CEPSTRUM_COLOURS = "magma_r", "cividis"

Voices = Mapping[str, Spectrum]  # by what is written above each


@styled
def waveforms(voices: Voices) -> Picture:
    """Returns the samples of each recording on one scale."""
    loudest = max(float(np.abs(voice.signal).max()) for voice in voices.values())

    def draw(axes: Axes, voice: Spectrum) -> None:
        _wave(axes, voice, loudest)

    return _grid(voices, draw, "waveforms", "Waveforms", "amplitude, full scale = 1")


@styled
def spectrograms(voices: Voices) -> Picture:
    """Returns the power of each recording by time and frequency, on one scale."""
    loudest_db = max(10 * np.log10(float(voice.power.max()) + LEAST_POWER) for voice in voices.values())

    def draw(axes: Axes, voice: Spectrum) -> AxesImage:
        decibels = 10 * np.log10(voice.power + LEAST_POWER) - loudest_db
        return _image(axes, voice, decibels, voice.sample_rate_hz / 2000, (-RANGE_DB, 0))

    return _grid(voices, draw, "spectrograms", "Spectrograms", "frequency, kHz", "dB below the loudest")


@styled
def log_mels(voices: Voices) -> Picture:
    """Returns the log-mel bands of each recording, on one scale."""
    loudest_db = max(float(voice.mel_db.max()) for voice in voices.values())

    def draw(axes: Axes, voice: Spectrum) -> AxesImage:
        return _image(axes, voice, voice.mel_db - loudest_db, voice.settings.n_mels, (-RANGE_DB, 0))

    return _grid(voices, draw, "log_mels", "Log-mel spectrograms", "mel band", "dB below the loudest")


@styled
def mfccs(voices: Voices, n_coefficients: int) -> Picture:
    """Returns the cepstral coefficients of each recording, on one scale.

    Args:
        n_coefficients: how many are shown. The one of order 0, the level, would hide the others and is
            left out.
    """
    coefficients = {id(voice): cepstrum(voice.mel_db, 1 + n_coefficients)[:, 1:] for voice in voices.values()}
    reach = float(np.quantile(np.abs(np.concatenate(list(coefficients.values()))), 0.97))

    def draw(axes: Axes, voice: Spectrum) -> AxesImage:
        values = coefficients[id(voice)]
        image = _image(axes, voice, values, values.shape[1] + 0.5, (-reach, reach), bottom=0.5)
        image.set_cmap(CEPSTRUM_COLOURS)
        return image

    return _grid(voices, draw, "mfccs", "Mel-frequency cepstral coefficients", "coefficient", "dB")


@styled
def beside(voices: Voices, name: str, title: str) -> Picture:
    """Returns two recordings side by side, waveforms above and log-mel bands below."""
    figure, axes = canvas(3.8, 2, 2, sharex=True, sharey="row")
    loudest = max(float(np.abs(voice.signal).max()) for voice in voices.values())
    loudest_db = max(float(voice.mel_db.max()) for voice in voices.values())
    for column, (label, voice) in enumerate(voices.items()):
        above, below = axes[column], axes[2 + column]
        above.set_title(label, fontsize=9, weight="normal")
        _wave(above, voice, loudest)
        image = _image(below, voice, voice.mel_db - loudest_db, voice.settings.n_mels, (-RANGE_DB, 0))
        below.set_xlabel("time, s")
    axes[0].set_xlim(0, max(map(_duration_s, voices.values())))
    axes[0].set_ylabel("amplitude")
    axes[2].set_ylabel("mel band")
    _scale(figure, axes[2:], image, "dB below the loudest")
    told = title.replace("\n", ", ")
    return picture(figure, name, title, f"{told}: {' beside '.join(_told(voices))}.", "png")


def _grid(
    voices: Voices, draw: Callable[[Axes, Spectrum], AxesImage | None], name: str, title: str, unit: str,
    colour_unit: str = "",
) -> Picture:  # fmt: skip
    """Returns a picture with one small panel per recording."""
    rows = -(-len(voices) // COLUMNS)
    figure, axes = canvas(1.0 + 1.3 * rows, rows, COLUMNS, sharex=True, sharey=True)
    for number, (panel, (label, voice)) in enumerate(zip(axes, voices.items(), strict=False)):
        image = draw(panel, voice)
        panel.set_title(label, fontsize=9, weight="normal")
        if number + COLUMNS >= len(voices):
            panel.set_xlabel("time, s")
            panel.tick_params(labelbottom=True)
    for panel in axes[len(voices) :]:
        panel.set_axis_off()
    axes[0].set_xlim(0, max(map(_duration_s, voices.values())))
    axes[0].locator_params(axis="x", nbins=4)
    figure.supylabel(unit, fontsize=10)
    if image is not None:
        _scale(figure, axes, image, colour_unit)
    return picture(
        figure, name, title, f"{title} of one clip of each emotion: {', '.join(_told(voices))}.", "png"
    )


def _wave(axes: Axes, voice: Spectrum, loudest: float) -> None:
    time_s = np.arange(len(voice.signal)) / voice.sample_rate_hz
    axes.plot(time_s, voice.signal, color=INK, linewidth=0.3)
    axes.set_ylim(-1.05 * loudest, 1.05 * loudest)


def _image(
    axes: Axes, voice: Spectrum, values: NDArray, top: float, limits: tuple[float, float], bottom: float = 0
) -> AxesImage:
    """Draws (n_frames, n_rows) with time to the right, the last row at `top`."""
    extent = (0, _duration_s(voice), bottom, top)
    low, high = limits
    return axes.imshow(
        values.T, origin="lower", aspect="auto", extent=extent, vmin=low, vmax=high, cmap=SPECTRUM_COLOURS
    )


def _scale(figure: Figure, axes: list[Axes], image: AxesImage, label: str) -> None:
    figure.colorbar(image, ax=axes, location="bottom", label=label, aspect=40, shrink=0.9)


def _duration_s(voice: Spectrum) -> float:
    return len(voice.signal) / voice.sample_rate_hz


def _told(voices: Voices) -> list[str]:
    return [f"{name} ({_duration_s(voice):.1f} s)" for name, voice in voices.items()]
