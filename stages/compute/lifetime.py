"""Worker processes that do not outlive the stage that started them."""

from __future__ import annotations

import functools
import multiprocessing
import os
import threading
import time

INTERVAL_S = 0.2  # between two looks at the parent


@functools.cache
def end_with_parent() -> None:
    """Lets a worker process that calls it, once or often, end as soon as the one that started it is gone.

    A stage that is killed cannot stop its workers, and they would go on: writing shards that the next run has
    no use for any more, or waiting for work for ever. In a process that is no worker this does nothing. The
    worker must be started by spawn, by fork or by loky, not by a fork server, which is a parent of its own.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent.pid,), daemon=True, name="end_with_parent").start()


def _watch(parent: int | None) -> None:
    while os.getppid() == parent:
        time.sleep(INTERVAL_S)
    os._exit(1)  # at once: neither what is queued nor what is half done is of use
