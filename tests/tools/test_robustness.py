"""The robustness table of a trained model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.audio.recording import decode
from stages.base import params, registry
from stages.base.errors import InputError
from stages.data import tables
from stages.reporting.robustness import DEGRADE
from stages.tools import robustness
from tests.faults import trained
from tests.support import shipped
from tests.support.workspace import RATE_HZ, voice
from tests.test_train import N_DIMS


def test_every_condition_is_a_readable_file(tmp_path: Path) -> None:
    samples = voice("s", 1).astype(np.float32)
    path = tmp_path / "degraded"
    for name, degrade in robustness.CONDITIONS.items():
        path.write_bytes(degrade(samples))
        recording = decode(path)
        around_s = 4.0 if "both sides" in name else 0.0
        assert recording.duration_s <= len(samples) / RATE_HZ + around_s + 0.1
        assert recording.sample_rate_hz == (8000 if "8 kHz" in name else RATE_HZ)


def test_results_belong_to_the_code_of_the_augmentations_that_it_applies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    applied, load = set(), registry.load

    def follow(kind: str, name: str, place: str) -> Any:
        applied.add(name)
        return load(kind, name, place)

    monkeypatch.setattr(registry, "load", follow)
    for degrade in robustness.CONDITIONS.values():
        degrade(voice("s", 1).astype(np.float32))
    assert applied == {*DEGRADE}


def test_without_a_trained_model_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["robustness"])
    with pytest.raises(InputError, match=r"data/model: contains no trained fold"):
        robustness.main()


def test_the_manifest_is_read_once_for_all_conditions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trained.leave(tmp_path, "svm", features__mfcc__n_mfcc=N_DIMS)
    reads = []

    def read(path: Path, schema: Any, columns: Any = None, inner: Any = tables.read, **chosen: Any) -> Any:
        reads.append(columns)
        return inner(path, schema, columns, **chosen)

    monkeypatch.setattr(tables, "read", read)
    monkeypatch.setattr(robustness, "check_recordings", lambda splits: None)
    monkeypatch.setattr(robustness, "load_listed", lambda path, rate_hz: voice("s", 1).astype(np.float32))
    conditions = {name: robustness.CONDITIONS[name] for name in (robustness.CLEAN, "-20 dB")}
    monkeypatch.setattr(robustness, "CONDITIONS", conditions)
    measured = robustness.measure(params.read(), every=4)
    assert {*measured["conditions"]} == {*conditions} and measured["n_clips"] > 1
    assert reads.count(["clip", "path"]) == 1


def test_clips_of_all_speakers_and_labels_are_drawn() -> None:
    labels, speakers = ["anger", "fear", "happiness", "sadness"], [f"c/{n:02}" for n in range(6)]
    clips = [f"{speaker}-{label}-{n}" for speaker in speakers for label in labels for n in range(8)]
    rows = pd.DataFrame({"clip": clips})
    rows[["speaker", "label"]] = [clip.split("-")[:2] for clip in clips]
    drawn = robustness.drawn(rows, 8, seed=20)
    assert drawn["label"].value_counts().to_dict() == dict.fromkeys(labels, 6)
    assert drawn["speaker"].nunique() > 4  # every eighth is of each speaker's first clip
    assert drawn["clip"].is_monotonic_increasing
    assert not drawn.equals(robustness.drawn(rows, 8, seed=21))
