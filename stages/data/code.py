"""Which code makes a result: the project's files that a file imports, found by reading them.

No list is kept by hand: shards, checkpoints and the stage `select` all ask here what they depend on.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from stages.base.registry import STAGES
from stages.data.keys import sha256

# They read, check, name, distribute and report work, but change no value that a stage writes.
# tests/test_layout.py tests the claim. Without it, one more key in params.yaml would train every model again.
NO_VALUE = ("base", "compute")

# Libraries whose versions can change a value, by the name under which they are imported.
LIBRARIES = {
    "keras": "keras",
    "numpy": "numpy",
    "pandas": "pandas",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "soundfile": "soundfile",
    "soxr": "soxr",
    "tensorflow": "tensorflow",
}


@functools.cache
def imported(file: Path) -> tuple[frozenset[Path], frozenset[str]]:
    """Returns the project's files that `file` imports, and the top-level names of all else it imports."""
    files, others = set(), set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules = [[alias.name] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [[f"{node.module}.{alias.name}", str(node.module)] for alias in node.names]
        else:
            continue
        for candidates in modules:
            if candidates[0].split(".")[0] != STAGES.name:
                others.add(candidates[0].split(".")[0])
                continue
            places = [STAGES.parent.joinpath(*candidate.split(".")) for candidate in candidates]
            found = [place.with_suffix(".py") for place in places if place.with_suffix(".py").is_file()]
            files |= set(found[:1])
    return frozenset(files), frozenset(others)


def closure(files: Iterable[Path]) -> list[Path]:
    """Returns `files` and all they import, directly or through others, sorted; nothing of NO_VALUE."""
    found: set[Path] = set()
    waiting = set(files)
    while waiting:
        file = waiting.pop()
        found.add(file)
        waiting |= {other for other in imported(file)[0] if package(other) not in NO_VALUE} - found
    return sorted(found)


def package(file: Path) -> str:
    """Returns the folder below `stages/` that a file is in; of a script, its own name."""
    return file.relative_to(STAGES).parts[0]


def hashes(files: Iterable[Path]) -> dict[str, str]:
    """Returns the SHA-256 of each file of `closure(files)`, by its path below `stages/`."""
    return {file.relative_to(STAGES).as_posix(): sha256(file) for file in closure(files)}


def made_by(files: Iterable[Path]) -> dict[str, str]:
    """Returns `hashes(files)`, and the versions of the libraries of LIBRARIES that those files import."""
    files = closure(files)
    names = {name for file in files for name in imported(file)[1]} & {*LIBRARIES}
    return hashes(files) | versions(LIBRARIES[name] for name in names)


def versions(distributions: Iterable[str]) -> dict[str, str]:
    """Returns the installed versions, sorted by name; those that are not installed are left out."""
    found = {}
    for name in sorted(distributions):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
