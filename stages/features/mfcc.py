"""Mel-frequency cepstral coefficients."""

from __future__ import annotations

from stages.audio.spectrum import Frames, Spectrum, cepstrum
from stages.base.errors import InputError
from stages.base.params import Block, Count


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
    return cepstrum(spectrum.mel_db, config.n_mfcc)
