"""The robustness table of a trained model."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from stages.audio.recording import decode
from stages.base.errors import InputError
from stages.tools import robustness
from tests.support.workspace import RATE_HZ, voice


def test_every_condition_is_a_readable_file(tmp_path: Path) -> None:
    samples = voice("s", 1).astype(np.float32)
    path = tmp_path / "degraded"
    for name, degrade in robustness.CONDITIONS.items():
        path.write_bytes(degrade(samples))
        recording = decode(path)
        around_s = 4.0 if "both sides" in name else 0.0
        assert recording.duration_s <= len(samples) / RATE_HZ + around_s + 0.1
        assert recording.sample_rate_hz == (8000 if "8 kHz" in name else RATE_HZ)


def test_without_a_trained_model_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "params.yaml").write_text(Path("params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["robustness"])
    with pytest.raises(InputError, match=r"data/model: contains no trained fold"):
        robustness.main()
