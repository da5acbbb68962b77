"""A stage notices what is edited while it runs, and removes what killed stages left."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages.base import files, stage
from stages.base.errors import InputError
from tests.support.workspace import ROOT

HERE = files._host()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, the current one, with a pipeline of one stage."""
    monkeypatch.chdir(tmp_path)
    deps = ["stages/fit.py", "data/clips", "data/table.csv"]
    params = ["seed", "models.${model}", "train.rate"]
    with (tmp_path / "dvc.yaml").open("w") as file:
        YAML().dump(
            {"stages": {"fit": {"cmd": "python -m stages.fit", "deps": deps, "params": params}}}, file
        )
    (tmp_path / "params.yaml").write_text(
        "{seed: 1, model: svm, models: {svm: {c: 1}, gru: {}}, train: {rate: 2, threads: 1}}"
    )
    for name in ("stages/fit.py", "data/clips/a.wav", "data/clips/deep/b.wav", "data/table.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(stage, "_at_start", {"fit": stage.state("fit")})
    return tmp_path


@pytest.fixture
def running(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is the stage `fit`, whose code was edited long ago."""
    monkeypatch.setattr("sys.argv", ["fit"])
    monkeypatch.setattr(stage, "running_stage", lambda: "fit")
    os.utime("stages/fit.py", (0, 0))


def replaced(old: str, new: str) -> Callable[[], None]:
    path = Path("params.yaml")
    return lambda: path.write_text(path.read_text().replace(old, new))


def text(name: str) -> Callable[[], None]:
    return lambda: Path(name).write_text("edited")


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (replaced("seed: 1", "seed: 2"), "params.seed"),
        (replaced("c: 1", "c: 2"), "params.models.svm"),
        (replaced("rate: 2", "rate: 3"), "params.train.rate"),
        (text("stages/fit.py"), "stages/fit.py"),
        (text("data/table.csv"), "data/table.csv"),
        (text("data/clips/deep/b.wav"), "data/clips/deep/b.wav"),
        (text("data/clips/new.wav"), "data/clips/new.wav"),
        (lambda: Path("data/clips/a.wav").unlink(), "data/clips/a.wav"),
        (lambda: Path("data/clips/a.wav").replace("data/clips/deep/b.wav"), "data/clips/a.wav and 1 more"),
    ],
)
def test_an_edit_is_named(project: Path, edit: Callable[[], None], named: str) -> None:
    edit()
    with pytest.raises(InputError, match=rf"^{named}: .*fit"):
        stage.check_unchanged()


@pytest.mark.parametrize(
    "edit",
    [
        replaced("threads: 1", "threads: 2"),
        replaced("gru: {}", "gru: {units: 3}"),
        lambda: Path("stages/fit.py").write_text("stages/fit.py"),
        lambda: Path("data/other.csv").write_text("not a dependency"),
        lambda: Path("stages/__pycache__").mkdir(),
    ],
    ids=["another parameter", "another model", "saved without a change", "another file", "byte code"],
)
def test_what_the_stage_does_not_depend_on_may_change(project: Path, edit: Callable[[], None]) -> None:
    edit()
    stage.check_unchanged()


def test_code_that_is_edited_while_python_starts_is_named(project: Path) -> None:
    os.utime("stages/fit.py", (time.time(), time.time()))
    with pytest.raises(InputError, match=r"^stages/fit\.py: .*fit"):
        stage.check_not_edited_at_start("fit")
    day_s = 24 * 60 * 60
    for date in (time.time() - day_s, time.time() + day_s):
        os.utime("stages/fit.py", (date, date))
        stage.check_not_edited_at_start("fit")


def with_frozen_select(pipeline: Path) -> Any:
    values = YAML(typ="safe").load(pipeline)
    values["stages"]["select"] = {"cmd": "python -m stages.select", "frozen": True}
    return values


def test_code_of_a_selected_entry_must_be_as_select_recorded_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVC sees it through data/selected alone: an edit after select that is undone would leave no trace."""
    selected, entry = Path("data/selected/models.json"), Path("stages/models/svm.py")
    for path in (selected, entry):
        path.parent.mkdir(parents=True, exist_ok=True)
    entry.write_text("as it was")
    selected.write_text(
        json.dumps({"code": {"models/svm.py": hashlib.sha256(entry.read_bytes()).hexdigest()}})
    )
    os.utime("stages/fit.py", (0, 0))
    pipeline = Path("dvc.yaml")
    pipeline.write_text(pipeline.read_text().replace("deps:", f"deps:\n    - {selected}", 1))
    stage.check_not_edited_at_start("fit")
    monkeypatch.setattr(stage, "_at_start", {"fit": stage.state("fit")})
    entry.write_text("edited")
    with pytest.raises(InputError, match=r"^stages/models/svm\.py: .*select"):
        stage.check_not_edited_at_start("fit")
    with pytest.raises(InputError, match=r"^stages/models/svm\.py: .*fit"):
        stage.check_unchanged()
    entry.unlink()
    with pytest.raises(InputError, match=r"^stages/models/svm\.py: .*select"):
        stage.check_not_edited_at_start("fit")
    entry.write_text("as it was")
    before = pipeline.read_text()
    YAML().dump(with_frozen_select(pipeline), pipeline)  # `dvc freeze select` while the stage runs
    stage.check_unchanged()
    pipeline.write_text(before)
    for damaged in ("{", "[]", '{"settings": {}}', '{"code": 1}'):
        selected.write_text(damaged)
        with pytest.raises(InputError, match=r"^data/selected/models\.json: .*`dvc repro`"):
            stage.state("fit")
    YAML().dump(with_frozen_select(pipeline), pipeline)
    stage.check_not_edited_at_start("fit")  # who has no recordings works with the record that DVC pulled


@pytest.mark.usefixtures("running")
def test_code_that_is_edited_just_before_it_is_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    state = stage.state

    def edited_before(name: str) -> stage.State:
        monkeypatch.setattr(stage, "state", state)
        Path("stages/fit.py").write_text("edited")  # Python has imported what was there before
        return state(name)

    monkeypatch.setattr(stage, "state", edited_before)
    with pytest.raises(SystemExit, match=r"^error: stages/fit\.py: .*fit"):
        stage.run(lambda: None)


def test_a_process_that_is_no_stage_is_not_guarded(project: Path) -> None:
    assert stage.running_stage() is None


def test_temporary_files_of_killed_stages_are_removed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone, alive = 2**22 + 1, os.getpid()  # the first is larger than any process id on Linux
    kept = [f".a.json.{HERE}-{alive}.part", f".a.json.elsewhere-{gone}.part", ".x.part", "a.json"]
    for name in (*kept, f".a.json.{HERE}-{gone}.part", f".b.json.elsewhere-{alive}.part"):
        (project / "data" / name).write_text("")
    (project / "data" / f".ingest-abc.{HERE}-{gone}.part" / "demo").mkdir(parents=True)
    long_ago = time.time() - 2 * files.ABANDONED_DAYS * 24 * 60 * 60
    os.utime(project / "data" / f".b.json.elsewhere-{alive}.part", (long_ago, long_ago))
    monkeypatch.setattr("sys.argv", ["split"])
    with pytest.raises(SystemExit):
        stage.run(lambda: None)
    found = {path.name for path in (project / "data").iterdir() if path.name.startswith((".", "a."))}
    assert found == set(kept)


@pytest.mark.usefixtures("running")
def test_a_stage_that_runs_here_already_is_refused_with_its_process() -> None:
    hold = "with workspace.alone(stage.RUNNING / 'fit'): print(flush=True), time.sleep(60)"
    other = subprocess.Popen(
        [sys.executable, "-c", f"import time; from stages.base import stage, workspace\n{hold}"],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
    )  # fmt: skip
    with other:
        assert other.stdout is not None and other.stdout.readline()
        named = rf"^error: data/\.running/fit: .*\(process {other.pid} on .*\)\. Wait for it, or end it\.$"
        with pytest.raises(SystemExit, match=named):
            stage.run(lambda: pytest.fail("it ran"))
        other.kill()
    for _ in range(2):
        with pytest.raises(SystemExit, match=r"^0$"):
            stage.run(lambda: None)


@pytest.mark.parametrize("argument", ["--help", "model=gru"])
def test_a_stage_runs_nothing_when_it_is_given_an_argument(argument: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stages.split", argument],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    if argument == "--help":
        assert done.returncode == 0
        assert "usage: " in done.stdout
    else:
        assert done.returncode == 2
        assert argument in done.stderr
    assert [*tmp_path.iterdir()] == []


def test_the_start_of_a_process_is_not_before_it() -> None:
    before = time.time()
    command = [sys.executable, "-c", "from stages.base import stage; print(stage._started())"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert before - 0.05 <= float(done.stdout) <= time.time()
