"""Root mean square of each frame."""

from __future__ import annotations

import numpy as np

from stages.audio.spectrum import Frames, Spectrum
from stages.base.params import Block

Config = Block  # no parameters besides the block `spectrum`


def compute(spectrum: Spectrum, config: Config) -> Frames:
    """Returns float32 (n_frames, 1), full scale = 1.

    Equals `librosa.feature.rms` of the waveform: no window, and zero padding at both ends.
    """
    rms: Frames = np.sqrt(spectrum.energy / np.float32(spectrum.settings.n_fft))
    return rms[:, None]
