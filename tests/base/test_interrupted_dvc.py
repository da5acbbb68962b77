"""DVC in a workspace: it ends together with what it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from ruamel.yaml import YAML

from stages.base import errors, workspace
from tests.support.workspace import ROOT

STAGE = "import os, pathlib, time; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(60)"
TOOL = "from stages.base import errors, workspace; errors.run(lambda: workspace.dvc('.', 'repro'))"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A workspace of one stage, which sleeps. A shell stays between DVC and it."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text(workspace.CONFIG.format(cache="cache"))
    YAML().dump({"stages": {"fit": {"cmd": f'{sys.executable} -c "{STAGE}"; true'}}}, tmp_path / "dvc.yaml")
    return tmp_path


@pytest.mark.parametrize(
    ("number", "to_all"),
    [
        (signal.SIGTERM, False),
        pytest.param(signal.SIGINT, False, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, True, marks=pytest.mark.slow),  # Ctrl-C in a terminal
    ],
)
def test_an_interrupt_ends_the_stage_that_dvc_started(
    place: Path, number: signal.Signals, to_all: bool
) -> None:
    tool = subprocess.Popen(
        [sys.executable, "-c", TOOL],
        cwd=place, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    pid = place / "pid"
    while not (pid.is_file() and pid.read_text()):
        assert tool.poll() is None
        time.sleep(0.05)
    (os.killpg if to_all else os.kill)(tool.pid, number)
    _, said = tool.communicate(timeout=30)
    assert tool.returncode == 128 + number
    assert errors.INTERRUPTED in said
    stage = int(pid.read_text())
    assert not psutil.pid_exists(stage) or psutil.Process(stage).status() == psutil.STATUS_ZOMBIE
