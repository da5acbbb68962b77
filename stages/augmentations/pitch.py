"""Changes the pitch and keeps the duration."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import soxr
from numpy.typing import NDArray
from pydantic import Field

from stages.audio import vocoder
from stages.base.params import Augmentation, Range


class Config(Augmentation):
    semitones: Range[Annotated[float, Field(ge=-24, le=24)]]  # upwards; 12 double the fundamental frequency


def apply(
    signal: NDArray[np.float32], sample_rate_hz: int, rng: np.random.Generator, *, semitones: float
) -> NDArray[np.float32]:
    """Returns the signal shifted by a phase vocoder and resampling, float32 (n_samples,).

    The formants move with the fundamental. Equals `librosa.effects.pitch_shift`.
    """
    factor = 2 ** (semitones / 12)
    longer = vocoder.stretch(signal, 1 / factor)
    shifted = soxr.resample(longer, sample_rate_hz * factor, sample_rate_hz, "HQ")[: len(signal)]
    return np.pad(shifted, (0, len(signal) - len(shifted)))
