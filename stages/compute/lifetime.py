"""Starting worker processes, and ending them when the process that started them is gone."""

from __future__ import annotations

import functools
import multiprocessing
import os
import threading
import time

from stages.base.errors import InputError

INTERVAL_S = 0.2  # between two checks of the parent


@functools.cache
def end_with_parent() -> None:
    """Makes the worker process that calls it end as soon as the process that started it is gone.

    A stage that is killed cannot stop its workers. They would go on writing files that the next run does not
    need, or wait for work forever. Outside a worker process, and when called again, this does nothing. The
    worker must be started by spawn, fork or loky, not by a fork server, which is a parent of its own.
    """
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        end_with(parent.pid)


def end_with(parent: int) -> None:
    """Makes this process end as soon as the process `parent`, which started it, is gone."""
    threading.Thread(target=_watch, args=(parent,), daemon=True, name="end_with_parent").start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(INTERVAL_S)
    os._exit(1)  # at once: neither queued nor half-finished work is needed


def check_semaphores() -> None:
    """Makes sure that this machine can start worker processes.

    Raises:
        InputError: it has no place for semaphores.
    """
    try:
        multiprocessing.get_context("spawn").Lock()
    except OSError as error:
        raise InputError(
            f"/dev/shm: {error.strerror}. Worker processes write there: mount a tmpfs on it."  # noqa: S108
        ) from error
