"""Changes the level."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stages.base.params import Augmentation, Range


class Config(Augmentation):
    gain_db: Range[Annotated[float, Field(ge=-60, le=60)]]  # added to the level


def apply(
    signal: NDArray[np.float32], sample_rate_hz: int, rng: np.random.Generator, *, gain_db: float
) -> NDArray[np.float32]:
    """Returns the signal scaled, float32 (n_samples,), without clipping at full scale."""
    return signal * np.float32(10 ** (gain_db / 20))
