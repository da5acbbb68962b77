"""Python runs this at the start of every process that has its folder on PYTHONPATH.

It counts, in a stage and in its workers, the changes of files below data and metrics: opened to be written,
renamed, removed. With CRASH_LOG each process writes them to a file there; with CRASH_AT it kills itself, or
with CRASH_GROUP its whole process group, just before the change of that number. With CRASH_WITHIN it dies in
the middle of a file that becomes longer than it may write (RLIMIT_FSIZE).
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

HERE = os.getcwd()  # noqa: PTH109 -- paths are compared as text
EVENTS = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate")
COMMANDS = [*sys.orig_argv, *Path(f"/proc/{os.getppid()}/cmdline").read_text().split("\0")]
STAGE = next((word for word in COMMANDS if word.startswith("stages.")), None)


def is_change(event: str, facts: tuple[object, ...]) -> bool:
    if event == "open":
        if not isinstance(facts[2], int) or not facts[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return False
    elif event not in EVENTS:
        return False
    path = os.fspath(facts[0]) if isinstance(facts[0], str | os.PathLike) else ""
    path = str(path).removeprefix(HERE + "/")
    within_open_folder = event in ("os.remove", "os.rmdir") and facts[-1] != -1  # as rmtree does
    return within_open_folder or path.startswith(("data/", "metrics/"))


class Counter:
    n_changes = 0

    def __call__(self, event: str, facts: tuple[object, ...]) -> None:
        if not is_change(event, facts):
            return
        self.n_changes += 1
        if "CRASH_LOG" in os.environ:
            log = os.open(
                f"{os.environ['CRASH_LOG']}/{STAGE}.{os.getpid()}", os.O_CREAT | os.O_APPEND | os.O_WRONLY
            )
            os.write(log, f"{event} {facts[0]}\n".encode())
            os.close(log)
        if self.n_changes == int(os.environ.get("CRASH_AT", 0)):
            os.kill(0 if "CRASH_GROUP" in os.environ else os.getpid(), signal.SIGKILL)


if STAGE is not None:
    if "CRASH_WITHIN" in os.environ:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    elif {"CRASH_AT", "CRASH_LOG"} & set(os.environ):
        sys.addaudithook(Counter())
