"""What runs on a Dask worker: a process of its own for each of the worker's threads.

A worker may have been started anywhere, long ago, with several threads. A process of its own imports this
run's code and no other's, has a current folder, BLAS threads and a TensorFlow to itself, leaves the worker
free to answer its scheduler, and ends with the task that is cancelled.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import platform
import queue
import subprocess
import sys
import tempfile
import threading
import traceback
import zipfile
from collections.abc import Callable
from functools import cache
from importlib import metadata
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from stages.base.errors import InputError
from stages.compute import hardware

IDLE_S = 60.0  # without a task, after which a process ends
# What moves results' bits; the same on every machine, or a run would depend on who computed what.
DECIDING = (
    "cloudpickle",
    "keras",
    "numpy",
    "pandas",
    "scikit-learn",
    "scipy",
    "soundfile",
    "soxr",
    "tensorflow",
)


Versions = dict[str, str | None]  # by library
Idle = tuple[str, subprocess.Popen, Connection, Any]  # run, process, way to it, folder that goes with it
Request = tuple[Versions, int, bytes]  # of the client; number of threads; the pickled arguments of `_perform`


def delegate(name: str, root: str, code: str, storage: str | None) -> Callable[[Request], bytes]:
    """Returns what a Dask worker calls: it has a request answered by a process in the right folder.

    It is a nested function because those are pickled by value: a worker need not find `stages`.

    Args:
        name: of the run, whose tasks share processes.
        root: the folder to work in, unless there is `storage`.
        code: the folder that `stages` is in; of `storage`, the archive of it.
        storage: address of a pool.
    """

    def call(request: Request) -> bytes:
        """
        Raises:
            ChildProcessError: the process died, or was ended because the task was cancelled.
        """
        from distributed import get_worker

        here = get_worker()
        key = here.get_current_task()
        mine = take(here) or start(here.local_directory)
        _, process, connection, _ = mine
        try:
            connection.send_bytes(pickle.dumps(request))
            while not connection.poll(0.5):
                task = here.state.tasks.get(key)
                if task is None or task.state == "cancelled":
                    break
            else:
                answer = connection.recv_bytes()
                give_back(here, mine)
                return answer
        except (EOFError, OSError) as error:
            raise ChildProcessError(f"a process died with exit code {process.wait()}") from error
        process.kill()
        raise ChildProcessError("cancelled")

    def take(here: Any) -> Idle | None:
        """Returns an idle process of this run, and lets go of those that have ended."""
        with here.__dict__.setdefault("lock_of_processes", threading.Lock()):
            idle: list[Idle] = [each for each in here.__dict__.get("idle_processes", []) if alive(each)]
            mine = next((each for each in idle if each[0] == name), None)
            here.idle_processes = [each for each in idle if each is not mine]
        return mine

    def give_back(here: Any, mine: Idle) -> None:
        with here.lock_of_processes:
            here.idle_processes.append(mine)

    def alive(each: Idle) -> bool:
        return each[1].poll() is None

    def start(folder: str) -> Idle:
        home, place, path = None, root, code
        if storage is not None:
            import fsspec

            home = tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True)
            files, above = fsspec.url_to_fs(storage)
            content = files.cat_file(f"{above}/{code}")
            if hashlib.sha256(content).hexdigest() not in code:
                raise OSError(f"{storage}/{code} is not what was put there")
            zipfile.ZipFile(io.BytesIO(content)).extractall(home.name)
            place = path = home.name
        more = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
        ours, theirs = Pipe()
        process = subprocess.Popen(
            [sys.executable, "-m", "stages.compute.worker", str(theirs.fileno())],
            cwd=place,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([path, *more]), "TQDM_DISABLE": "1"},
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # a Ctrl-C is the client's to handle
        )
        theirs.close()
        return name, process, ours, home

    return call


@cache
def versions() -> Versions:
    """Returns those of all that decides results; None for a library that is missing."""
    found: Versions = {"python": ".".join(platform.python_version_tuple()[:2])}
    found["bfloat16"] = str(hardware.has_bfloat16())
    for library in DECIDING:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            found[library] = None
    return found


def serve(connection: Connection) -> None:
    """Answers requests until none has come for a while or the worker is gone."""
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, requests), daemon=True).start()
    while True:
        try:
            request = requests.get(timeout=IDLE_S)
        except queue.Empty:
            return
        connection.send_bytes(_answer(request))


def _listen(connection: Connection, requests: queue.SimpleQueue[bytes]) -> None:
    """Passes requests on. A worker that is gone ends the process: nobody asks for what it computes."""
    while True:
        try:
            requests.put(connection.recv_bytes())
        except (EOFError, OSError):
            os._exit(1)


def _answer(message: bytes) -> bytes:
    import cloudpickle

    given, n_threads, request = pickle.loads(message)  # noqa: S301, of the worker that started this
    answer: dict[str, Any] = {"value": None, "files": {}, "error": None, "trace": ""}
    try:
        for library, version in given.items():
            own = versions()[library]
            if own != version:
                raise InputError(
                    f"params.compute.engine: the worker on {platform.node()} has {library} {own}, and this "
                    f"machine {version}; results could differ. Give both the same environment."
                )
        hardware.limit(n_threads)  # before `request` imports what obeys it
        answer |= _perform(**pickle.loads(request))  # noqa: S301
    except Exception as error:  # told where the run was started
        answer |= {"error": error, "trace": traceback.format_exc()}
    try:
        return bytes(cloudpickle.dumps(answer))
    except (TypeError, AttributeError, pickle.PicklingError):
        answer |= {"value": None, "error": RuntimeError(f"not to be sent: {answer['error']!r}")}
        return bytes(cloudpickle.dumps(answer))


def _perform(
    make: Callable[[], Any], reads: dict[Path, str], writes: Path | None, storage: str | None
) -> dict[str, Any]:
    """Returns the value of a task and, where there is a pool, the names of its files in it."""
    if storage is None:
        return {"value": make()}
    from stages.compute.storage import Storage

    pool, before = Storage(storage), Path.cwd()
    with tempfile.TemporaryDirectory(dir=before) as folder:
        os.chdir(folder)
        try:
            pool.get(reads)
            value = make()
            return {"value": value, "files": pool.put(_made(writes))}
        finally:
            os.chdir(before)


def _made(place: Path | None) -> list[Path]:
    """Returns the files in a task's place, in the order in which they were written."""
    if place is None:
        return []
    files = [path for path in [place, *place.rglob("*")] if path.is_file()]
    return sorted(files, key=lambda path: path.stat().st_mtime_ns)


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
