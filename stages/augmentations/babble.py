"""Adds babble that is made of the recording itself.

Copies are made before the split. Other speakers' voices could be those of test speakers, and the training
data would contain their recordings.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stages.base.params import Augmentation, Range

N_VOICES = 6


class Config(Augmentation):
    # mean power of the recording to that of the babble
    snr_db: Range[Annotated[float, Field(ge=-40, le=100)]]


def apply(
    signal: NDArray[np.float32], sample_rate_hz: int, rng: np.random.Generator, *, snr_db: float
) -> NDArray[np.float32]:
    """Returns the signal plus babble, float32 (n_samples,); silence stays silent.

    The babble is the sum of N_VOICES reversed copies, each rotated by a random time: it has the recording's
    spectrum and the rhythm of speech, without its words.
    """
    starts = rng.integers(len(signal), size=N_VOICES)
    babble = np.sum([np.roll(signal[::-1], start) for start in starts], axis=0, dtype=np.float64)
    power = np.mean(np.square(signal, dtype=np.float64)) / max(np.mean(babble**2), np.finfo(float).tiny)
    return np.asarray(signal + babble * np.sqrt(power) * 10 ** (-snr_db / 20), np.float32)
