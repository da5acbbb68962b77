"""Mel-frequency cepstral coefficients."""

from __future__ import annotations

from stages.audio.spectrum import Frames, Spectrum, cepstrum
from stages.base.errors import InputError
from stages.base.params import Block, Count


class Config(Block):
    """The number of coefficients.

    Attributes:
        n_mfcc: number of coefficients kept, including order 0, which is the level.
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
            f"params.features.mfcc.n_mfcc: {config.n_mfcc} is more than the {n_mels} mel bands. "
            "Lower it, or raise params.spectrum.n_mels."
        )
    return cepstrum(spectrum.mel_db, config.n_mfcc)
