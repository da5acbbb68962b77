from __future__ import annotations

import numpy as np
import pytest

from stages.audio.log_mel import log_mel
from tests.support.signals import RATE_HZ, speechlike


@pytest.mark.parametrize("n_samples", [1, 500, 16_000, 50_001])
def test_a_clip_has_whole_steps(n_samples: int) -> None:
    frames = log_mel(speechlike(n_samples), RATE_HZ, n_mels=64)
    assert frames.shape[0] % 8 == 0 and frames.shape[0] >= 40 and frames.shape[1] == 64
    assert np.isfinite(frames).all()


def test_an_offset_changes_nothing() -> None:
    clip = speechlike()
    offset = log_mel(clip + np.float32(0.1), RATE_HZ, n_mels=64)
    np.testing.assert_allclose(offset, log_mel(clip, RATE_HZ, n_mels=64), atol=1e-3)
