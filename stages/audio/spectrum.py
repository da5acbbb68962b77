"""The short-time Fourier transform of one recording, computed once and shared by all features.

Every step follows librosa's defaults (McFee et al. 2015, "librosa: Audio and music signal analysis in
Python"), with time as the first axis. librosa itself is not imported: that takes seconds, and its functions
are compiled at their first call. Everything is computed in single precision, where librosa transforms in
double; see `Spectrum.mel_db` for the difference.
"""

from __future__ import annotations

from functools import cache, cached_property

import numpy as np
import scipy  # loads scipy.fft when it is first used: it takes a fifth of a second
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from stages.base import params
from stages.base.errors import InputError

Frames = NDArray[np.float32]

LEAST_POWER = 1e-10  # librosa.power_to_db's amin: -100 dB
BLOCK_SAMPLES = 3 << 14  # windowed and transformed at a time: small enough for the processor's cache
N_GROUPS = 8  # of neighbouring mel bands: the filters of one group are zero at most frequencies


class Spectrum:
    """The input of every feature: a signal, its frames and their spectra, each computed at most once.

    Frames are centred on every `hop_length`-th sample, so even the shortest recording has one frame.

    Attributes:
        signal: float32 (n_samples,), at least one sample.
        sample_rate_hz: of the signal.
        settings: the block `spectrum` of params.yaml.
    """

    def __init__(self, signal: NDArray[np.float32], sample_rate_hz: int, settings: params.Spectrum) -> None:
        self.signal = signal
        self.sample_rate_hz = sample_rate_hz
        self.settings = settings

    @property
    def n_frames(self) -> int:
        """The number of frames, the same for every feature."""
        return len(self.frames)

    @cached_property
    def frames(self) -> Frames:
        """The signal's frames without a window: see `framed`."""
        return self.framed(self.signal)

    def framed(self, samples: NDArray[np.float32]) -> Frames:
        """Returns `samples` (n_samples,), zero-padded by half a frame at both ends, as (n_frames, n_fft)."""
        zeros = np.zeros(self.settings.n_fft // 2, np.float32)
        padded = np.concatenate([zeros, samples, zeros])
        return sliding_window_view(padded, self.settings.n_fft)[:: self.settings.hop_length]

    @cached_property
    def power(self) -> Frames:
        """Squared magnitude of the Hann-windowed frames' spectra, float32 (n_frames, n_fft // 2 + 1)."""
        n_frames, n_fft = self.frames.shape
        power = np.empty((n_frames, n_fft // 2 + 1), np.float32)
        size = max(1, BLOCK_SAMPLES // n_fft)
        windowed = np.empty((min(size, n_frames), n_fft), np.float32)
        for start in range(0, n_frames, size):
            block = power[start : start + size]
            np.multiply(self.frames[start : start + size], hann(n_fft), out=windowed[: len(block)])
            spectrum = scipy.fft.rfft(windowed[: len(block)], axis=1)
            np.add(np.square(spectrum.real), np.square(spectrum.imag), out=block)
        return power

    @cached_property
    def energy(self) -> NDArray[np.float32]:
        """Sum of the squared samples of each frame without a window, float32 (n_frames,)."""
        energy: NDArray[np.float32] = np.vecdot(self.frames, self.frames)
        return energy

    @cached_property
    def mel_db(self) -> Frames:
        """Power in mel bands, float32 (n_frames, n_mels), in dB re 1.

        Values below -100 dB, or more than `top_db` below the clip's maximum, are raised to that level. With
        `top_db` at most 80, values are within 2e-3 dB of librosa's. With a larger one the weakest bands can
        deviate more: with 120, up to 2e-3 dB in speech and 0.1 dB in a pure tone.
        """
        settings = self.settings
        mel = np.empty((self.n_frames, settings.n_mels), np.float32)
        for bands, bins, filters in _mel_groups(
            self.sample_rate_hz, settings.n_fft, settings.n_mels, settings.fmin_hz, settings.fmax_hz
        ):
            np.matmul(self.power[:, bins], filters, out=mel[:, bands])
        floor = max(np.float32(LEAST_POWER), mel.max() * np.float32(10 ** (-settings.top_db / 10)))
        np.maximum(mel, floor, out=mel)
        np.log10(mel, out=mel)
        mel *= 10
        return mel


@cache
def _mel_groups(
    sample_rate_hz: int, n_fft: int, n_mels: int, fmin_hz: float, fmax_hz: float
) -> list[tuple[slice, slice, Frames]]:
    """Returns the groups of neighbouring mel bands that `mel_db` multiplies one at a time.

    Returns:
        Per group its bands, the frequency bins at which its filters are not all zero, and the filters at
        those bins, float32 (n_bins, n_bands).
    """
    filters = mel_filters(sample_rate_hz, n_fft, n_mels, fmin_hz, fmax_hz)
    groups = []
    for bands in np.array_split(np.arange(n_mels), min(N_GROUPS, n_mels)):
        bins = np.flatnonzero(filters[bands].any(axis=0))
        within = slice(bins[0], bins[-1] + 1)
        groups.append((slice(bands[0], bands[-1] + 1), within, filters[bands, within].T.copy()))
    return groups


@cache
def mel_filters(sample_rate_hz: int, n_fft: int, n_mels: int, fmin_hz: float, fmax_hz: float) -> Frames:
    """Returns triangular filters of equal area, evenly spaced in mel, float32 (n_mels, n_fft // 2 + 1).

    Slaney 1998, "Auditory Toolbox"; equals `librosa.filters.mel`.

    Raises:
        InputError: a band is so narrow that it contains no frequency bin.

    Examples:
        >>> filters = mel_filters(sample_rate_hz=16000, n_fft=1024, n_mels=3, fmin_hz=0.0, fmax_hz=8000.0)
        >>> filters.shape
        (3, 513)
        >>> (filters.sum(axis=1) * 16000 / 1024).round(2)  # area: the bins are 16000 / 1024 Hz apart
        array([1., 1., 1.], dtype=float32)
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
            f"params.spectrum.n_mels: of {n_mels} bands from {fmin_hz:g} to {fmax_hz:g} Hz, {n_empty} "
            f"contain no frequency bin (bins are {sample_rate_hz / n_fft:.4g} Hz apart). Lower n_mels or "
            "raise n_fft."
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
def hann(n: int) -> NDArray[np.float32]:
    """Returns the periodic Hann window, float32 (n,)."""
    window: NDArray[np.float32] = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)).astype(np.float32)
    return window  # scipy.signal has it, but takes a second to import


def cepstrum(log_mel: Frames, n_coefficients: int) -> Frames:
    """Returns the first coefficients of the orthonormal DCT-II over mel bands.

    Args:
        log_mel: float32 (n_frames, n_mels), in dB.
        n_coefficients: at most n_mels.

    Returns:
        float32 (n_frames, n_coefficients), in dB; coefficient 0 is the level times the root of n_mels.

    Examples:
        >>> cepstrum(np.array([[0, -10, -20, -30]], np.float32), n_coefficients=2).round(2)
        array([[-30. ,  22.3]], dtype=float32)
    """
    coefficients: Frames = log_mel @ cosines(log_mel.shape[1], n_coefficients)
    return coefficients


@cache
def cosines(n_mels: int, n_coefficients: int) -> Frames:
    """Returns the first columns of the DCT-II's matrix, float32 (n_mels, n_coefficients)."""
    transform = scipy.fft.dct(np.eye(n_mels), type=2, norm="ortho", axis=1)
    columns: Frames = transform[:, :n_coefficients].astype(np.float32)
    return columns
