"""How a stage runs: it notices when what it depends on is edited meanwhile.

DVC records a stage's parameters, code and data as it finds them when the stage has ended, so it would record
an edit made meanwhile for a result that was made without it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

import psutil

from stages.base import errors, files
from stages.base.errors import InputError, first_of
from stages.base.params import PARAMS, load
from stages.base.workspace import alone

PIPELINE = Path("dvc.yaml")
RUNNING = files.DATA / ".running"  # the locks of the stages that run
CODE = "stages"
IGNORED = {"__pycache__"}  # as in .dvcignore

State = dict[str, Any]  # by the name of a file or parameter
_at_start: dict[str, State] = {}  # of the stage that this process runs


def run(main: Callable[[], None]) -> NoReturn:
    """Runs a stage; fails if anything that it depends on has changed meanwhile, or if it runs here already.

    Otherwise as `errors.run_without_arguments`. It first removes temporary files that killed stages left. A
    tool, which only reads, uses `errors.run`.
    """

    def guarded() -> None:
        stage = running_stage()
        # DVC that is killed leaves its stage running, and no lock of its own.
        with alone(RUNNING / stage) if stage else nullcontext():
            files.sweep()
            if stage is not None:
                _at_start[stage] = state(stage)
                check_not_edited_at_start(stage)  # after it, so that an edit between the two is not missed
            main()
            check_unchanged()

    errors.run_without_arguments(guarded)


def running_stage() -> str | None:
    """Returns the stage of dvc.yaml that this process runs, None if it runs something else."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is None or not PIPELINE.is_file():
        return None
    commands = {stage["cmd"]: name for name, stage in load(PIPELINE)["stages"].items()}
    return commands.get(f"python -m {spec.name}")


def state(stage: str) -> State:
    """Returns the present parameters and files that a stage of dvc.yaml depends on.

    Of a parameter it is the value, of code a hash of the content, of data the size, the time of the last
    change and the inode. The code of the selected entries is part of it.
    """
    declared, values = load(PIPELINE)["stages"][stage], load(PARAMS)
    found: State = {}
    for template in declared.get("params", []):
        key = re.sub(r"\$\{(.+?)\}", lambda match: str(_value(values, match[1])), template)
        found[f"params.{key}"] = _value(values, key)
    for dependency in declared.get("deps", []):
        for path in _files(dependency):
            found[path] = _hash(path) if path.startswith(CODE) else _stat(path)
    return found | {path: _hash(path) for path in _selected(stage)}


def _selected(stage: str) -> dict[str, str]:
    """Returns the hash that select recorded of each file of the entries that a stage uses.

    Raises:
        InputError: a record is damaged.
    """
    recorded: dict[str, str] = {}
    for record in map(Path, load(PIPELINE)["stages"][stage].get("deps", [])):
        if record.parent == files.SELECTED and record.is_file():  # DVC has checked that it is there
            try:
                code = json.loads(record.read_bytes())["code"].items()
            except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
                raise InputError(f"{record}: not what select writes ({error!r}). Run `dvc repro`.") from error
            recorded |= {f"{CODE}/{name}": content for name, content in code}
    return recorded


def check_not_edited_at_start(stage: str) -> None:
    """Checks that no code was edited between the start of this process and now, when it may be loaded or not.

    That of the selected entries must be as select recorded it, because DVC looks at that record only; not so
    while `dvc freeze` keeps select from recording the present code.

    Raises:
        InputError: names the file.
    """
    stages = load(PIPELINE)["stages"]
    is_frozen = stages.get("select", {}).get("frozen")
    for path, content in ({} if is_frozen else _selected(stage)).items():
        if _hash(path) != content:
            raise InputError(f"{path}: differs from what select recorded. Run `dvc repro`.")
    started = _started()
    for path in stages[stage].get("deps", []):
        for file in _files(path) if path.startswith(CODE) else []:
            # A date in the future is of a disk whose clock is ahead.
            if started < Path(file).stat().st_mtime <= time.time():
                raise InputError(f"{file}: edited while {stage} was starting. Run the same command again.")


def _started() -> float:
    """Returns when this process started, in seconds since the epoch.

    On Linux, psutil counts from a boot time in whole seconds, so its start is up to a second too early: a
    file that was edited just before would count as edited since.
    """
    created = float(psutil.Process().create_time())
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return created
    return created - float(psutil.boot_time()) + time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def check_unchanged() -> None:
    """Checks that what the running stage depends on is as it was at its start.

    Raises:
        InputError: names the first parameter or file that has changed.
    """
    for stage, before in _at_start.items():
        after = state(stage)
        changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        if changed:
            raise InputError(
                f"{first_of(changed, 1)}: changed while {stage} was running, so its result may belong to "
                "neither state. Run the same command again."
            )


def _value(values: Any, key: str) -> Any:
    for name in key.split("."):
        values = values.get(name) if isinstance(values, dict) else None
    return values


def _files(place: str) -> Iterator[str]:
    """Yields the files at or below `place`."""
    if Path(place).is_file():
        yield place
    for parent, folders, names in os.walk(place):
        folders[:] = [folder for folder in folders if folder not in IGNORED]
        yield from (f"{parent}/{name}" for name in names)


def _hash(path: str) -> str | None:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


def _stat(path: str) -> tuple[int, int, int] | None:
    try:
        status = Path(path).stat()
    except FileNotFoundError:  # removed since it was listed
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino
