"""The real recordings that speed is measured on, and workspaces that hold them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from benchmark.speed import measure
from stages.audio import recording
from stages.base.errors import InputError
from stages.base.files import MANIFEST, RAW
from stages.base.params import PARAMS, load
from stages.data import keys, tables

ROOT = Path(__file__).resolve().parents[2]
PLACES = (ROOT / "data" / "sources" / "ravdess", ROOT.parent / "shared" / "corpora" / "ravdess")
N_STAGE_CLIPS = 360  # of six speakers: enough shards for two workers


def ravdess() -> list[Path]:
    """Returns RAVDESS speech, sorted by name.

    Raises:
        InputError: it is in none of the places.
    """
    for place in PLACES:
        paths = sorted(path for path in place.rglob("03-01-*") if path.suffix in recording.SUFFIXES)
        if paths:
            return paths
    raise InputError(f"No recordings of RAVDESS speech in {' or '.join(map(str, PLACES))}.")


def some(n: int, sample_rate_hz: int) -> tuple[list[Path], list[recording.Samples], str]:
    """Returns `n` of its files across speakers and emotions, their samples, and a description."""
    every = ravdess()
    paths = every[:: len(every) // n][:n]
    signals = [recording.load(path, sample_rate_hz) for path in paths]
    mean_s = np.mean([len(signal) for signal in signals]) / sample_rate_hz
    return paths, signals, f"{n} clips of RAVDESS speech, {mean_s:.2f} s on average, {sample_rate_hz} Hz"


def workspace(folder: Path, paths: list[Path], n_times: int = 1, **changes: Any) -> Path:
    """Writes into `folder` what augment and featurize start from: these recordings, `n_times` over.

    The copies are links to the same files under other speakers' names, none of them marked as a duplicate.

    Args:
        folder: a new one.
        changes: see `write_params`.
    """
    folder.mkdir(parents=True)
    write_params(folder, **changes)
    rows = []
    hashes = [keys.sha256(path) for path in paths]
    for time in range(n_times):
        for path, content in zip(paths, hashes, strict=True):
            clip, speaker = f"ravdess/{path.stem}x{time}", f"ravdess/{path.stem[-2:]}x{time}"
            file = f"{clip}{path.suffix}"
            link(path, folder / RAW / file)
            rows.append({"path": file, "clip": clip, "speaker": speaker, "sha256": content})
    same = {"corpus": "ravdess", "emotion": "anger", "n_bytes": 0, "problem": "", "notices": ""}
    table = pd.DataFrame(rows).assign(**same).reindex(columns=list(tables.MANIFEST.columns))
    tables.write(tables.typed(table, tables.MANIFEST), tables.MANIFEST, folder / MANIFEST)
    return folder


def clone(folder: Path, **changes: Any) -> None:
    """Copies the project's files into `folder`, a repository of its own, with changed params.

    Args:
        changes: see `write_params`.
    """
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True)
    for name in listed.stdout.splitlines():
        if name != "dvc.lock" and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    write_params(folder, **changes)
    commit(folder)


def commit(folder: Path) -> None:
    """Makes `folder` a Git repository, which DVC requires."""
    for arguments in (["init", "-q"], ["add", "--all"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True)


def link(path: Path, place: Path) -> None:
    """Links `place` to the file `path`; copies it if they are on two file systems."""
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, place)
    except OSError:
        shutil.copyfile(path, place)


def write_params(folder: Path, **changes: Any) -> None:
    """Writes the project's params.yaml into `folder`, changed: keys have double underscores for dots."""
    settings = load(ROOT / PARAMS)
    for key, value in changes.items():
        *above, last = key.split("__")
        reduce(getitem, above, settings)[last] = value
    with (folder / PARAMS).open("w") as file:
        YAML().dump(settings, file)


def stage(name: str, folder: Path) -> measure.Usage:
    """Runs a stage in a workspace."""
    threads = dict.fromkeys(measure.THREADS, "1")
    return measure.command([sys.executable, "-m", f"stages.{name}"], folder, PYTHONPATH=str(ROOT), **threads)


@contextmanager
def scratch() -> Iterator[Path]:
    """Yields a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="speed-") as folder:
        yield Path(folder)
