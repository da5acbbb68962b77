"""Mel-frequency cepstral coefficients."""

from __future__ import annotations

from functools import cache

import numpy as np
import scipy.fft

from stages.core.errors import InputError
from stages.core.params import Block, Count
from stages.core.spectrum import Frames, Spectrum


class Config(Block):
    """How much of the cepstrum is kept.

    Attributes:
        n_mfcc: coefficients kept, the one of order 0 (the level) included.
    """

    n_mfcc: Count


def compute(spectrum: Spectrum, config: Config) -> Frames:
    """Returns float32 (n_frames, n_mfcc): the orthonormal DCT-II of the log-mel bands, in dB.

    Davis & Mermelstein 1980, "Comparison of parametric representations for monosyllabic word
    recognition"; equals `librosa.feature.mfcc`.

    Raises:
        InputError: more coefficients than mel bands.
    """
    n_mels = spectrum.settings.n_mels
    if config.n_mfcc > n_mels:
        raise InputError(
            f"params.features.mfcc.n_mfcc: {config.n_mfcc} coefficients of {n_mels} mel bands. "
            "Lower it, or raise params.spectrum.n_mels."
        )
    cepstrum: Frames = spectrum.mel_db @ _cosines(n_mels, config.n_mfcc)
    return cepstrum


@cache
def _cosines(n_mels: int, n_mfcc: int) -> Frames:
    """Returns the transform's first columns, float32 (n_mels, n_mfcc)."""
    transform = scipy.fft.dct(np.eye(n_mels), type=2, norm="ortho", axis=1)
    columns: Frames = transform[:, :n_mfcc].astype(np.float32)
    return columns
