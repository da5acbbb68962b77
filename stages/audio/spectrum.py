"""One recording, one short-time Fourier transform, shared by every feature.

Every step is librosa's with its defaults (McFee et al. 2015, "librosa: Audio and music signal analysis in
Python"), with two differences: time is the first axis, and librosa itself, whose import takes seconds and
whose calls compile, is not needed. All is single precision but for the few frames where that would show.
"""

from __future__ import annotations

from functools import cache, cached_property

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from stages.base import params
from stages.base.errors import InputError

Frames = NDArray[np.float32]

LEAST_POWER = 1e-10  # librosa.power_to_db's amin: -100 dB
BLOCK_SAMPLES = 3 << 14  # windowed and transformed at once: few enough to stay in the processor's cache
N_GROUPS = 8  # of neighbouring mel bands: a group's filters are zero at most frequencies
WEAK_DB = 52.0  # a band this far below its frame is moved by up to 1e-3 dB in single precision


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
        return len(self.frames)

    @cached_property
    def frames(self) -> Frames:
        """The signal's frames, not windowed: see `framed`."""
        return self.framed(self.signal)

    def framed(self, samples: NDArray[np.float32]) -> Frames:
        """Returns a view (n_frames, n_fft) of `samples` (n_samples,), half a frame of zeros around them."""
        zeros = np.zeros(self.settings.n_fft // 2, np.float32)
        padded = np.concatenate([zeros, samples, zeros])
        return sliding_window_view(padded, self.settings.n_fft)[:: self.settings.hop_length]

    @cached_property
    def power(self) -> Frames:
        """Squared magnitude of the Hann-windowed frames' spectra, float32 (n_frames, n_fft // 2 + 1)."""
        return _power(self.frames, _hann(self.settings.n_fft).astype(np.float32))

    @cached_property
    def energy(self) -> NDArray[np.float32]:
        """Sum of the squared samples of each frame, not windowed, float32 (n_frames,)."""
        energy: NDArray[np.float32] = np.vecdot(self.frames, self.frames)
        return energy

    @cached_property
    def mel_db(self) -> Frames:
        """Power in mel bands, float32 (n_frames, n_mels), in dB re 1.

        The floor is -100 dB, or `top_db` below the clip's maximum where that is higher.
        """
        mel = self._mel(self.power)
        floor = max(np.float32(LEAST_POWER), mel.max() * np.float32(10 ** (-self.settings.top_db / 10)))
        np.maximum(mel, floor, out=mel)
        steep = (mel < np.multiply.outer(self.energy, self._weak_shares)).any(axis=1)
        if steep.any():
            precise = self._mel(_power(self.frames[steep], _hann(self.settings.n_fft)))
            mel[steep] = np.maximum(precise, floor)
        np.log10(mel, out=mel)
        mel *= 10
        return mel

    def _mel(self, power: Frames) -> Frames:
        """Returns `power` in mel bands, float32 (n_frames, n_mels)."""
        mel = np.empty((len(power), self.settings.n_mels), np.float32)
        for bands, bins, filters in _mel_groups(*self._bank):
            np.matmul(power[:, bins], filters, out=mel[:, bands])
        return mel

    @property
    def _weak_shares(self) -> NDArray[np.float32]:
        """What a band holds of a frame's energy at `WEAK_DB`, float32 (n_mels,).

        Rounding spreads evenly over a transform's bins, in proportion to the frame's energy. The more bins a
        band sums, the less it is moved: hence each filter's mean height, weighted by itself.
        """
        return _mean_heights(*self._bank) * np.float32(10 ** (-WEAK_DB / 10))

    @property
    def _bank(self) -> tuple[int, int, int, float, float]:
        """The arguments of `mel_filters`."""
        settings = self.settings
        return self.sample_rate_hz, settings.n_fft, settings.n_mels, settings.fmin_hz, settings.fmax_hz


def _power(frames: Frames, window: NDArray) -> Frames:
    """Returns the windowed frames' squared magnitudes, float32, computed in the window's precision."""
    n_frames, n_fft = frames.shape
    power = np.empty((n_frames, n_fft // 2 + 1), np.float32)
    size = max(1, BLOCK_SAMPLES // n_fft)
    windowed = np.empty((min(size, n_frames), n_fft), window.dtype)
    for start in range(0, n_frames, size):
        block = power[start : start + size]
        np.multiply(frames[start : start + size], window, out=windowed[: len(block)])
        spectrum = scipy.fft.rfft(windowed[: len(block)], axis=1)
        np.add(np.square(spectrum.real), np.square(spectrum.imag), out=block, casting="same_kind")
    return power


@cache
def _mel_groups(
    sample_rate_hz: int, n_fft: int, n_mels: int, fmin_hz: float, fmax_hz: float
) -> list[tuple[slice, slice, Frames]]:
    """Returns `mel_filters` in groups: the bands, the bins where they are not zero, and the filters there.

    Their filters are float32 (n_bins, n_bands).
    """
    filters = mel_filters(sample_rate_hz, n_fft, n_mels, fmin_hz, fmax_hz)
    groups = []
    for bands in np.array_split(np.arange(n_mels), min(N_GROUPS, n_mels)):
        bins = np.flatnonzero(filters[bands].any(axis=0))
        within = slice(bins[0], bins[-1] + 1)
        groups.append((slice(bands[0], bands[-1] + 1), within, filters[bands, within].T.copy()))
    return groups


@cache
def _mean_heights(
    sample_rate_hz: int, n_fft: int, n_mels: int, fmin_hz: float, fmax_hz: float
) -> NDArray[np.float32]:
    """Returns the mean of each of `mel_filters`, weighted by itself, float32 (n_mels,)."""
    filters = mel_filters(sample_rate_hz, n_fft, n_mels, fmin_hz, fmax_hz)
    heights: NDArray[np.float32] = np.square(filters).sum(axis=1) / filters.sum(axis=1)
    return heights


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
def _hann(n: int) -> NDArray[np.float64]:
    """Returns the periodic Hann window, float64 (n,)."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)


def cepstrum(log_mel: Frames, n_coefficients: int) -> Frames:
    """Returns float32 (n_frames, n_coefficients): the first of the orthonormal DCT-II over mel bands.

    Args:
        log_mel: float32 (n_frames, n_mels), in dB.
        n_coefficients: at most n_mels.
    """
    coefficients: Frames = log_mel @ _cosines(log_mel.shape[1], n_coefficients)
    return coefficients


@cache
def _cosines(n_mels: int, n_coefficients: int) -> Frames:
    """Returns the transform's first columns, float32 (n_mels, n_coefficients)."""
    transform = scipy.fft.dct(np.eye(n_mels), type=2, norm="ortho", axis=1)
    columns: Frames = transform[:, :n_coefficients].astype(np.float32)
    return columns
