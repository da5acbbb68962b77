"""Randomness as an argument: a generator keyed by what it is for, never a global seed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np


def fingerprint(*parts: Any) -> str:
    """Returns 16 hex digits of the SHA-256 of `parts` as canonical JSON: the name of what they make."""
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def sha256(path: Path) -> str:
    """Returns the hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def rng(seed: int, *key: str | int) -> np.random.Generator:
    """Returns the generator of `seed` and `key`, such as a clip and the number of its copy.

    The stream is the same in every process, on every machine, whatever was drawn for other keys.
    """
    digest = hashlib.sha256(json.dumps([seed, *key]).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
