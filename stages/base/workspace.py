"""A folder in which the pipeline runs with parameters of its own, beside the user's workspace.

It is a DVC repository without Git: the code is copied, recordings and weights are linked, and DVC runs again
only what changed. The user's params.yaml, dvc.lock and results stay as they are.
"""

from __future__ import annotations

import logging
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import psutil
from ruamel.yaml import YAML

from stages.base.errors import InputError
from stages.base.files import AUGMENTED, DATA, FEATURES, MANIFEST, PRETRAINED, RAW, SOURCES, replacing
from stages.base.params import PARAMS

logger = logging.getLogger(__name__)

LOCK = Path("dvc.lock")
PATIENCE_S = 10  # until a stage that was asked to end is killed
UNFINISHED = ".part"  # of the name of a workspace that is being made
# What a new workspace may take over from a finished one: DVC makes again what differs.
TAKEN_OVER = (RAW, MANIFEST, AUGMENTED, FEATURES)
CONFIG = """\
[core]
    no_scm = true
    analytics = false
    check_update = false
[cache]
    dir = {cache}
    type = "reflink,hardlink,copy"
"""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Makes sure that one process at a time works in the folder, which it creates.

    Raises:
        InputError: another one is running.
    """
    folder.mkdir(parents=True, exist_ok=True)
    holder = folder / "process"
    with (folder / "lock").open("a+b") as lock:  # the system frees it, however the process ends
        try:
            _hold(lock)
        except (BlockingIOError, PermissionError) as error:  # on Linux, on Windows
            who = holder.read_text(encoding="utf-8") if holder.is_file() else "its process is not known"
            raise InputError(
                f"{folder}: another run is working there ({who}). Wait for it, or end it."
            ) from error
        except OSError as error:
            logger.warning("%s: the disk has no locks (%s), so start nothing else there", folder, error)
        with suppress(OSError):  # a full disk is reported by what is written next
            holder.write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")
        yield


def _hold(file: IO[bytes]) -> None:
    """Locks an open file until it is closed, or raises OSError at once if another process has it."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def start_from(finished: Path, place: Path) -> None:
    """Makes the new workspace `place` with the recordings and features of another one, which are linked."""
    unfinished = place.with_suffix(UNFINISHED)
    shutil.rmtree(unfinished, ignore_errors=True)
    (unfinished / DATA).mkdir(parents=True)
    for path in TAKEN_OVER:
        if (finished / path).exists():
            link(finished / path, unfinished / path)
    shutil.copy2(finished / LOCK, unfinished)
    unfinished.rename(place)


def prepare(place: Path, values: dict[str, Any], inputs: Iterable[Path], cache: str) -> None:
    """Brings a workspace up to date with the project in the current folder.

    Args:
        values: the whole of its params.yaml.
        inputs: the files and folders of data/sources and data/pretrained that it gets, as links.
        cache: folder of DVC's cache, relative to `place`/.dvc.
    """
    for path in (Path("stages"), SOURCES, PRETRAINED):
        shutil.rmtree(place / path, ignore_errors=True)
    for path in (Path(".dvc"), SOURCES, PRETRAINED):
        (place / path).mkdir(parents=True, exist_ok=True)
    for path in (Path("stages"), Path("dvc.yaml"), Path(".dvcignore")):
        _copy(path, place / path, shutil.copy2)
    for path in inputs:
        link(path, place / path)
    (place / ".dvc" / "config").write_text(CONFIG.format(cache=cache))
    write_params(place, values)


def write_params(place: Path, values: dict[str, Any]) -> None:
    """Writes a workspace's params.yaml."""
    with replacing(place / PARAMS) as temporary:
        YAML().dump(values, temporary)


def link(path: Path, target: Path) -> None:
    """Makes `target` the same as a file, or a folder of files, by links; by copies where links cannot be."""
    _copy(path, target, _link)


def _copy(path: Path, target: Path, copy: Callable[[str, str], object]) -> None:
    """Copies a file or a folder. Symbolic links in it stay what they are: ingest rejects them."""
    if path.is_dir():
        unwanted = shutil.ignore_patterns("__pycache__")
        shutil.copytree(path, target, symlinks=True, ignore=unwanted, copy_function=copy)
    else:
        copy(str(path), str(target))


def _link(path: str, target: str) -> None:
    try:
        os.link(path, target)
    except OSError:  # another device, or a file system without hard links
        shutil.copy2(path, target)


def reproduce(place: Path, *stages: str, options: Iterable[str] = (), output: IO | None = None) -> None:
    """Brings a workspace up to date up to `stages`. What is finished is kept, so the next call resumes there.

    Args:
        options: of `dvc repro`.
        output: what the stages print goes there; None for stdout and stderr.

    Raises:
        InputError: a stage failed.
    """
    command = ["repro", *options, *stages]
    if dvc(place, *command, output=output):
        raise InputError(f"{place}: `dvc {' '.join(command)}` failed; see its message above.")


def dvc(place: Path, *command: str, output: IO | None = None) -> int:
    """Runs DVC in a workspace and returns its exit code; see `reproduce`. It waits for another DVC there."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    run = [sys.executable, "-m", "dvc", "--wait-for-lock", *command]
    with subprocess.Popen(
        run, cwd=place, env=os.environ | {"PATH": path}, stdout=output, stderr=output and subprocess.STDOUT
    ) as process:
        try:
            return process.wait()
        except BaseException:
            _end(process.pid)
            raise


def _end(pid: int) -> None:
    """Ends DVC and what it started, and waits for it. DVC alone would leave its stage running."""
    with suppress(psutil.NoSuchProcess):  # it has ended by itself, as after Ctrl-C
        process = psutil.Process(pid)
        process.suspend()  # so that it starts no other stage
        started = process.children(recursive=True)
        process.kill()
        for each in started:
            with suppress(psutil.NoSuchProcess):
                each.terminate()
        for each in psutil.wait_procs([process, *started], timeout=PATIENCE_S)[1]:
            with suppress(psutil.NoSuchProcess):
                each.kill()
