"""What makes a recording usable."""

from __future__ import annotations

import math

import numpy as np

from stages.audio.recording import Samples


def peak_dbfs(samples: Samples) -> float:
    """Returns the greatest magnitude in dB re full scale; minus infinity where every sample is 0."""
    peak = float(max(np.max(samples), -np.min(samples)))  # without a copy of what may be long
    return 20 * math.log10(peak) if peak else -math.inf
