"""Changes the duration and keeps the pitch."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stages.audio import vocoder
from stages.base.params import Augmentation, Range


class Config(Augmentation):
    rate: Range[Annotated[float, Field(ge=0.25, le=4)]]  # of speech; 2 halves the duration


def apply(
    signal: NDArray[np.float32], sample_rate_hz: int, rng: np.random.Generator, *, rate: float
) -> NDArray[np.float32]:
    """Returns the signal stretched by a phase vocoder, float32 (round(n_samples / rate),).

    Equals `librosa.effects.time_stretch`.
    """
    return vocoder.stretch(signal, rate)
