"""The phase vocoder: changes the duration of a signal and keeps its pitch."""

from __future__ import annotations

import numpy as np
import scipy
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from stages.audio import spectrum

N_FFT, HOP_LENGTH = 2048, 512  # librosa's: each window overlaps three others
SILENCE = np.float32(1e-20)  # added to spectra, so that zeros have a phase: 0, as in librosa


def stretch(signal: NDArray[np.float32], rate: float) -> NDArray[np.float32]:
    """Returns the signal `rate` times as fast, float32 (round(n_samples / rate),).

    Flanagan & Golden 1966, "Phase vocoder", as `librosa.effects.time_stretch`: spectra are read at steps of
    `rate` frames. Between two frames, magnitudes are interpolated, and the phase of each bin advances from
    step to step as it does from the one frame to the other. Phases are unit complex numbers that are
    multiplied. librosa adds angles, which grow without bound and lose precision in single precision.

    Examples:
        >>> stretch(np.zeros(1000, np.float32), rate=1.25).shape
        (800,)
    """
    spectra = _analyse(signal)
    steps = np.arange(0, len(spectra), rate)
    before = steps.astype(np.int64)
    fraction = (steps - before).astype(np.float32)[:, None]
    spectra = np.concatenate([spectra, np.zeros_like(spectra[:2])])  # the frames after the last step
    spectra += SILENCE
    magnitudes = np.abs(spectra)
    phases = spectra / magnitudes
    turned = np.concatenate([phases[:1], phases[before[:-1] + 1] * phases[before[:-1]].conj()])
    for step in range(1, len(turned)):  # six times as fast as np.cumprod along axis 0
        turned[step] *= turned[step - 1]
    turned *= (1 - fraction) * magnitudes[before] + fraction * magnitudes[before + 1]
    return _synthesise(turned, round(len(signal) / rate))


def _analyse(signal: NDArray[np.float32]) -> NDArray[np.complex64]:
    """Returns the spectra of windows centred on every `HOP_LENGTH`-th sample, (n_frames, N_FFT // 2 + 1)."""
    padded = np.pad(signal, N_FFT // 2)
    frames = sliding_window_view(padded, N_FFT)[::HOP_LENGTH]
    spectra: NDArray[np.complex64] = scipy.fft.rfft(frames * spectrum.hann(N_FFT), axis=1)
    return spectra


def _synthesise(spectra: NDArray[np.complex64], n_samples: int) -> NDArray[np.float32]:
    """Returns the signal whose windows have these spectra, with the least mean square error.

    Griffin & Lim 1984, "Signal estimation from modified short-time Fourier transform".
    """
    frames = scipy.fft.irfft(spectra, N_FFT, axis=1) * spectrum.hann(N_FFT)
    weights = np.broadcast_to(spectrum.hann(N_FFT) ** 2, frames.shape)
    signal, weight = (_overlapped(each)[N_FFT // 2 :][:n_samples] for each in (frames, weights))
    weight[weight == 0] = 1
    signal /= weight
    return np.pad(signal, (0, n_samples - len(signal)))


def _overlapped(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the sum of the frames, each `HOP_LENGTH` samples later than the previous one."""
    n_hops = N_FFT // HOP_LENGTH
    parts = frames.reshape(len(frames), n_hops, HOP_LENGTH)
    total = np.zeros((len(frames) + n_hops - 1, HOP_LENGTH), np.float32)
    for hop in range(n_hops):
        total[hop : hop + len(frames)] += parts[:, hop]
    return total.ravel()
