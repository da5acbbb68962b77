"""Which code determines a result: the project's files that a file imports, directly or through others.

The imports are found by parsing the files, so nobody keeps lists by hand. The names of shards and checkpoints
and the stage `select` are based on them. tests/data/test_code.py makes sure that no import is overlooked.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from stages.base.errors import InputError
from stages.base.params import Compute
from stages.base.registry import STAGES
from stages.data.keys import sha256

# Packages that check input, name files and distribute work, but determine no value that a stage writes: no
# stage depends on them, so that one more key in params.yaml does not train every model again.
# tests/data/test_code.py tests that they compute nothing.
NO_VALUE = ("base", "compute")

# The distributions whose version can change a value, and the name under which each is imported.
LIBRARIES = {
    "av": "av",
    "keras": "keras",
    "keras-hub": "keras_hub",
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "pandas": "pandas",
    "scikit-learn": "sklearn",
    "scipy": "scipy",
    "soundfile": "soundfile",
    "soxr": "soxr",
    "tensorflow": "tensorflow",
}
OTHER_BUILDS = {"tensorflow": "tensorflow-cpu"}  # the same library under another name


@functools.cache
def imported(file: Path) -> tuple[frozenset[Path], frozenset[str]]:
    """Returns the project's files that `file` imports, and the top-level names of its other imports.

    Imports inside functions count; `__init__.py` files, which are empty, and relative imports do not.
    """
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
            paths = [STAGES.parent / f"{candidate.replace('.', '/')}.py" for candidate in candidates]
            files |= set([path for path in paths if path.is_file()][:1])
    return frozenset(files), frozenset(others)


def closure(files: Iterable[Path]) -> list[Path]:
    """Returns `files` and all they import, directly or through others, sorted, without those in NO_VALUE."""
    found: set[Path] = set()
    waiting = set(files)
    while waiting:
        file = waiting.pop()
        found.add(file)
        waiting |= {other for other in imported(file)[0] if package(other) not in NO_VALUE} - found
    return sorted(found)


def package(file: Path) -> str:
    """Returns a file's folder below `stages/`; for a stage's script, the script's own name."""
    return file.relative_to(STAGES).parts[0]


def stamps(files: Iterable[Path], compute: Compute) -> dict[Path, int]:
    """Returns when each file of `closure(files)` was last written; none for a cluster, which has a copy."""
    return {file: file.stat().st_mtime_ns for file in closure(files)} if compute.engine == "local" else {}


def check_unedited(stamps: Mapping[Path, int]) -> None:
    """Checks that no file was edited since its stamp: this process may have loaded either state of it.

    Raises:
        InputError: names the file.
    """
    for file, written in stamps.items():
        if not file.is_file() or file.stat().st_mtime_ns != written:
            place = file.relative_to(STAGES.parent).as_posix()
            raise InputError(f"{place}: edited while the stage was running. Run the same command again.")


def hashes(files: Iterable[Path]) -> dict[str, str]:
    """Returns the SHA-256 of each file of `closure(files)`, by its path below `stages/`."""
    return {file.relative_to(STAGES).as_posix(): sha256(file) for file in closure(files)}


def made_by(files: Iterable[Path]) -> dict[str, str]:
    """Returns `hashes(files)` and the versions of those LIBRARIES that the files of the closure import."""
    files = closure(files)
    names = {name for file in files for name in imported(file)[1]}
    return hashes(files) | versions(library for library, name in LIBRARIES.items() if name in names)


def versions(distributions: Iterable[str]) -> dict[str, str]:
    """Returns the installed versions by name; distributions that are not installed are skipped.

    That of another build is under the library's name, so that it does not matter which of them is installed,
    or both: keras-hub brings one of its own.
    """
    found: dict[str, str] = {}
    for name in sorted(distributions):
        for build in (name, OTHER_BUILDS.get(name, name)):
            with suppress(metadata.PackageNotFoundError):
                found.setdefault(name, metadata.version(build))
    return found
