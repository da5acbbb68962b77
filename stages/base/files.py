"""Where the pipeline's files are, and how to write one completely or not at all."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from stages.base.errors import InputError

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
EVALUATED = tuple(  # what evaluate writes there
    METRICS / name
    for name in (
        *("scores.json", "test.json"),
        *("confusion.csv", "enrolment.csv", "reliability.csv", "risk_coverage.csv"),
    )
)
ABANDONED_DAYS = 7  # after which the temporary files of another machine are removed


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, which replaces `path` when the block ends without an error.

    A kill or a full disk leaves the old file or none, never half of the new one. An OSError in the block
    names `path`, even where the system names the temporary file or none.

    Raises:
        InputError: `path` is a device or a pipe, which would be replaced, or its folder cannot be created.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise InputError(f"{path}: is a device or a pipe, not a file. Choose another name.")
    temporary = path.with_name(f".{path.name}.{_suffix()}")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError as error:  # as below /proc
            raise InputError(f"{path}: its folder cannot be created. Choose another one.") from error
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
    DATA.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=DATA, prefix=f".{name}-", suffix=f".{_suffix()}") as folder:
        yield Path(folder)


def sweep() -> None:
    """Removes temporary files and folders that killed processes left in data and metrics.

    Another machine or container that shares the folder has process ids of its own, so that nobody here can
    know whether one of its processes still runs: what it left is removed after ABANDONED_DAYS.
    """
    for path in (*DATA.glob(".*.part"), *METRICS.glob(".*.part")):
        match = re.search(r"\.(\w+)-(\d+)\.part$", path.name)
        if match is None:
            continue
        try:
            days = (time.time() - path.stat().st_mtime) / (24 * 60 * 60)
            ours = match[1] == _host()
            if not _is_running(int(match[2])) if ours else days > ABANDONED_DAYS:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        except FileNotFoundError:  # its process, or another sweep, was faster
            continue


def _is_running(number: int) -> bool:
    """Returns whether a process runs; one that has ended may stay listed, where nobody asks how it ended."""
    try:
        return bool(psutil.Process(number).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # of another user
        return True


@functools.cache
def _host() -> str:
    """Returns what distinguishes the process ids of this machine since its start, or of this container."""
    namespace = Path("/proc/self/ns/pid")  # on Linux; a container has its own
    number = namespace.stat().st_ino if namespace.exists() else 0
    boot = Path("/proc/sys/kernel/random/boot_id")
    started = boot.read_text() if boot.exists() else int(psutil.boot_time())
    return hashlib.sha256(repr((socket.gethostname(), started, number)).encode()).hexdigest()[:12]


def _suffix() -> str:
    """Returns the end of the name of this process's temporary files."""
    return f"{_host()}-{os.getpid()}.part"


def write(content: str | bytes, path: Path) -> None:
    """Writes a file, text in UTF-8."""
    with replacing(path) as temporary:
        temporary.write_bytes(content if isinstance(content, bytes) else content.encode())


def write_json(values: dict[str, Any], path: Path) -> None:
    """Writes `values` as indented JSON with sorted keys, so that a diff shows one line per value."""
    write(json.dumps(values, indent=2, sort_keys=True, allow_nan=False) + "\n", path)
