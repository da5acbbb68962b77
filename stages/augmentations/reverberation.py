"""Adds the reverberation of a room, whose response is synthesised."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import scipy
from numpy.typing import NDArray
from pydantic import Field

from stages.base.params import Augmentation, Range

DECAY = np.log(10.0) * 3  # of the amplitude, in the time in which the level falls by 60 dB
FIRST_S = 0.0025  # when the first reflection arrives, after a path that is 0.9 m longer


class Config(Augmentation):
    # in which the level falls by 60 dB; offices have about 0.5
    rt60_s: Range[Annotated[float, Field(ge=0.05, le=5)]]
    # energy of the direct sound over that of the reverberation
    direct_db: Range[Annotated[float, Field(ge=-20, le=40)]]


def apply(
    signal: NDArray[np.float32],
    sample_rate_hz: int,
    rng: np.random.Generator,
    *,
    rt60_s: float,
    direct_db: float,
) -> NDArray[np.float32]:
    """Returns the signal with reverberation, float32 (n_samples,), cut to the signal's length.

    The response is the direct sound, then white noise with an exponential decay: the oldest stochastic model
    of reverberation (reviewed by Badeau 2018, "Unified stochastic reverberation modeling").
    """
    time_s = np.arange(round(rt60_s * sample_rate_hz)) / sample_rate_hz
    tail = rng.standard_normal(len(time_s)) * np.exp(-DECAY * time_s / rt60_s) * (time_s >= FIRST_S)
    tail *= 10 ** (-direct_db / 20) / max(np.sqrt(np.square(tail).sum()), np.finfo(float).tiny)
    # as scipy.signal.fftconvolve, which takes half a second to import
    n_fft = scipy.fft.next_fast_len(len(signal) + len(tail) - 1, real=True)
    spectra = scipy.fft.rfft(signal.astype(np.float64), n_fft) * scipy.fft.rfft(tail, n_fft)
    return np.asarray(signal + scipy.fft.irfft(spectra, n_fft)[: len(signal)], np.float32)
