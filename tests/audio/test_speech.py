"""What is used of a recording does not depend on its gain, or on what is around the speech."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from stages.audio.speech import MARGIN_FRAMES, speech
from stages.base.params import Audio

RATE_HZ = 16_000
AUDIO = Audio(sample_rate_hz=RATE_HZ, trim_db=30.0, level_db=-20.0, pre_emphasis=0.0)
MARGIN = MARGIN_FRAMES * RATE_HZ // 50


def spoken(n_samples: int = 2 * RATE_HZ) -> np.ndarray:
    """Six syllables of a buzz at about -30 dBFS, with pauses."""
    time_s = np.arange(n_samples) / RATE_HZ
    buzz = sum(np.sin(2 * np.pi * k * 150 * time_s) / k for k in range(1, 20))
    return (0.05 * buzz * np.sin(np.pi * 3 * time_s) ** 2).astype(np.float32)


def noise(seconds: float, level_db: float) -> np.ndarray:
    rng = np.random.default_rng(3)
    return (10 ** (level_db / 20) * rng.standard_normal(round(seconds * RATE_HZ))).astype(np.float32)


@pytest.mark.parametrize("gain_db", [-40.0, -20.0, 10.0])
def test_the_gain_changes_nothing(gain_db: float) -> None:
    used = speech(spoken() * np.float32(10 ** (gain_db / 20)), RATE_HZ, AUDIO)
    np.testing.assert_allclose(used, speech(spoken(), RATE_HZ, AUDIO), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    "around",
    [lambda: np.zeros(2 * RATE_HZ, np.float32), lambda: noise(2.0, -60.0), lambda: noise(2.0, -45.0)],
)
def test_silence_and_quiet_noise_around_are_cut_off(around: Callable[[], np.ndarray]) -> None:
    padded = np.concatenate([around(), spoken(), around()])
    used = speech(padded, RATE_HZ, AUDIO)
    plain = speech(spoken(), RATE_HZ, AUDIO)
    assert 0 <= len(used) - len(plain) <= 2.5 * MARGIN
    middle = slice(len(used) // 2 - RATE_HZ // 4, len(used) // 2 + RATE_HZ // 4)
    assert np.sqrt(np.mean(used[middle] ** 2)) == pytest.approx(np.sqrt(np.mean(plain**2)), rel=0.3)


def test_loud_noise_is_not_taken_for_silence_around() -> None:
    noisy = spoken() + noise(2.0, -35.0)
    assert len(speech(noisy, RATE_HZ, AUDIO)) > 0.8 * len(noisy)


def test_each_step_can_be_left_out() -> None:
    padded = np.pad(spoken(), RATE_HZ)
    untrimmed = speech(padded, RATE_HZ, AUDIO.model_copy(update={"trim_db": None}))
    assert len(untrimmed) == len(padded)
    own_level = speech(padded, RATE_HZ, AUDIO.model_copy(update={"level_db": None}))
    assert np.isin(own_level, padded).all()


@pytest.mark.parametrize("n_samples", [1, 100, 5000])
def test_silence_and_short_clips_stay_finite(n_samples: int) -> None:
    for samples in (np.zeros(n_samples, np.float32), spoken(n_samples)):
        used = speech(samples, RATE_HZ, AUDIO)
        assert 0 < len(used) <= n_samples
        assert np.isfinite(used).all()
