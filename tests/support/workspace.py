"""A working folder with the project's params, a few short clips and their manifest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from ruamel.yaml import YAML

from stages.base.files import MANIFEST, RAW
from stages.data import keys, tables
from tests.support.manifests import manifest

ROOT = Path(__file__).resolve().parents[2]
RATE_HZ = 16_000


class Workspace:
    """What `augment` and `featurize` find when they run in `folder`, which is the current one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.params = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
        self.set(augment__copies=0, compute__workers=1)

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
        """Lists so many clips of each speaker in a new manifest, and writes those that are not there."""
        rows = []
        for speaker, n_clips in speakers.items():
            for number in range(n_clips):
                clip = f"{speaker}_{number:02}"
                path = self.folder / RAW / "demo" / f"{clip}.wav"
                if not path.exists():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    soundfile.write(path, voice(speaker, number), RATE_HZ)
                rows.append({"corpus": "demo", "clip": clip, "speaker": speaker, "sha256": keys.sha256(path)})
        facts = {"sex": "female", "sentence": "1", "emotion": "anger"}
        table = manifest(row | facts for row in rows)
        tables.write(table, tables.MANIFEST, self.folder / MANIFEST)


def start(verb: str, stderr: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
    """Starts a stage in a process of its own, as DVC does."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", f"stages.{verb}"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True)


def output(process: subprocess.Popen[str]) -> str:
    """Returns what a process prints until it ends well."""
    said, _ = process.communicate()
    assert process.returncode == 0, said
    return said


def voice(speaker: str, number: int) -> np.ndarray:
    """Returns a third of a second, another one for every speaker and number."""
    time_s = np.arange(RATE_HZ // 3 + 100 * number) / RATE_HZ
    f0_hz = 100 + 10 * sum(map(ord, speaker)) % 97 + number
    return sum(0.2 / k * np.sin(2 * np.pi * k * f0_hz * time_s) for k in range(1, 6))


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Returns each file's time of change and its bytes, by name."""
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


def contents(folder: Path) -> dict[str, bytes]:
    """Returns each file's bytes, by name."""
    return {name: content for name, (_, content) in state(folder).items()}
