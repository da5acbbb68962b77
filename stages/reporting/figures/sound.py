"""Figures of single recordings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from stages.audio.spectrum import LEAST_POWER, Spectrum, cepstrum
from stages.reporting.figures.style import INK, Picture, canvas, picture, styled

COLUMNS = 2
RANGE_DB = 80.0  # below the maximum
# Lightness alone shows the value, so the figures work without colour.
SPECTRUM_COLOURS, CEPSTRUM_COLOURS = "magma_r", "cividis"

Spectra = Mapping[str, Spectrum]  # by the title of the panel


@styled
def waveforms(spectra: Spectra) -> Picture:
    """Returns the samples of each recording on one scale."""
    loudest = max(float(np.abs(spectrum.signal).max()) for spectrum in spectra.values())
    draw = partial(_wave, loudest=loudest)
    return _grid(spectra, draw, "waveforms", "Waveforms", "amplitude, full scale = 1")


@styled
def spectrograms(spectra: Spectra) -> Picture:
    """Returns the power of each recording by time and frequency, on one scale."""
    loudest = max(float(spectrum.power.max()) for spectrum in spectra.values())
    draw = partial(spectrogram, loudest=loudest)
    return _grid(spectra, draw, "spectrograms", "Spectrograms", "frequency, kHz", "dB re maximum")


def spectrogram(axes: Axes, spectrum: Spectrum, loudest: float) -> AxesImage:
    """Draws the power by time and frequency in kHz, down to RANGE_DB below the power `loudest`."""
    decibels = 10 * np.log10(spectrum.power + LEAST_POWER) - 10 * np.log10(loudest + LEAST_POWER)
    return _image(axes, spectrum, decibels, spectrum.sample_rate_hz / 2000, (-RANGE_DB, 0))


@styled
def log_mels(spectra: Spectra) -> Picture:
    """Returns the log-mel bands of each recording, on one scale."""
    loudest_db = max(float(spectrum.mel_db.max()) for spectrum in spectra.values())
    draw = partial(_mel_bands, loudest_db=loudest_db)
    return _grid(spectra, draw, "log_mels", "Log-mel spectrograms", "mel band", "dB re maximum")


@styled
def mfccs(spectra: Spectra, n_coefficients: int) -> Picture:
    """Returns the cepstral coefficients of each recording, on one scale.

    Args:
        n_coefficients: number shown. Order 0, the level, is left out, because it would hide the others.
    """
    coefficients = {
        id(spectrum): cepstrum(spectrum.mel_db, 1 + n_coefficients)[:, 1:] for spectrum in spectra.values()
    }
    reach = float(np.quantile(np.abs(np.concatenate(list(coefficients.values()))), 0.97))

    def draw(axes: Axes, spectrum: Spectrum) -> AxesImage:
        values = coefficients[id(spectrum)]
        image = _image(axes, spectrum, values, values.shape[1] + 0.5, (-reach, reach), bottom=0.5)
        image.set_cmap(CEPSTRUM_COLOURS)
        return image

    return _grid(spectra, draw, "mfccs", "Mel-frequency cepstral coefficients", "coefficient", "dB")


@styled
def beside(spectra: Spectra, name: str, title: str) -> Picture:
    """Returns two recordings side by side, waveforms above and log-mel bands below."""
    figure, axes = canvas(3.8, 2, 2, sharex=True, sharey="row")
    loudest = max(float(np.abs(spectrum.signal).max()) for spectrum in spectra.values())
    loudest_db = max(float(spectrum.mel_db.max()) for spectrum in spectra.values())
    for column, (label, spectrum) in enumerate(spectra.items()):
        above, below = axes[column], axes[2 + column]
        above.set_title(label, fontsize=9, weight="normal")
        _wave(above, spectrum, loudest)
        image = _mel_bands(below, spectrum, loudest_db)
        below.set_xlabel("time, s")
    axes[0].set_xlim(0, max(map(_duration_s, spectra.values())))
    axes[0].set_ylabel("amplitude")
    axes[2].set_ylabel("mel band")
    _scale(figure, axes[2:], image, "dB re maximum")
    text = title.replace("\n", ", ")
    return picture(figure, name, title, f"{text}: {' beside '.join(_durations(spectra))}.", "png")


def _grid(
    spectra: Spectra, draw: Callable[[Axes, Spectrum], AxesImage | None], name: str, title: str, unit: str,
    colour_unit: str = "",
) -> Picture:  # fmt: skip
    """Returns a picture with one small panel per recording."""
    rows = -(-len(spectra) // COLUMNS)
    figure, axes = canvas(1.0 + 1.3 * rows, rows, COLUMNS, sharex=True, sharey=True)
    for number, (panel, (label, spectrum)) in enumerate(zip(axes, spectra.items(), strict=False)):
        image = draw(panel, spectrum)
        panel.set_title(label, fontsize=9, weight="normal")
        if number + COLUMNS >= len(spectra):
            panel.set_xlabel("time, s")
            panel.tick_params(labelbottom=True)
    for panel in axes[len(spectra) :]:
        panel.set_axis_off()
    axes[0].set_xlim(0, max(map(_duration_s, spectra.values())))
    axes[0].locator_params(axis="x", nbins=4)
    figure.supylabel(unit, fontsize=10)
    if image is not None:
        _scale(figure, axes, image, colour_unit)
    return picture(
        figure, name, title, f"{title} of one clip of each emotion: {', '.join(_durations(spectra))}.", "png"
    )


def _wave(axes: Axes, spectrum: Spectrum, loudest: float) -> None:
    time_s = np.arange(len(spectrum.signal)) / spectrum.sample_rate_hz
    axes.plot(time_s, spectrum.signal, color=INK, linewidth=0.3)
    axes.set_ylim(-1.05 * loudest, 1.05 * loudest)
    # Else matplotlib chooses other ticks, with longer labels, after it has left room for them.
    axes.locator_params(axis="y", nbins=4)


def _mel_bands(axes: Axes, spectrum: Spectrum, loudest_db: float) -> AxesImage:
    return _image(axes, spectrum, spectrum.mel_db - loudest_db, spectrum.settings.n_mels, (-RANGE_DB, 0))


def _image(
    axes: Axes,
    spectrum: Spectrum,
    values: NDArray,
    top: float,
    limits: tuple[float, float],
    bottom: float = 0,
) -> AxesImage:
    """Draws (n_frames, n_rows) with time to the right, the last row at `top`."""
    extent = (0, _duration_s(spectrum), bottom, top)
    low, high = limits
    return axes.imshow(
        values.T, origin="lower", aspect="auto", extent=extent, vmin=low, vmax=high, cmap=SPECTRUM_COLOURS
    )


def _scale(figure: Figure, axes: list[Axes], image: AxesImage, label: str) -> None:
    figure.colorbar(image, ax=axes, location="bottom", label=label, aspect=40, shrink=0.9)


def _duration_s(spectrum: Spectrum) -> float:
    return len(spectrum.signal) / spectrum.sample_rate_hz


def _durations(spectra: Spectra) -> list[str]:
    return [f"{name} ({_duration_s(spectrum):.1f} s)" for name, spectrum in spectra.items()]
