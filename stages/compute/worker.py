"""What runs in a Dask worker: it hands each task to a process of its own, which has this run's code.

Dask itself draws from Python's `random`, from which Keras takes seeds; threads share the current folder and
TensorFlow's settings; and the worker may know another version of the code. This file is pickled with its
code, not by its name, because a worker need not have it.
"""

from __future__ import annotations

import asyncio
import io
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import zipfile
from contextlib import suppress
from multiprocessing import Pipe

from distributed import Worker, WorkerPlugin

START_S = 60  # for the first process, which a broken mount could delay for ever


class Process(subprocess.Popen):
    """A process that runs `stages.compute.process` and does one task at a time."""

    def __init__(self, code: str) -> None:
        self.connection, theirs = Pipe()
        paths = [code, *filter(None, [os.environ.get("PYTHONPATH")])]
        with theirs:
            super().__init__(
                [sys.executable, "-m", "stages.compute.process", str(theirs.fileno())],
                cwd=code,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "TQDM_DISABLE": "1"},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the client to handle
            )

    def ask(self, request: bytes) -> bytes:
        """Returns the answer to a request.

        Raises:
            ChildProcessError: the process died or was killed.
        """
        try:
            self.connection.send_bytes(request)
            return self.connection.recv_bytes()
        except (EOFError, OSError) as error:
            raise ChildProcessError(f"a process of the worker ended with exit code {self.wait()}") from error


class Runner(WorkerPlugin):  # type: ignore[misc]
    """The code and the processes of one run on one worker."""

    def __init__(self, name: str, code: bytes) -> None:
        """Takes the run's name, and the project's code as a zip archive."""
        self.name, self._code = name, code

    def setup(self, worker: Worker) -> None:
        self._worker = worker
        self._idle: list[Process] = []
        self._busy: dict[object, Process] = {}  # by the key of the task
        self._folder = tempfile.mkdtemp(prefix=f"{self.name}-", dir=worker.local_directory)
        zipfile.ZipFile(io.BytesIO(self._code)).extractall(self._folder)

    def perform(self, request: bytes, key: object = None) -> bytes:
        """Has a process answer a request: see `process.answer`.

        Raises:
            ChildProcessError: the process died, or the task with this key was cancelled.
        """
        self._busy[key] = process = self._alive() or Process(self._folder)
        task = self._worker.state.tasks.get(key)
        if task is not None and task.state == "cancelled":
            process.kill()
        answer = process.ask(request)
        self._busy.pop(key, None)
        self._idle.append(process)
        return answer

    def _alive(self) -> Process | None:
        """Takes one of the idle processes, of which some may have ended."""
        with suppress(IndexError):  # another thread may take the last one
            while (process := self._idle.pop()).poll() is not None:
                pass
            return process
        return None

    def transition(self, key: object, start: str, finish: str, **_: object) -> None:
        """Ends the process of a task that is cancelled."""
        if start == "executing" and (process := self._busy.pop(key, None)):
            process.kill()

    def teardown(self, worker: Worker) -> None:
        for process in [*self._idle, *self._busy.values()]:
            process.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


async def prepare(runner: bytes, request: bytes, dask_worker: Worker) -> bytes:
    """Brings a run to a worker, and returns the answer to a first request."""
    plugin = pickle.loads(runner)  # noqa: S301, of the client, whose code runs here anyway
    await dask_worker.plugin_add(plugin, name=plugin.name, catch_errors=False)
    try:
        return await asyncio.wait_for(asyncio.to_thread(plugin.perform, request), START_S)
    except TimeoutError as error:
        raise OSError(f"Its first process does not answer within {START_S} s.") from error


async def remove(name: str, dask_worker: Worker) -> None:
    """Removes a run from a worker."""
    if name in dask_worker.plugins:
        await dask_worker.plugin_remove(name)
