"""Signals that tests make."""

from __future__ import annotations

import numpy as np

RATE_HZ = 16_000


def speechlike(n_samples: int = RATE_HZ) -> np.ndarray:
    """Returns harmonics of 150 Hz that swell three times a second, and a little noise, float32 at RATE_HZ."""
    time_s = np.arange(n_samples) / RATE_HZ
    envelope = np.sin(np.pi * time_s * 3) ** 2
    tone = sum(np.sin(2 * np.pi * k * 150 * time_s) / k for k in range(1, 20))
    return (0.1 * envelope * tone + np.random.default_rng(2).normal(0, 1e-4, n_samples)).astype(np.float32)
