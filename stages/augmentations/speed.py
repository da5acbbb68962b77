"""Changes the speed: duration and pitch together, like a tape played faster or slower."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import soxr
from numpy.typing import NDArray
from pydantic import Field

from stages.base.params import Augmentation, Range


class Config(Augmentation):
    factor: Range[Annotated[float, Field(ge=0.25, le=4)]]  # 2 halves the duration and doubles every frequency


def apply(
    signal: NDArray[np.float32], sample_rate_hz: int, rng: np.random.Generator, *, factor: float
) -> NDArray[np.float32]:
    """Returns the signal resampled, float32 (about n_samples / factor,).

    Ko et al. 2015, "Audio augmentation for speech recognition".
    """
    resampled: NDArray[np.float32] = soxr.resample(signal, sample_rate_hz * factor, sample_rate_hz, "HQ")
    return resampled
