"""One recording, one short-time Fourier transform, shared by every feature.

Every step is librosa's with its defaults (McFee et al. 2015, "librosa: Audio and music signal analysis in
Python"), with two differences: time is the first axis, and librosa itself, whose import takes seconds and
whose calls compile, is not needed.
"""

from __future__ import annotations

from functools import cache, cached_property
from typing import Literal

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from stages.core import params
from stages.core.errors import InputError

Frames = NDArray[np.float32]

LEAST_POWER = 1e-10  # librosa.power_to_db's amin: -100 dB


class Spectrum:
    """What features are computed from.

    Frames are centred on every `hop_length`-th sample, so even the shortest recording has one.

    Attributes:
        signal: float32 (n_samples,), at least one.
        sample_rate_hz: of the signal.
        settings: the block `spectrum` of params.yaml.
    """

    def __init__(self, signal: NDArray[np.float32], sample_rate_hz: int, settings: params.Spectrum) -> None:
        self.signal = signal
        self.sample_rate_hz = sample_rate_hz
        self.settings = settings

    @property
    def n_frames(self) -> int:
        """Frames of every feature."""
        n_padded = len(self.signal) + 2 * (self.settings.n_fft // 2)
        return 1 + (n_padded - self.settings.n_fft) // self.settings.hop_length

    def padded(self, mode: Literal["constant", "edge"]) -> NDArray[np.float32]:
        """Returns the signal with half a frame more at both ends: zeros, or its end samples repeated."""
        return np.pad(self.signal, self.settings.n_fft // 2, mode=mode)

    def frames(self, padded: NDArray[np.float32]) -> Frames:
        """Returns a view (n_frames, n_fft) of a padded signal, one row every `hop_length` samples."""
        return sliding_window_view(padded, self.settings.n_fft)[:: self.settings.hop_length]

    @cached_property
    def power(self) -> Frames:
        """Squared magnitude of the Hann-windowed frames' spectra, float32 (n_frames, n_fft // 2 + 1)."""
        window = _hann(self.settings.n_fft)
        spectra = scipy.fft.rfft(self.frames(self.padded("constant")) * window, axis=1)
        power: Frames = spectra.real**2 + spectra.imag**2
        return power

    @cached_property
    def mel_db(self) -> Frames:
        """Power in mel bands, float32 (n_frames, n_mels), in dB re 1.

        The floor is -100 dB, or `top_db` below the clip's maximum where that is higher.
        """
        settings = self.settings
        filters = mel_filters(
            self.sample_rate_hz, settings.n_fft, settings.n_mels, settings.fmin_hz, settings.fmax_hz
        )
        decibels = 10 * np.log10(np.maximum(self.power @ filters.T, np.float32(LEAST_POWER)))
        floored: Frames = np.maximum(decibels, decibels.max() - np.float32(settings.top_db))
        return floored


@cache
def mel_filters(sample_rate_hz: int, n_fft: int, n_mels: int, fmin_hz: float, fmax_hz: float) -> Frames:
    """Returns triangular filters of equal area, evenly spaced in mel, float32 (n_mels, n_fft // 2 + 1).

    Slaney 1998, "Auditory Toolbox", as `librosa.filters.mel`.

    Raises:
        InputError: a band is so narrow that it has no frequency bin.
    """
    bins_hz = np.fft.rfftfreq(n_fft, 1 / sample_rate_hz)
    edges_hz = _hz(np.linspace(_mel(fmin_hz), _mel(fmax_hz), n_mels + 2))
    width_hz = np.diff(edges_hz)[:, None]
    offset_hz = edges_hz[:, None] - bins_hz
    rising, falling = -offset_hz[:-2] / width_hz[:-1], offset_hz[2:] / width_hz[1:]
    filters = np.maximum(0, np.minimum(rising, falling)) * 2 / (edges_hz[2:] - edges_hz[:-2])[:, None]
    n_empty = np.count_nonzero(~filters.any(axis=1))
    if n_empty:
        raise InputError(
            f"params.spectrum.n_mels: of {n_mels} bands from {fmin_hz:g} to {fmax_hz:g} Hz, {n_empty} hold "
            f"no frequency bin (bins are {sample_rate_hz / n_fft:.4g} Hz apart). Lower n_mels or raise n_fft."
        )
    return filters.astype(np.float32)


# Slaney's mel scale: linear up to 1000 Hz = 15 mel, 27 mel per factor of 6.4 above.
BREAK_HZ, BREAK_MEL = 1000.0, 15.0
LOG_STEP = np.log(6.4) / 27


def _mel(hz: float) -> float:
    if hz < BREAK_HZ:
        return hz * BREAK_MEL / BREAK_HZ
    return float(BREAK_MEL + np.log(hz / BREAK_HZ) / LOG_STEP)


def _hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = mel * BREAK_HZ / BREAK_MEL
    return np.where(mel < BREAK_MEL, linear, BREAK_HZ * np.exp(LOG_STEP * (mel - BREAK_MEL)))


@cache
def _hann(n: int) -> NDArray[np.float32]:
    """Returns the periodic Hann window, float32 (n,)."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)).astype(np.float32)
