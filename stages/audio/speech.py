"""What is used of a recording: its speech, at one level.

Features are computed of it, so that silence and quiet noise around the speech, and the gain of a microphone,
change little or nothing.
"""

from __future__ import annotations

import numpy as np

from stages.audio.quality import FRAME_S, frame_levels
from stages.audio.recording import Samples
from stages.base import params

SMOOTHED_FRAMES = 3  # 60 ms, so that a click is no speech
MARGIN_FRAMES = 4  # 80 ms kept on both sides
END_FRAMES = 5  # at the quieter end of a recording show the noise around its speech
ABOVE_NOISE_DB = 3.0  # speech is at least this much louder than that noise
ALWAYS_DB = 10.0  # a frame is kept if it is at most so far below the loudest, whatever the noise
LOUDEST_FRACTION = 0.1  # of the frames, whose mean power is the level


def speech(samples: Samples, rate_hz: int, audio: params.Audio) -> Samples:
    """Returns the samples from the first to the last loud frame, scaled to one level, float32 (n_samples,).

    Args:
        samples: float32 (n_samples,), full scale = 1.
        audio: `trim_db` and `level_db`, null to leave out a step.

    Examples:
        >>> audio = params.Audio(sample_rate_hz=8000, pre_emphasis=0.0, trim_db=30.0, level_db=-20.0)
        >>> tone = np.sin(np.arange(8000, dtype=np.float32))
        >>> used = speech(np.concatenate([np.zeros(8000, np.float32), 0.01 * tone]), 8000, audio)
        >>> len(used), round(10 * np.log10(np.mean(used**2)))  # the second with the tone, and 100 ms before
        (8800, -20)
    """
    if audio.trim_db is not None:
        samples = samples[_loud(samples, rate_hz, audio.trim_db)]
    if audio.level_db is not None:
        levels = np.sort(frame_levels(samples, rate_hz))
        loudest = levels[-max(1, round(len(levels) * LOUDEST_FRACTION)) :]
        level_db = 10 * np.log10(np.mean(10 ** (loudest / 10)))
        samples = samples * np.float32(10 ** ((audio.level_db - level_db) / 20))
    return samples


def _loud(samples: Samples, rate_hz: int, trim_db: float) -> slice:
    """Returns where the samples are from the first to the last loud frame, with a margin.

    A frame is loud if it is at most `trim_db` below the loudest and above the noise.
    """
    levels = frame_levels(samples, rate_hz)
    around = min(SMOOTHED_FRAMES, len(levels))
    power = np.convolve(10 ** (levels / 10), np.full(around, 1 / around), "same")
    smooth = 10 * np.log10(np.maximum(power, np.finfo(float).tiny))
    noise_db = min(np.median(smooth[:END_FRAMES]), np.median(smooth[-END_FRAMES:]))
    least = max(smooth.max() - trim_db, min(noise_db + ABOVE_NOISE_DB, smooth.max() - ALWAYS_DB))
    loud = np.flatnonzero(smooth >= least)
    n = round(FRAME_S * rate_hz)
    return slice(max(0, loud[0] - MARGIN_FRAMES) * n, (loud[-1] + 1 + MARGIN_FRAMES) * n)
