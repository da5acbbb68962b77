"""Reading npz files safely: no object in one is ever unpickled."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

# What numpy raises for files that are not npz, are damaged, or hold objects that would have to be unpickled.
UNREADABLE = (
    *(OSError, EOFError, ValueError, RuntimeError, LookupError, MemoryError, OverflowError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error),
)


def zipped(path: Path) -> Any:
    """Returns the opened npz file; no object in it is ever unpickled.

    Raises:
        UNREADABLE: `path` is not an npz file.
    """
    stored = np.load(path, allow_pickle=False)
    if not isinstance(stored, np.lib.npyio.NpzFile):
        raise ValueError("one array, not an archive of arrays")
    return stored
