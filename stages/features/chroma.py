"""Chroma: the distribution of the spectrum's power over the twelve pitch classes."""

from __future__ import annotations

from functools import cache

import numpy as np

from stages.audio.spectrum import Frames, Spectrum
from stages.base.params import Block

N_CHROMA = 12
A0_HZ = 27.5
CENTRE_OCTAVE, OCTAVE_WIDTH = 5.0, 2.0  # a Gaussian weight over octaves above A0

Config = Block  # no parameters besides the block `spectrum`


def compute(spectrum: Spectrum, config: Config) -> Frames:
    """Returns float32 (n_frames, 12), from C to B, with the maximum of each frame = 1; silence stays 0.

    Ellis 2007, "Chroma feature analysis and synthesis"; equals `librosa.feature.chroma_stft(tuning=0.0)`.
    By default librosa estimates the tuning of each clip first. That is meant for music, takes longer than
    all other features together, and makes a dimension's meaning depend on the clip. Here A is 440 Hz.
    """
    chroma = spectrum.power @ chroma_filters(spectrum.sample_rate_hz, spectrum.settings.n_fft).T
    peak = chroma.max(axis=1, keepdims=True)
    peak[peak < np.finfo(np.float32).tiny] = 1
    normalized: Frames = chroma / peak
    return normalized


@cache
def chroma_filters(sample_rate_hz: int, n_fft: int) -> Frames:
    """Returns the weight of each frequency bin in each pitch class, float32 (12, n_fft // 2 + 1).

    Equals `librosa.filters.chroma(tuning=0.0)`.

    Examples:
        >>> chroma_filters(sample_rate_hz=16_000, n_fft=1024)[:, 28].argmax()  # 437.5 Hz is nearest to A
        np.int64(9)
    """
    frequencies_hz = np.arange(1, n_fft) * sample_rate_hz / n_fft
    semitones = N_CHROMA * np.log2(frequencies_hz / A0_HZ)
    # 0 Hz has no pitch. Placed 1.5 octaves below the first bin, it counts for the opposite class.
    semitones = np.concatenate([semitones[:1] - 1.5 * N_CHROMA, semitones])
    width = np.append(np.maximum(np.diff(semitones), 1), 1)
    half = N_CHROMA / 2
    distance = (semitones - np.arange(N_CHROMA)[:, None] + half) % N_CHROMA - half
    weights = np.exp(-0.5 * (2 * distance / width) ** 2)
    weights /= np.linalg.norm(weights, axis=0)
    weights *= np.exp(-0.5 * ((semitones / N_CHROMA - CENTRE_OCTAVE) / OCTAVE_WIDTH) ** 2)
    from_c: Frames = np.roll(weights, -3, axis=0).astype(np.float32)  # the first row was A
    return from_c[:, : n_fft // 2 + 1]
