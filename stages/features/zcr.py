"""Zero-crossing rate."""

from __future__ import annotations

import numpy as np

from stages.audio.spectrum import Frames, Spectrum
from stages.base.params import Block

SILENCE = 1e-10  # librosa.zero_crossings' threshold: a sample this small counts as a positive zero


class Config(Block):
    """Nothing beyond the block `spectrum`."""


def compute(spectrum: Spectrum, config: Config) -> Frames:
    """Returns float32 (n_frames, 1): the share of a frame's samples whose sign is not the one before.

    Equals `librosa.feature.zero_crossing_rate`, which repeats the signal's end samples around it.
    """
    negative = spectrum.signal < -SILENCE
    crossings = np.zeros(len(negative), np.float32)
    np.not_equal(negative[1:], negative[:-1], out=crossings[1:])
    within = spectrum.framed(crossings)[:, 1:]  # a frame's first sample has none before it
    rate: Frames = np.vecdot(within, within) / np.float32(spectrum.settings.n_fft)  # of ones and zeros
    return rate[:, None]
