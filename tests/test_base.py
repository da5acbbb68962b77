"""`make base` reproduces a revision with the recordings that this folder has."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


WEIGHTS, RECORDING, README = (
    "data/pretrained/weights.npz",
    "data/sources/calls/a.wav",
    "data/sources/README.md",
)


@pytest.mark.parametrize(
    ("inputs", "links", "revision"),
    [
        ([WEIGHTS, RECORDING], True, "HEAD"),
        ([WEIGHTS, RECORDING], False, "HEAD"),
        ([RECORDING], True, "experiment"),
        ([], True, "HEAD"),
    ],
)
def test_a_base_has_what_neither_git_nor_the_cache_has(
    inputs: list[str], links: bool, revision: str, tmp_path: Path
) -> None:
    project, tools = tmp_path / "project", tmp_path / "tools"
    texts = {".gitignore": "data/\n", ".dvc/config": "", ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n"}
    for name in (".ci/base", *inputs, README, *texts):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(texts.get(name, name))
    shutil.copy(ROOT / ".ci" / "base", project / ".ci" / "base")
    tools.mkdir()
    make = tools / "make"  # instead of installing and training: lists what a stage would find
    make.write_text(f"#!/bin/sh\nfind data -type f | sort > {tmp_path / 'found'}\n")
    make.chmod(0o755)
    if not links:  # at the last file
        (tools / "cp").write_text('#!/bin/sh\n/bin/cp "$@" && [ "$1" != -Rlf ]\n')
        (tools / "cp").chmod(0o755)
    environment = os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    identity = ["-c", "user.name=a", "-c", "user.email=a@localhost"]
    for command in (
        ["git", "init", "-q"], ["git", "add", "."], ["git", "add", "-f", README],
        ["git", *identity, "commit", "-qm", "first"],
        ["git", "update-ref", "refs/exps/01/23/experiment", "HEAD"],
    ):  # fmt: skip
        subprocess.run(command, cwd=project, env=environment, check=True)
    (project / README).write_text("changed since")
    subprocess.run(["bash", ".ci/base", revision], cwd=project, env=environment, check=True)
    assert (tmp_path / "found").read_text().split() == sorted([*inputs, README])
    assert (project / README).read_text() == "changed since"
    git = {"cwd": project, "capture_output": True, "text": True, "check": True}
    listed = subprocess.run(["git", "ls-tree", "-r", "--name-only", "base", "data"], **git).stdout.split()
    assert listed == [README]
    assert subprocess.run(["git", "show", f"base:{README}"], **git).stdout == README
