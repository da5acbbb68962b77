"""`make base` reproduces a revision with the recordings that this folder has."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_a_base_has_what_neither_git_nor_the_cache_has(tmp_path: Path) -> None:
    project, tools = tmp_path / "project", tmp_path / "tools"
    for name in (".ci/base", "data/sources/calls/a.wav", "data/pretrained/weights.npz", ".gitignore"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("data/\n" if name == ".gitignore" else name)
    shutil.copy(ROOT / ".ci" / "base", project / ".ci" / "base")
    tools.mkdir()
    make = tools / "make"  # instead of installing and training: lists what a stage would find
    make.write_text(f"#!/bin/sh\nfind data -type f | sort > {tmp_path / 'found'}\n")
    make.chmod(0o755)
    environment = os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    identity = ["-c", "user.name=a", "-c", "user.email=a@localhost"]
    for command in (
        ["git", "init", "-q"], ["dvc", "init", "-q"], ["git", "add", "."],
        ["git", *identity, "commit", "-qm", "first"], ["bash", ".ci/base", "HEAD"],
    ):  # fmt: skip
        subprocess.run(command, cwd=project, env=environment, check=True)
    found = (tmp_path / "found").read_text().split()
    assert found == ["data/pretrained/weights.npz", "data/sources/calls/a.wav"]
    listed = ["git", "ls-tree", "-r", "--name-only", "base"]
    assert (
        "data" not in subprocess.run(listed, cwd=project, capture_output=True, text=True, check=True).stdout
    )
