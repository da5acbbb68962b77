"""Randomness as an argument: a generator keyed by what it is for, never a global seed."""

from __future__ import annotations

import hashlib
import json

import numpy as np


def rng(seed: int, *key: str | int) -> np.random.Generator:
    """Returns the generator of `seed` and `key`, such as a clip and the number of its copy.

    The stream is the same in every process, on every machine, whatever was drawn for other keys.
    """
    digest = hashlib.sha256(json.dumps([seed, *key]).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
