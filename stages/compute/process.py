"""A process that does tasks for a Dask worker: `python -m stages.compute.process <file descriptor>`."""

from __future__ import annotations

import os
import pickle
import platform
import sys
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import cloudpickle

from stages.base.errors import InputError
from stages.compute import hardware, lifetime

IDLE_S = 60.0  # without a task, after which the process ends: its run may have been killed


def serve(connection: Connection) -> None:
    """Answers one request after the other."""
    lifetime.end_with(os.getppid())
    with suppress(EOFError):
        while connection.poll(IDLE_S):
            connection.send_bytes(answer(connection.recv_bytes()))


def answer(request: bytes) -> bytes:
    """Returns a task's value, or its error and where that was raised, pickled.

    Args:
        request: pickled arguments of `check`, number of threads and pickled task.
    """
    conditions, threads, make = pickle.loads(request)  # noqa: S301, of the worker that started this process
    try:
        check(*conditions)
        hardware.limit(threads)  # before the task imports what obeys it
        with hardware.quiet():  # this may import TensorFlow
            task = pickle.loads(make)  # noqa: S301
        return bytes(cloudpickle.dumps((task(), None, "")))
    except Exception as error:
        if isinstance(error, OSError) and error.filename:
            error.filename = f"{error.filename} on {platform.node()}"
        trace = traceback.format_exc()
        try:
            content = cloudpickle.dumps((None, error, trace))
            pickle.loads(content)  # noqa: S301, not every exception can be restored
        except Exception:
            content = cloudpickle.dumps((None, RuntimeError(repr(error)), trace))
        return bytes(content)


def check(environment: dict[str, str], root: Path, token: Path) -> None:
    """Makes sure that this process can do the run's tasks, and changes to the run's folder.

    Args:
        environment: the client's `hardware.environment()`.
        root: the client's current folder.
        token: a folder below it that the client has just made.

    Raises:
        InputError: results could differ, or this is not the client's folder.
    """
    host, own = platform.node(), hardware.environment()
    for library, version in environment.items():
        if own.get(library) != version:
            raise InputError(
                f"{host} has {library} {own.get(library)}, and the client {version}: results could differ. "
                "Install the same environment on both."
            )
    try:
        os.chdir(root)
        token.stat()
    except OSError as error:
        raise InputError(
            f"{host} does not see this run's folder {root} ({error.strerror}). Share it under the same path."
        ) from error


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
