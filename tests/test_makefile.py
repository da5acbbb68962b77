"""`make` installs the chosen build of TensorFlow, and keeps to it; a recorder stands for Python and DVC."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Records what it is called with, but for `-m venv`, which puts it into the environment. Offline, pip fails.
PYTHON = """#!/bin/sh
case "$*" in
"-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python && cp "$0" .venv/bin/dvc ;;
*) echo "$*" >> commands ;;
esac
case "$OFFLINE$*" in yes*install*) exit 1 ;; esac
"""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the Makefile and something that is called as Python is."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def make(project: Path, *arguments: str, offline: bool = False) -> subprocess.CompletedProcess[str]:
    (project / "commands").unlink(missing_ok=True)
    environment = {key: value for key, value in os.environ.items() if key not in ("VENV", "TENSORFLOW")}
    environment |= {"OFFLINE": "yes" if offline else "", "MAKEFLAGS": ""}
    command = ["make", f"PYTHON={project / 'python'}", *arguments, "repro"]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)


def installed(project: Path) -> list[str]:
    """Returns the extras that the last call of `make` installed."""
    path = project / "commands"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.split(" ")[-1] for line in lines if " install " in line and "--editable" in line]


def removed(project: Path) -> bool:
    return "pip uninstall" in (project / "commands").read_text()


def outdate(project: Path) -> None:
    """Makes pyproject.toml newer than what was installed by it."""
    for marker in ("cpu", "gpu", "installed"):
        if (project / ".venv" / marker).exists():
            os.utime(project / ".venv" / marker, (0, 0))


def test_the_build_once_given_stays_until_another_is(project: Path) -> None:
    make(project)
    assert installed(project) == [".[av,cpu]"] and not removed(project)
    make(project, "TENSORFLOW=gpu")
    assert installed(project) == [".[av,gpu]"] and removed(project)
    make(project)
    assert installed(project) == []
    outdate(project)
    make(project)
    assert installed(project) == [".[av,gpu]"] and not removed(project)
    make(project, "TENSORFLOW=cpu")
    assert installed(project) == [".[av,cpu]"] and removed(project)
    assert sorted(path.name for path in (project / ".venv").iterdir()) == ["bin", "cpu"]


def test_an_installation_that_fails_forgets_nothing(project: Path) -> None:
    make(project, "TENSORFLOW=gpu")
    outdate(project)
    assert make(project, offline=True).returncode != 0
    make(project)
    assert installed(project) == [".[av,gpu]"]


def test_the_build_of_an_earlier_version_is_replaced(project: Path) -> None:
    make(project)
    (project / ".venv" / "cpu").rename(project / ".venv" / "installed")
    make(project)
    assert installed(project) == [".[av,cpu]"] and removed(project)
    assert not (project / ".venv" / "installed").exists()


@pytest.mark.parametrize("build", ["g2", "", "cpu gpu", "cpu x"])
def test_another_build_is_an_error(build: str, project: Path) -> None:
    done = make(project, f"TENSORFLOW={build}")
    assert done.returncode != 0
    assert f"TENSORFLOW={build}: choose cpu or gpu" in done.stderr
