"""Removes high frequencies, as recordings at a lower sample rate lack them: telephone speech has 8 kHz."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import soxr
from numpy.typing import NDArray
from pydantic import Field

from stages.base.params import Augmentation, Range


class Config(Augmentation):
    # half of it is the highest frequency kept; one above the recording's rate changes nothing
    rate_hz: Range[Annotated[float, Field(ge=4000, le=48_000)]]


def apply(
    signal: NDArray[np.float32], sample_rate_hz: int, rng: np.random.Generator, *, rate_hz: float
) -> NDArray[np.float32]:
    """Returns the signal resampled to a whole rate near `rate_hz` and back, float32 (n_samples,)."""
    lower_hz = round(rate_hz)
    if lower_hz >= sample_rate_hz:
        return signal.copy()
    lower = soxr.resample(signal, sample_rate_hz, lower_hz, "HQ")
    back = soxr.resample(lower, lower_hz, sample_rate_hz, "HQ")[: len(signal)]
    return np.pad(back, (0, len(signal) - len(back))).astype(np.float32)
