"""A stage's start-up imports only what it needs: every import is paid for at each `dvc repro`."""

from __future__ import annotations

import ast
import itertools
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.support import shipped
from tests.test_layout import PIPELINE, ROOT

# Libraries whose import takes a tenth of a second or more, or which no stage may need at all.
HEAVY = {
    "dvc", "keras", "librosa", "matplotlib", "numba", "requests", "scipy.fft", "scipy.linalg",
    "scipy.optimize", "scipy.signal", "scipy.stats", "skops", "sklearn", "tensorflow",
}  # fmt: skip
NEEDED = {
    "ingest": {"requests"},
    "train": {"scipy.fft", "scipy.linalg", "scipy.optimize", "scipy.stats", "sklearn"},
    "evaluate": {"scipy.fft", "scipy.linalg", "scipy.optimize"},
    "report": {"matplotlib", "scipy.fft", "scipy.linalg", "scipy.optimize"},
}
# Libraries that a declared one needs, and that are imported for what it returns or raises.
COMES_WITH = {
    "audiofile": "opensmile",
    "fsspec": "dvc",
    "pydantic-core": "pydantic",
    "scmrepo": "dvc",
    "sqlalchemy": "optuna",
}


@pytest.mark.parametrize("name", PIPELINE)
def test_a_stage_starts_without_what_it_does_not_need(name: str, tmp_path: Path) -> None:
    # Reading params.yaml imports the chosen corpora, augmentations and features.
    code = f"import sys, stages.{name}; from stages.base import params; params.read()"
    code += f"; print(*sorted({HEAVY!r} & {{*sys.modules}}))"
    shipped.write(tmp_path)
    command = [sys.executable, "-c", code]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    surplus = {*done.stdout.split()} - NEEDED.get(name, set())
    assert not surplus, f"stages/{name}.py imports {sorted(surplus)} before it knows whether they are needed"


def requirements() -> list[str]:
    """Returns those of pyproject.toml, of all extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]


def test_builds_of_tensorflow_which_share_a_folder_are_of_one_version() -> None:
    builds = [line.partition(";")[0] for line in requirements() if re.match(r"tensorflow\b", line)]
    assert len(builds) == 4  # of `cpu` (one for each system), `gpu` and `pretrained`
    assert len({re.sub(r"^[\w-]+(\[.*?\])?", "", line) for line in builds}) == 1
    assert all("==" in line for line in builds)


def test_every_library_that_the_code_imports_is_declared() -> None:
    wanted = requirements()
    wanted += (ROOT / "benchmark" / "speed" / "peers.txt").read_text().splitlines()
    declared = {canonical(re.split(r"[^\w.-]", line)[0]) for line in wanted}
    distributions = packages_distributions()
    declared |= {name for name, parent in COMES_WITH.items() if parent in declared}
    undeclared = {
        f"{path.relative_to(ROOT)} imports {name}"
        for folder in ("stages", "benchmark")
        for path in (ROOT / folder).rglob("*.py")
        for name in imported(path) - {*sys.stdlib_module_names, "stages", "benchmark", "tests"}
        if not declared & {canonical(each) for each in distributions.get(name, [name])}
    }
    assert not undeclared


def canonical(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def imported(path: Path) -> set[str]:
    """Returns the names of the packages that a file imports."""
    names = set[str]()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return {name.split(".")[0] for name in names}
