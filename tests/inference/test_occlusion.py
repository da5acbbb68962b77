"""The part that an answer rests on is found."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stages.inference import occlusion

RATE_HZ = 1000


class Energy:
    """A model that is the more sure of anger, the more energy there is from 1.0 to 1.25 s."""

    def predict_batch(self, recordings: Sequence[np.ndarray], rate_hz: int) -> list[Any]:
        answers = []
        for samples in recordings:
            p = float(np.mean(samples[rate_hz : 5 * rate_hz // 4] ** 2))
            probabilities = {"anger": p, "fear": 1 - p} if samples.any() else {}
            answers.append(SimpleNamespace(probabilities=probabilities, confidence=p, emotion="anger"))
        return answers


def test_the_part_that_counts_is_found() -> None:
    parts = occlusion.effects(Energy(), np.full(4 * RATE_HZ, 0.9, np.float32), RATE_HZ)  # type: ignore[arg-type]
    assert (parts[0].start_s, parts[-1].end_s, len(parts)) == (0.0, 4.0, occlusion.N_PARTS)
    counts = [(part.start_s, part.end_s) for part in parts if part.effect > 0.01]
    assert counts == [(1.0, 1.25)]
    assert max(part.effect for part in parts) == pytest.approx(0.81, rel=1e-3)


def test_a_recording_without_an_answer_has_no_parts() -> None:
    assert occlusion.effects(Energy(), np.zeros(4 * RATE_HZ, np.float32), RATE_HZ) == []  # type: ignore[arg-type]
