"""Reading npz files from strangers: no object in one is ever unpickled."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

# What numpy raises of files that are no npz, damaged, or hold objects, which it would have to unpickle.
UNREADABLE = (
    *(OSError, EOFError, ValueError, RuntimeError, LookupError, MemoryError, OverflowError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error),
)


def zipped(path: Path) -> Any:
    """Returns the open npz file `path`, of which no object is ever unpickled.

    Raises:
        UNREADABLE: it is none.
    """
    stored = np.load(path, allow_pickle=False)
    if not isinstance(stored, np.lib.npyio.NpzFile):
        raise ValueError("one array, not an archive of arrays")
    return stored
