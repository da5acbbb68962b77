"""Hashes that identify content, and random generators keyed by their purpose instead of a global seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.base.errors import InputError


def fingerprint(*parts: Any) -> str:
    """Returns the first 16 hex digits of the SHA-256 of `parts` as canonical JSON.

    Examples:
        >>> fingerprint("demo", {"a": 1, "b": 2}) == fingerprint("demo", {"b": 2, "a": 1})
        True
        >>> fingerprint(20, "demo/x", 1)
        '671359ae09aa4ef1'
    """
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def leaves(values: dict[str, Any]) -> dict[str, Any]:
    """Returns nested blocks of parameters as one dictionary with dotted keys.

    A list of plain values is one value; in blocks and other lists every value has its own key.

    Examples:
        >>> leaves({"split": {"n_folds": 3, "lists": {}}, "layers": [{"units": 8}], "corpus": ["demo"]})
        {'split.n_folds': 3, 'split.lists': {}, 'layers.0.units': 8, 'corpus': ['demo']}
    """
    return dict(_leaves("", values))


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        value = dict(enumerate(value))
    if isinstance(value, dict) and value:
        for name, below in value.items():
            yield from _leaves(f"{key}.{name}" if key else str(name), below)
    else:
        yield key, value


def sha256(path: Path) -> str:
    """Returns the hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weight_files(path: Path, names: Sequence[str] = ()) -> list[Path]:
    """Returns the file of an encoder's weights, or those of these `names` in the folder `path`."""
    return [path / name for name in names] or [path]


def check_weights(path: Path, expected: str | None, place: str, key: str, names: Sequence[str] = ()) -> None:
    """Checks the file, or the files in a folder, of an encoder's weights.

    Args:
        path: of the file or the folder.
        expected: hex digits that the bytes must have, of all files one after the other.
        place: of the encoder's block in params.yaml.
        key: of the path in that block.
        names: of the files in the folder.

    Raises:
        InputError: a file is missing, or they have another checksum.
    """
    digest = hashlib.sha256()
    for file in weight_files(path, names):
        if not file.is_file():
            raise InputError(f"{place}.{key}: '{file}' does not exist. See data/pretrained/README.md.")
        with file.open("rb") as content:
            hashlib.file_digest(content, lambda: digest)
    if (found := digest.hexdigest()) != expected:
        raise InputError(
            f"{place}.sha256: {expected}, but {path} has {found}. Other weights are other features."
        )


def rng(seed: int, *key: str | int) -> np.random.Generator:
    """Returns the random generator of `seed` and `key`, for instance of a clip and the number of its copy.

    Its stream is the same in every process and on every machine, whatever is drawn for other keys.

    Examples:
        >>> rng(20, "demo/x", 1).random() == rng(20, "demo/x", 1).random()
        True
        >>> rng(20, "demo/x", 1).random() == rng(20, "demo/x", 2).random()
        False
    """
    digest = hashlib.sha256(json.dumps([seed, *key]).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
