"""Runs independent tasks in processes of this machine or on a Dask cluster, with the same results.

`params.compute` chooses. Results depend on neither the engine nor the number of workers: a task sets its own
number of threads and seeds its own random numbers.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import islice
from pathlib import Path
from typing import Any

import cloudpickle
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from stages.base.params import Compute
from stages.compute import cluster, hardware
from stages.compute.lifetime import check_semaphores, end_with_parent
from stages.compute.task import Task, WorkerKilledError

PER_PROCESS = 2  # one that runs, and one that waits, so that the process is never idle
INTERVAL_S = 0.01


def run(
    tasks: Iterable[Task], compute: Compute, stage: str, processes: int | None = None, here: bool = False
) -> Iterator[Any]:
    """Yields what each task returns, in the order in which they finish.

    After an error or an interrupt the other tasks are cancelled; finished files are kept.

    Args:
        tasks: may be a generator; each task is made only when it can be started or queued.
        stage: name for error messages.
        processes: for `local`, default `compute.workers`. With 1, tasks run in this process.
        here: whether this process is one of them. It begins at once, so a few short tasks do not wait for
            another process to start. But an error in another process is raised after its own task.

    Raises:
        InputError: the cluster cannot be used, or a task killed its workers.
    """
    if compute.engine == "dask":
        yield from cluster.run(tasks, compute, stage)
        return
    processes = processes or compute.workers
    if processes == 1:
        yield from (_do(task) for task in tasks)
        return
    check_semaphores()
    try:
        yield from _spread(iter(tasks), processes - here, here)
    except TerminatedWorkerError as error:
        raise WorkerKilledError(
            f"{stage}: a worker process was killed, most likely because memory ran out. Lower params.compute."
            f"workers ({compute.workers}) or, for shards, params.featurize.clips_per_shard. Finished work is "
            "kept."
        ) from error


def _spread(tasks: Iterator[Task], n_others: int, here: bool) -> Iterator[Any]:
    """Yields what tasks return that `n_others` processes run and, if `here`, this one."""
    others = get_reusable_executor(n_others, initializer=end_with_parent)
    running: set[Future[Any]] = set()
    queue, finished = n_others, False  # no second task for a process that may not have started yet
    try:
        while not finished:
            own = next(tasks, None) if here else None
            for task in islice(tasks, queue - len(running)):
                running.add(others.submit(_make, cloudpickle.dumps(task.make), task.threads, Path.cwd()))
            if own is not None:
                yield _do(own)
            elif running:
                wait(running, return_when=FIRST_COMPLETED)
            done = {future for future in running if future.done()}
            queue = PER_PROCESS * n_others if done else queue
            running -= done
            yield from (future.result() for future in done)
            finished = own is None and not done
    finally:
        if not finished:
            while not all(future.running() or future.done() for future in running):
                time.sleep(INTERVAL_S)  # loky's thread fails if its queue changes while it shuts down
            others.shutdown(kill_workers=True)


def _do(task: Task) -> Any:
    hardware.limit(task.threads)
    return task.make()


def _make(pickled: bytes, n_threads: int, root: Path) -> Any:
    os.chdir(root)  # a process that is used again may be elsewhere
    hardware.limit(n_threads)
    with hardware.quiet():  # this may import TensorFlow
        make: Callable[[], Any] = pickle.loads(pickled)  # noqa: S301, of the process that started this one
    return make()
