"""Zero-crossing rate."""

from __future__ import annotations

import numpy as np

from stages.audio.spectrum import Frames, Spectrum
from stages.base.params import Block

SILENCE = 1e-10  # librosa.zero_crossings' threshold: smaller samples count as zeros, which are positive

Config = Block  # no parameters besides the block `spectrum`


def compute(spectrum: Spectrum, config: Config) -> Frames:
    """Returns float32 (n_frames, 1): the fraction of a frame's samples whose sign differs from the previous.

    Equals `librosa.feature.zero_crossing_rate`, which pads the signal with its first and last sample.
    """
    negative = spectrum.signal < -SILENCE
    crossings = np.zeros(len(negative), np.float32)
    np.not_equal(negative[1:], negative[:-1], out=crossings[1:])
    within = spectrum.framed(crossings)[:, 1:]  # a frame's first sample has no predecessor
    rate: Frames = np.vecdot(within, within) / np.float32(spectrum.settings.n_fft)  # of ones and zeros
    return rate[:, None]
