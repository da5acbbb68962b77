"""Files written whole or not at all, and the fingerprints that say whether one is up to date."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

DATA = Path("data")
SOURCES = DATA / "sources"
DOWNLOADS = DATA / "downloads"
SELECTED = DATA / "selected"
RAW = DATA / "raw"
CORPORA = DATA / "corpora.json"
MANIFEST = DATA / "manifest.parquet"
SPLITS = DATA / "splits.parquet"
AUGMENTED = DATA / "augmented"
FEATURES = DATA / "features"
MODEL = DATA / "model"
PRETRAINED = DATA / "pretrained"
PRETRAINED_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"  # of a folder in it
PREDICTIONS = DATA / "predictions.parquet"
CHECKPOINTS = DATA / "checkpoints"  # unfinished trainings; DVC does not know of it
METRICS = Path("metrics")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, which takes its place when the block ends well.

    A kill or a full disk leaves the old file, or none, and never half of the new one. An OSError in the
    block names `path`, also where the system names no file or the temporary one.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise


@contextmanager
def scratch(name: str) -> Iterator[Path]:
    """Yields an empty folder in data that is removed when the block ends."""
    with tempfile.TemporaryDirectory(dir=DATA, prefix=f".{name}-", suffix=f".{os.getpid()}.part") as folder:
        yield Path(folder)


def sweep() -> None:
    """Removes the temporary files and folders of processes that were killed, those in data and metrics."""
    for path in (*DATA.glob(".*.part"), *METRICS.glob(".*.part")):
        process = path.name.split(".")[-2]
        if process.isdecimal() and not psutil.pid_exists(int(process)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def write_json(values: dict[str, Any], path: Path) -> None:
    """Writes `values` with sorted keys, indented, so that a diff shows one line per value."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2, sort_keys=True, allow_nan=False) + "\n")
