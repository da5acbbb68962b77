"""Log-mel spectrogram: power in mel bands, in dB."""

from __future__ import annotations

from stages.audio.spectrum import Frames, Spectrum
from stages.base.params import Block

Config = Block  # no parameters besides the block `spectrum`


def compute(spectrum: Spectrum, config: Config) -> Frames:
    """Returns float32 (n_frames, n_mels), in dB re 1, at most `top_db` below the clip's maximum.

    Equals `librosa.power_to_db(librosa.feature.melspectrogram(...))` to within 2e-3 dB: see
    `Spectrum.mel_db`.
    """
    return spectrum.mel_db
