"""A working folder with the project's params, a few short clips and their manifest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from stages.base import registry, stage
from stages.base.files import MANIFEST, RAW
from stages.data import code, keys, tables
from tests.support import shipped
from tests.support.manifests import manifest

ROOT = Path(__file__).resolve().parents[2]
RATE_HZ = 16_000


class Workspace:
    """The inputs of `augment` and `featurize` in `folder`, which must be the current folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.params = shipped.values()
        # With shards of 20 clips, a speaker needs 2 for shards of their own.
        self.set(augment__copies=0, compute__workers=1, featurize__clips_per_shard=20)

    def set(self, **changes: Any) -> None:
        """Sets keys of params.yaml, written with double underscores for dots."""
        for key, value in changes.items():
            block = self.params
            *above, last = key.split("__")
            for name in above:
                block = block[name]
            block[last] = value
        (self.folder / "params.yaml").write_text(json.dumps(self.params))  # every JSON is YAML

    def record(self, **speakers: int) -> None:
        """Writes a new manifest with that many clips per speaker, and the audio files that are missing."""
        rows = []
        for speaker, n_clips in speakers.items():
            for number in range(n_clips):
                clip = f"{speaker}_{number:02}"
                path = self.folder / RAW / "demo" / f"{clip}.wav"
                if not path.exists():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    soundfile.write(path, voice(speaker, number), RATE_HZ)
                rows.append({"corpus": "demo", "clip": clip, "speaker": speaker, "sha256": keys.sha256(path)})
        common = {"sex": "female", "sentence": "1", "emotion": "anger"}
        table = manifest(row | common for row in rows)
        tables.write(table, tables.MANIFEST, self.folder / MANIFEST)


def pretend_edit(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a file of the code, given by its path below stages/, look edited to `stages.data.code`."""
    edited = registry.STAGES / file
    assert edited.is_file()
    monkeypatch.setattr(code, "sha256", lambda path: "edited" if path == edited else keys.sha256(path))


def pretend_edit_since_loaded(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a file of the code look edited after the running stage had loaded it."""
    monkeypatch.setattr(stage, "_at_start", {"fit": {file: "as loaded"}})
    monkeypatch.setattr(stage, "state", lambda _: {file: "as it is now"})


def start(verb: str, stderr: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
    """Starts a stage in its own process, as DVC does."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", f"stages.{verb}"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True)


def output(process: subprocess.Popen[str]) -> str:
    """Returns what a process prints, and checks that it succeeds."""
    printed, _ = process.communicate()
    assert process.returncode == 0, printed
    return printed


def voice(speaker: str, number: int) -> np.ndarray:
    """Returns a third of a second of a vowel-like signal, different for every speaker and number."""
    time_s = np.arange(RATE_HZ // 3 + 100 * number) / RATE_HZ
    f0_hz = 100 + 10 * sum(map(ord, speaker)) % 97 + number
    return sum(0.2 / k * np.sin(2 * np.pi * k * f0_hz * time_s) for k in range(1, 6))


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Returns each file's modification time and its bytes, by name."""
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


def contents(folder: Path) -> dict[str, bytes]:
    """Returns each file's bytes, by name."""
    return {name: content for name, (_, content) in state(folder).items()}
