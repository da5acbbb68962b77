"""Where the pipeline's files are, and how to write one completely or not at all."""

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
CHECKPOINTS = DATA / "checkpoints"  # unfinished trainings; not tracked by DVC
METRICS = Path("metrics")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, which replaces `path` when the block ends without an error.

    A kill or a full disk leaves the old file or none, never half of the new one. An OSError in the block
    names `path`, even where the system names the temporary file or none.
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
    """Removes temporary files and folders that killed processes left in data and metrics."""
    for path in (*DATA.glob(".*.part"), *METRICS.glob(".*.part")):
        process = path.name.split(".")[-2]
        if process.isdecimal() and not psutil.pid_exists(int(process)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def write_json(values: dict[str, Any], path: Path) -> None:
    """Writes `values` as indented JSON with sorted keys, so that a diff shows one line per value."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2, sort_keys=True, allow_nan=False) + "\n")
