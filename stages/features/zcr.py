"""Zero-crossing rate."""

from __future__ import annotations

import numpy as np

from stages.core.params import Block
from stages.core.spectrum import Frames, Spectrum

SILENCE = 1e-10  # librosa.zero_crossings' threshold: a sample this small counts as a positive zero


class Config(Block):
    """Nothing beyond the block `spectrum`."""


def compute(spectrum: Spectrum, config: Config) -> Frames:
    """Returns float32 (n_frames, 1): the share of a frame's samples whose sign is not the one before.

    Equals `librosa.feature.zero_crossing_rate`, which repeats the signal's end samples around it.
    """
    n_fft, hop_length = spectrum.settings.n_fft, spectrum.settings.hop_length
    crossings = np.diff(spectrum.padded("edge") < -SILENCE)
    # A frame's first sample has none before it, hence n_fft - 1 pairs; the rate is per sample still.
    n_before = np.concatenate([[0], np.cumsum(crossings)])
    starts = np.arange(spectrum.n_frames) * hop_length
    rate: Frames = ((n_before[starts + n_fft - 1] - n_before[starts]) / n_fft).astype(np.float32)
    return rate[:, None]
