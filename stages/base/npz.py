"""Npz files. Reading is safe: no object in one is ever unpickled, and a small file fills no memory."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike

from stages.base.errors import InputError
from stages.base.files import replacing

# What numpy raises for files that are not npz, are damaged, or hold objects that would have to be unpickled.
UNREADABLE = (
    *(OSError, EOFError, ValueError, RuntimeError, LookupError, OverflowError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error),
)


def write(path: Path, /, **arrays: ArrayLike) -> None:
    """Writes the arrays completely or not at all, the same bytes for the same values."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)  # type: ignore[arg-type]


def zipped(path: Path) -> Any:
    """Returns the opened npz file; no object in it is ever unpickled.

    Raises:
        UNREADABLE: `path` is not an npz file, or its arrays are larger than the file.
    """
    stored = np.load(path, allow_pickle=False)
    if not isinstance(stored, np.lib.npyio.NpzFile):
        raise ValueError("one array, not an archive of arrays")
    check_stored(path)
    archive: Any = stored.zip
    for info in archive.infolist():
        try:
            with archive.open(info) as entry:
                _check_array(entry, info.file_size)
        except zipfile.BadZipFile:
            continue  # damaged: reported if it is read
    return stored


@contextmanager
def written_by_train(path: Path, what: str) -> Iterator[Any]:
    """Yields the opened npz file. A fault of its arrays is found in the block, too.

    Raises:
        InputError: instead of what numpy raises: the file is not `what` that train wrote.
    """
    try:
        with zipped(path) as stored:
            yield stored
    except (*UNREADABLE, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not {what} written by train ({error}). Run `dvc repro train`.") from error


def check_stored(path: Path) -> None:
    """Raises ValueError if the zip file at `path` unpacks to more than its own size.

    The pipeline compresses no npz or skops file. One that is compressed is not the pipeline's, and could
    fill the memory.
    """
    with zipfile.ZipFile(path) as file:
        if sum(info.file_size for info in file.infolist()) > path.stat().st_size:
            raise ValueError("it unpacks to more than its own size")


def _check_array(entry: IO[bytes], n_bytes: int) -> None:
    """Raises ValueError if the .npy file `entry`, of `n_bytes`, does not contain what its header says."""
    if np.lib.format.read_magic(entry) != (1, 0):
        raise ValueError("not a simple array")
    shape, _, dtype = np.lib.format.read_array_header_1_0(entry)
    if entry.tell() + math.prod(shape) * dtype.itemsize != n_bytes:
        raise ValueError(f"an array of shape {shape} in {n_bytes} bytes")
