"""Adds white noise."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stages.base.params import Augmentation, Range


class Config(Augmentation):
    snr_db: Range[Annotated[float, Field(ge=-40, le=100)]]  # mean power of the recording to that of the noise


def apply(
    signal: NDArray[np.float32], sample_rate_hz: int, rng: np.random.Generator, *, snr_db: float
) -> NDArray[np.float32]:
    """Returns the signal plus white Gaussian noise, float32 (n_samples,); silence stays silent."""
    noise_rms = np.sqrt(np.mean(signal**2, dtype=np.float64)) * 10 ** (-snr_db / 20)
    noise = rng.standard_normal(len(signal), dtype=np.float32)
    return signal + np.float32(noise_rms) * noise
