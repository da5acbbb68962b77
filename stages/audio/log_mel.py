"""Standardised log-mel spectrograms as the frozen encoders of stages/features take them.

As BYOL-S was trained with: nnAudio's MelSpectrogram at 16 kHz, a frame every 10 ms, and the mean and standard
deviation of its training data.
"""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

from stages.audio.spectrum import Frames, Spectrum, mel_filters
from stages.base import params

RATE_HZ = 16_000
FMIN_HZ, FMAX_HZ = 60.0, 7800.0
MEAN, STD = -12.466, 4.187
LEAST_POWER = float(np.finfo(np.float32).eps)

STEP_FRAMES = 8  # 80 ms: encoders halve the time axis three times
LEAST_FRAMES = 40


def log_mel(signal: NDArray[np.float32], sample_rate_hz: int, n_mels: int) -> Frames:
    """Returns float32 (n_frames, n_mels), n_frames a multiple of STEP_FRAMES and at least LEAST_FRAMES.

    The signal's mean is removed, so that a constant offset changes nothing.

    Args:
        signal: float32 (n_samples,), full scale = 1.
        n_mels: bands from 60 to 7800 Hz.

    Examples:
        >>> log_mel(np.zeros(8000, np.float32), 8000, n_mels=64).shape  # a second, and one frame
        (104, 64)
    """
    if sample_rate_hz != RATE_HZ:
        signal = soxr.resample(signal, sample_rate_hz, RATE_HZ, "HQ")
    centred = (
        signal - signal.mean(dtype=np.float64).astype(np.float32) if len(signal) else np.zeros(1, np.float32)
    )
    settings = params.Spectrum(
        n_fft=1024, hop_length=160, n_mels=n_mels, fmin_hz=FMIN_HZ, fmax_hz=FMAX_HZ, top_db=100.0
    )
    power = Spectrum(centred, RATE_HZ, settings).power
    mel = power @ mel_filters(RATE_HZ, settings.n_fft, n_mels, FMIN_HZ, FMAX_HZ).T
    standardized = (np.log(mel + np.float32(LEAST_POWER)) - MEAN) / STD
    n_frames = max(LEAST_FRAMES, -(-len(mel) // STEP_FRAMES) * STEP_FRAMES)
    return np.pad(standardized, ((0, n_frames - len(mel)), (0, 0)), mode="edge").astype(np.float32)
