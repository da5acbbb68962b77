"""Encodes as MP3 and decodes again."""

from __future__ import annotations

import io
from typing import Annotated

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from pydantic import Field

from stages.base.errors import uninterrupted
from stages.base.params import Augmentation, Range

RATES_HZ = (16_000, 24_000)  # of MPEG-2, whose bit rates are the lowest
LOWEST_KBIT_S, HIGHEST_KBIT_S = 8.0, 160.0  # of MPEG-2 layer III
MOST_COMPRESSION = 0.999  # libsndfile rejects 1, the lowest bit rate
DELAY = 576 + 529  # samples, of LAME's encoder and of any decoder


class Config(Augmentation):
    # constant; the encoder takes the nearest of its own
    kbit_s: Range[Annotated[float, Field(ge=LOWEST_KBIT_S, le=HIGHEST_KBIT_S)]]


def apply(
    signal: NDArray[np.float32], sample_rate_hz: int, rng: np.random.Generator, *, kbit_s: float
) -> NDArray[np.float32]:
    """Returns the decoded signal, float32 (n_samples,), without the encoder's delay."""
    rate_hz = next((each for each in RATES_HZ if each >= sample_rate_hz), RATES_HZ[-1])
    given = soxr.resample(signal, sample_rate_hz, rate_hz, "HQ")
    file = io.BytesIO()
    quality = (HIGHEST_KBIT_S - kbit_s) / (HIGHEST_KBIT_S - LOWEST_KBIT_S)
    compression = min(quality, MOST_COMPRESSION)
    with uninterrupted():
        soundfile.write(
            file, given, rate_hz, format="MP3", bitrate_mode="CONSTANT", compression_level=compression
        )
        file.seek(0)
        decoded, _ = soundfile.read(file, dtype="float32")
    # The tag with the decoder's delay does not fit into a frame of a low bit rate.
    if len(decoded) > len(given):
        decoded = decoded[DELAY:]
    back = soxr.resample(decoded, rate_hz, sample_rate_hz, "HQ")[: len(signal)]
    return np.pad(back, (0, len(signal) - len(back))).astype(np.float32)
