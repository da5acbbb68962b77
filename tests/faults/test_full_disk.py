"""A full, read-only or forbidden disk is reported with the file's name, and a rerun succeeds."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.base.errors import disk_error
from stages.learning import training as train
from stages.learning.record import RECORD, folder_name
from stages.learning.windows import PREPROCESSOR
from stages.networks import network
from tests.faults.conftest import Fault, draws
from tests.faults.pipeline import Undisturbed, before, environment, rng, small, written
from tests.faults.test_kills import leave_trained
from tests.test_pipeline import ROOT, STAGES

DISK_BYTES = 64_000_000


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return small(tmp_path_factory)


class Disk:
    """A small disk of its own, in memory.

    Attributes:
        folder: where it is mounted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill_up(self, n_bytes_free: int) -> None:
        """Leaves so many bytes, to the page."""
        free = os.statvfs(self.folder).f_bavail * os.statvfs(self.folder).f_frsize
        with (self.folder / "filler").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, free - n_bytes_free))

    def make_room(self) -> None:
        (self.folder / "filler").unlink()

    def remount(self, how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", self.folder], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", folder]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs to mount a small disk: {done.stderr.strip()}")
    yield Disk(folder)
    subprocess.run(["umount", folder], check=True)


def put(stage: str, done: Undisturbed, stale: bool, disk: Disk, tmp_path: Path) -> Path:
    """Returns the project on the disk, without DVC's cache, where the stage has not run yet."""
    source = before(stage, done, stale, tmp_path / "before")
    folder = disk.folder / "project"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(".dvc", ".git", "tests", "docs"))
    return folder


def start(stage: str, folder: Path, *prefix: str) -> tuple[int, str]:
    """Returns the stage's exit code and what it wrote to stderr."""
    command = [*prefix, sys.executable, "-m", f"stages.{stage}"]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)
    return done.returncode, done.stderr


def check_reported(stage: str, folder: Path, output: tuple[int, str], reason: str) -> None:
    """Holds that the stage ended with a line that names one of its files, and the reason."""
    code, said = output
    assert code == 1, said
    assert "Traceback" not in said
    # joblib's tracker sometimes adds that stopped workers left it a lock to remove.
    lines = [
        line for line in said.strip().splitlines() if not re.search("resource_tracker|warnings.warn", line)
    ]
    line = lines[-1].split("\r")[-1]
    assert line.startswith(("error: data", "error: metrics")), said
    assert f": {reason}" in line


def check_resumes(stage: str, folder: Path, done: Undisturbed) -> None:
    """Runs the stage, and holds its outputs against those of the undisturbed run, byte by byte."""
    code, said = start(stage, folder)
    assert code == 0, said
    wanted = {path.relative_to(done.folder): path.read_bytes() for path in written(done.folder, stage)}
    assert {path.relative_to(folder): path.read_bytes() for path in written(folder, stage)} == wanted


@pytest.mark.parametrize("number", draws(sample=0, slow=4, campaign=24))
def test_a_full_disk(fault: Fault, tmp_path: Path, undisturbed: Undisturbed, disk: Disk, number: int) -> None:
    """Every stage in turn, with room for a drawn share of what it writes: none, less than half, more."""
    draw, stage = rng("full", number), STAGES[(3 * number + 4) % 8]
    folder = put(stage, undisturbed, False, disk, tmp_path)
    n_bytes = sum(path.stat().st_size for path in written(undisturbed.folder, stage))
    share = [0.0, 0.5 * draw.random(), 0.5 + 0.3 * draw.random()][number // 8 % 3]
    with fault("full disk"):
        disk.fill_up(int(share * n_bytes))
        check_reported(stage, folder, start(stage, folder), "the disk is full")
        disk.make_room()
        check_resumes(stage, folder, undisturbed)


@pytest.mark.parametrize("number", draws(sample=0, slow=1, campaign=8))
def test_a_read_only_disk(
    fault: Fault, tmp_path: Path, undisturbed: Undisturbed, disk: Disk, number: int
) -> None:
    stage = STAGES[(3 * number + 4) % 8]
    folder = put(stage, undisturbed, number % 2 == 0, disk, tmp_path)
    with fault("read-only disk"):
        disk.remount("ro")
        output = start(stage, folder)
        disk.remount("rw")
        check_reported(stage, folder, output, "the disk is read-only. Make it writable")
        check_resumes(stage, folder, undisturbed)


# Root may write anywhere, unless this capability is taken away.
BOUND = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]


@pytest.mark.parametrize("number", draws(sample=0, slow=1, campaign=8))
def test_a_folder_without_rights(fault: Fault, tmp_path: Path, undisturbed: Undisturbed, number: int) -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv of util-linux")
    stage = STAGES[(3 * number + 4) % 8]
    folder = before(stage, undisturbed, False, tmp_path / "project")
    places = [path for top in ("data", "metrics") for path in [folder / top, *(folder / top).rglob("*")]]
    with fault("a folder without the right to write"):
        for path in filter(Path.is_dir, places):
            path.chmod(0o555)
        output = start(stage, folder, *(BOUND if os.getuid() == 0 else []))
        for path in filter(Path.is_dir, places):
            path.chmod(0o755)
        check_reported(stage, folder, output, "permission denied")
        check_resumes(stage, folder, undisturbed)


SAVE = """
import sys
from pathlib import Path
import keras
from stages.base import errors
from stages.networks import weights
model = keras.Sequential([keras.Input((1000,)), keras.layers.Dense(500)])
errors.run(lambda: weights.save(model, Path(sys.argv[1])))
"""


@pytest.mark.slow
def test_no_room_for_the_weights_of_a_network(fault: Fault, disk: Disk) -> None:
    path = disk.folder / network.FILE
    command = [sys.executable, "-c", SAVE, str(path)]
    with fault("full disk"):
        disk.fill_up(1_000_000)
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 1
        assert f"error: {path}: the disk is full" in done.stderr
        assert "Traceback" not in done.stderr
        disk.make_room()
        subprocess.run(command, cwd=ROOT, check=True)
        assert path.stat().st_size > 4 * 500_000


def test_no_room_for_the_finished_model(fault: Fault, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(disk.folder)
    work = Path("data/checkpoints/run")
    leave_trained(work)
    (work / folder_name(0) / "model.weights.h5").write_bytes(bytes(1_000_000))
    with fault("full disk while the model is copied"):
        disk.fill_up(500_000)
        with pytest.raises(OSError) as error:
            train.finish(work, {"fold_00": (0, 20)})
        assert str(disk_error(error.value)).startswith(
            "data/model/fold_00/model.weights.h5: the disk is full."
        )
        disk.make_room()
        train.finish(work, {"fold_00": (0, 20)})
        assert (Path("data/model/fold_00/model.weights.h5")).stat().st_size == 1_000_000
        assert {RECORD, PREPROCESSOR} < {path.name for path in Path("data/model/fold_00").iterdir()}
