"""A pipeline so small that it runs in seconds, to be disturbed in copies of its folder."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from ruamel.yaml import YAML

from tests.test_pipeline import ALL_STAGES, clone, commit, edit, run

SMALL: dict[str, Any] = {
    "corpora__demo__n_speakers": 3,
    "corpora__demo__sentences": ["IEO"],
    "augment__chain": ["gain", "noise"],
    "model": "gru",
    "models__gru__units": [8],
    "models__gru__dense": [8],
    "training__epochs": 8,
    "evaluate__n_resamples": 100,
    "report__n_audio": 1,
}
CRASH = Path(__file__).with_name("crash")
yaml = YAML(typ="safe", pure=True)


@dataclass
class Undisturbed:
    """A finished pipeline.

    Attributes:
        folder: a Git and DVC repository, in which `dvc repro` has run once.
        seconds: that each stage took.
        n_changes: of files, that the busiest process of each stage made.
    """

    folder: Path
    seconds: dict[str, float] = field(default_factory=dict)
    n_changes: Counter[str] = field(default_factory=Counter)

    @property
    def lock(self) -> dict[str, Any]:
        return locked(self.folder)

    @property
    def metrics(self) -> dict[str, bytes]:
        return metrics(self.folder)


def reproduce(folder: Path, **changes: Any) -> Undisturbed:
    """Returns the small pipeline, run from scratch in `folder`."""
    clone(folder)
    edit(folder, **SMALL, **changes)
    done, log = Undisturbed(folder), folder.with_name(f"{folder.name}.log")
    log.mkdir()
    process = subprocess.Popen(
        ["dvc", "repro"],
        cwd=folder,
        env=environment(CRASH_LOG=str(log)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said, stage, started = [], "", 0.0
    for line in process.stdout:
        said.append(line)
        if line.startswith("Running stage '"):
            stage, started = line.split("'")[1], time.monotonic()
        elif line.startswith("Updating lock file") and stage:
            done.seconds[stage] = time.monotonic() - started
    assert process.wait() == 0, "".join(said)
    for path in log.iterdir():
        stage = path.name.split(".")[1]
        done.n_changes[stage] = max(done.n_changes[stage], len(path.read_text().splitlines()))
    assert set(done.seconds) == set(done.n_changes) == set(ALL_STAGES)
    commit(folder)
    return done


def environment(**more: str) -> dict[str, str]:
    """Returns what a process is started with, to count its changes and to die at one of them."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "PYTHONPATH": str(CRASH), "PYTHONUNBUFFERED": "1"} | more


def written(folder: Path, stage: str) -> list[Path]:
    """Returns the files that a stage wrote."""
    block = yaml.load(folder / "dvc.yaml")["stages"][stage]
    listed = [*block.get("outs", []), *block.get("metrics", []), *block.get("plots", [])]
    outputs = [folder / (next(iter(out)) if isinstance(out, dict) else out) for out in listed]
    return [file for path in outputs for file in [path, *path.rglob("*")] if file.is_file()]


def before(stage: str, done: Undisturbed, stale: bool, folder: Path) -> Path:
    """Returns a copy of `done`, in `folder`, that has not run `stage` yet.

    Args:
        stale: leaves files of other parameters where the stage's outputs belong: a shard that they made has
            another name, any other file the same one.
    """
    shutil.copytree(done.folder, folder, symlinks=True)
    lock = yaml.load(folder / "dvc.lock")
    del lock["stages"][stage]
    yaml.dump(lock, folder / "dvc.lock")
    for path in (folder / ".dvc" / "cache" / "runs").glob("*/*/*"):
        if yaml.load(path)["cmd"] == f"python -m stages.{stage}":
            shutil.rmtree(path.parent)
    for path in written(folder, stage):
        if stale:
            content = path.read_bytes()[::-1]
            path.unlink()
            name = f"{path.name.split('.')[0]}.0123456789abcdef.npz" if path.suffix == ".npz" else path.name
            path.with_name(name if "model" not in path.parts else path.name).write_bytes(content)
        else:
            path.unlink()
    return folder


class Started:
    """A command in a process group of its own."""

    def __init__(self, folder: Path, *command: str, **more: Any) -> None:
        self.mark, self.said = uuid.uuid4().hex, tempfile.TemporaryFile("w+")  # noqa: SIM115
        limit = {name: more.pop(name) for name in ("preexec_fn",) if name in more}
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(FAULT_MARK=self.mark, **more),
            stdout=self.said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **limit,
        )

    def is_running_after(self, seconds: float) -> bool:
        try:
            self.process.wait(seconds)
            return False
        except subprocess.TimeoutExpired:
            return True

    def send(self, number: signal.Signals, group: bool) -> None:
        """Signals the command, or with it all that it started and that is in its process group still."""
        (os.killpg if group else os.kill)(self.process.pid, number)

    def end(self, within_s: float = 300) -> str:
        """Returns what was printed, once the command has ended and with it all that it started."""
        self.process.wait(within_s)
        deadline = time.monotonic() + 10
        while orphans := list(self.alive()):
            if time.monotonic() > deadline:
                commands = [" ".join(orphan.cmdline()) for orphan in orphans]
                for orphan in orphans:
                    orphan.kill()
                pytest.fail(f"left running: {commands}")
            time.sleep(0.05)
        with self.said:
            self.said.seek(0)
            return self.said.read()

    def alive(self) -> Iterator[psutil.Process]:
        """Yields the processes that bear the command's mark."""
        for process in psutil.process_iter():
            try:
                if (
                    process.environ().get("FAULT_MARK") == self.mark
                    and process.status() != psutil.STATUS_ZOMBIE
                ):
                    yield process
            except psutil.Error:
                continue


def locked(folder: Path) -> dict[str, Any]:
    """Returns the hashes of all that every stage read and wrote."""
    return yaml.load(folder / "dvc.lock")["stages"]


def metrics(folder: Path) -> dict[str, bytes]:
    """Returns the tables and scalars in metrics, by name."""
    return {path.name: path.read_bytes() for path in (folder / "metrics").glob("*.[cj]s*")}


def check_resumes(folder: Path, done: Undisturbed) -> None:
    """Runs `dvc repro`, and holds what comes of it against the undisturbed run: every hash, every metric."""
    run(folder, "dvc", "repro")
    found, wanted = locked(folder), done.lock
    for stage in ALL_STAGES:
        assert found[stage] == wanted[stage], stage
    assert metrics(folder) == done.metrics
    assert run(folder, "git", "status", "--porcelain", "--", ".", ":!dvc.lock") == ""
    assert [path for top in ("data", "metrics") for path in (folder / top).rglob("*.part")] == []


_once: list[Undisturbed] = []


def small(factory: pytest.TempPathFactory) -> Undisturbed:
    """Returns the small pipeline, run once for all tests."""
    if not _once:
        _once.append(reproduce(factory.mktemp("undisturbed")))
    return _once[0]


def rng(*parts: object) -> random.Random:
    """Returns the draws of one fault: the same in every campaign."""
    return random.Random(":".join(map(str, parts)))
