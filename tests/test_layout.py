"""The code layout: imports run one way, and a stage depends on every package that it runs."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from stages.base import registry
from stages.base.files import EVALUATED, PREDICTIONS
from stages.data import code

ROOT = Path(__file__).resolve().parents[1]
STAGES = ROOT / "stages"
PIPELINE = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())["stages"]
SCRIPTS = sorted(STAGES / f"{name}.py" for name in PIPELINE)
FILES = sorted(path for path in STAGES.rglob("*.py") if path.stem != "__init__")

# A package imports packages of earlier rows only. An entry of a registry is found by its file name, never
# imported; a script or tool is imported by nothing.
LEVELS = (
    {"base"},
    {"data"},
    {"audio", "splitting", "evaluation", "compute"},
    {"acquire", "learning"},
    {"networks", "reporting", "inference", "checking"},
    {"export", "page", "searching"},
    {*registry.CONTRACTS, "tools", *(path.name for path in SCRIPTS)},
)
MOST_FILES = 16  # in one folder; a registry has as many as entries
MOST_DEPS = 8  # of code, in one stage


def level(file: Path) -> int:
    return next(i for i, packages in enumerate(LEVELS) if code.package(file) in packages)


def reached(file: Path) -> set[Path]:
    """Returns what a file imports, directly or through others, base and compute included."""
    found: set[Path] = set()
    waiting = {file}
    while waiting:
        new = code.imported(waiting.pop())[0] - found
        found |= new
        waiting |= new
    return found


def test_imports_run_one_way_between_packages() -> None:
    wrong = [
        f"{file.relative_to(ROOT)} imports {other.relative_to(ROOT)}"
        for file in FILES
        for other in code.imported(file)[0]
        if code.package(file) != code.package(other) and level(other) >= level(file)
    ]
    assert not wrong


def test_entries_and_tools_import_no_others_of_their_kind() -> None:
    alone = {*registry.CONTRACTS, "tools"}
    wrong = [
        f"{file.relative_to(ROOT)} imports {other.relative_to(ROOT)}"
        for file in FILES
        for other in code.imported(file)[0]
        if code.package(other) in alone
    ]
    assert not wrong


def test_no_file_imports_itself_through_others() -> None:
    assert not [str(file.relative_to(ROOT)) for file in FILES if file in reached(file)]


def test_no_folder_is_a_drawer() -> None:
    folders = itertools.groupby(FILES, key=lambda file: file.parent)
    sizes = {
        str(folder): len(list(files)) for folder, files in folders if folder.name not in registry.CONTRACTS
    }
    assert {folder: n for folder, n in sizes.items() if n > MOST_FILES} == {}


@pytest.mark.parametrize("name", PIPELINE)
def test_a_stage_runs_the_script_of_its_name(name: str) -> None:
    assert PIPELINE[name]["cmd"] == f"python -m stages.{name}"


@pytest.mark.parametrize("name", [name for name in PIPELINE if name != "select"])
def test_a_stage_depends_on_its_script_and_on_the_packages_it_imports(name: str) -> None:
    script = STAGES / f"{name}.py"
    packages = {code.package(file) for file in code.closure([script])} - {script.name}
    deps = {dep.removeprefix("stages/") for dep in PIPELINE[name]["deps"] if dep.startswith("stages/")}
    assert deps == packages | {script.name}
    assert len(deps) <= MOST_DEPS


def test_select_looks_at_all_code() -> None:
    assert PIPELINE["select"]["deps"] == ["data/sources", "stages"]


@pytest.mark.parametrize("kind", registry.CONTRACTS)
def test_a_stage_that_loads_entries_depends_on_what_select_wrote(kind: str) -> None:
    loading = {name for name in PIPELINE if f"data/selected/{kind}.json" in PIPELINE[name]["deps"]}
    expected = {
        "corpora": {"ingest", "manifest"},
        "augmentations": {"augment"},
        "features": {"featurize"},
        "models": {"train", "evaluate"},
    }
    assert loading == expected[kind]


def test_select_looks_at_all_parameters_but_those_of_the_machine() -> None:
    """So a wrong value stops a run before DVC deletes the outputs of a later stage.

    The same run on a machine with other `compute` has the same dvc.lock.
    """
    keys = list(YAML(typ="safe").load((ROOT / "params.yaml").read_text()))
    assert PIPELINE["select"]["params"] == sorted(key for key in keys if key != "compute")


def test_no_output_with_audio_is_pushed() -> None:
    for stage, folder in (("ingest", "data/raw"), ("augment", "data/augmented")):
        assert {folder: {"persist": True, "push": False}} in PIPELINE[stage]["outs"]
    assert {"metrics/report.html": {"push": False}} in PIPELINE["report"]["outs"]  # it has players


def test_docs_show_the_graph_that_dvc_draws() -> None:
    command = [sys.executable, "-m", "dvc", "dag", "--md"]
    drawn = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert drawn.strip() in (ROOT / "docs" / "pipeline.md").read_text()


def test_what_evaluate_writes_into_metrics_is_listed() -> None:
    stage = PIPELINE["evaluate"]
    named = [*stage["outs"], *itertools.chain(*stage["metrics"], *stage["plots"])]
    assert sorted(map(Path, named)) == sorted([PREDICTIONS, *EVALUATED])


def test_freezing_a_stage_changes_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC writes dvc.yaml anew, in its own style and order, so it has to be in them already."""
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    before = Path("dvc.yaml").read_text().splitlines()
    with Repo.init(no_scm=True) as repo:
        for name, stage in PIPELINE.items():
            if "${" in str(stage):
                continue  # DVC cannot freeze a stage with a parameter in its name
            repo.freeze(name)
            after = Path("dvc.yaml").read_text().splitlines()
            after.remove("    frozen: true")
            assert after == before, name
            repo.unfreeze(name)
            assert Path("dvc.yaml").read_text().splitlines() == before, name
