"""The house's rules: imports run one way, and DVC is told of every file a stage runs."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.core import registry

ROOT = Path(__file__).resolve().parents[1]
STAGES = ROOT / "stages"
PIPELINE = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())["stages"]
# They read, check, name, spread and report, and decide no value that a stage writes. Were they
# dependencies, one more key in params.yaml would train every model anew.
PLUMBING = {
    STAGES / "core" / f"{name}.py"
    for name in ("corpus", "engine", "errors", "files", "params", "pool", "registry", "worker")
}
MODULES = sorted(path for path in STAGES.rglob("*.py") if path.stem != "__init__")


def imported(path: Path) -> set[Path]:
    """Returns the project's files that one file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stages"):
            for alias in node.names:
                for module in (f"{node.module}.{alias.name}", node.module):
                    file = ROOT / (str(module).replace(".", "/") + ".py")
                    if file.is_file():
                        found.add(file)
                        break
        elif isinstance(node, ast.Import):
            found |= {
                ROOT / (a.name.replace(".", "/") + ".py") for a in node.names if a.name.startswith("stages.")
            }
    return found


def reached(path: Path) -> set[Path]:
    """Returns what a file imports, directly or through others."""
    done: set[Path] = set()
    todo = {path}
    while todo:
        file = todo.pop()
        done.add(file)
        todo |= imported(file) - done
    return done


def room(path: Path) -> str:
    """Returns 'script', 'core' or 'entry'."""
    match path.relative_to(STAGES).parts:
        case (_,):
            return "script"
        case ("core", *_):
            return "core"
        case _:
            return "entry"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_from_script_to_entry_to_core(path: Path) -> None:
    allowed = {"script": {"core"}, "entry": {"core"}, "core": {"core"}}[room(path)]
    wrong = [str(file.relative_to(ROOT)) for file in imported(path) if room(file) not in allowed]
    assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}: entries are found through core.registry"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_import_circle(path: Path) -> None:
    assert all(path not in reached(file) for file in imported(path))


def run_by(name: str) -> tuple[set[str], set[Path]]:
    """Returns a stage's `deps` as patterns, and the files that its script and the entries in them reach."""
    deps = {dep.replace("${model}", "*") for dep in PIPELINE[name]["deps"]}
    files = reached(STAGES / f"{name}.py")
    for dep in deps:
        for entry in ROOT.glob(dep):
            if entry.parent in {STAGES / kind for kind in registry.CONTRACTS} or entry.is_dir():
                for file in [entry] if entry.is_file() else entry.rglob("*.py"):
                    files |= reached(file)
    return deps, files


@pytest.mark.parametrize("name", PIPELINE)
def test_a_stage_depends_on_every_file_it_may_run(name: str) -> None:
    deps, files = run_by(name)
    covered = {file for dep in deps for found in ROOT.glob(dep) for file in [found, *found.rglob("*")]}
    missing = sorted(
        str(file.relative_to(ROOT)) for file in files - covered - PLUMBING if file.is_relative_to(STAGES)
    )
    assert not missing, f"dvc.yaml: stage {name} runs {missing} and does not depend on them"


@pytest.mark.parametrize("name", PIPELINE)
def test_a_stage_depends_on_no_core_file_it_never_runs(name: str) -> None:
    deps, files = run_by(name)
    idle = [dep for dep in sorted(deps) if dep.startswith("stages/core/") and dep.endswith(".py")]
    idle = [dep for dep in idle if ROOT / dep not in files]
    assert not idle, f"dvc.yaml: stage {name} would run again for {idle}, which it does not use"


@pytest.mark.parametrize("name", PIPELINE)
def test_a_stage_runs_the_script_of_its_name(name: str) -> None:
    assert PIPELINE[name]["cmd"] == f"python -m stages.{name}"
