"""Runs independent tasks in processes of this machine or on a Dask cluster, with the same results.

`params.compute` chooses. Results depend on neither the engine nor the number of workers: a task sets its own
number of threads and seeds its own random numbers.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

from stages.base.params import Compute
from stages.compute import cluster, hardware
from stages.compute.lifetime import check_semaphores, end_with_parent
from stages.compute.task import Task, WorkerKilledError


def run(tasks: Iterable[Task], compute: Compute, stage: str, processes: int | None = None) -> Iterator[Any]:
    """Yields what each task returns, in the order in which they finish.

    After an error or an interrupt the other tasks are cancelled; finished files are kept.

    Args:
        tasks: may be a generator; each task is made only when it can be started or queued.
        stage: name for error messages.
        processes: for `local`, default `compute.workers`. With 1, tasks run in this process.

    Raises:
        InputError: the cluster cannot be used, or a task killed its workers.
    """
    if compute.engine == "dask":
        yield from cluster.run(tasks, compute, stage)
        return
    processes = processes or compute.workers
    if processes == 1:
        for task in tasks:
            hardware.limit(task.threads)
            yield task.make()
        return
    check_semaphores()
    try:
        parallel = Parallel(processes, return_as="generator_unordered", initializer=end_with_parent)
        yield from parallel(
            delayed(_make)(cloudpickle.dumps(task.make), task.threads, Path.cwd()) for task in tasks
        )
    except TerminatedWorkerError as error:
        raise WorkerKilledError(
            f"{stage}: a worker process was killed, most likely because memory ran out. Lower params.compute."
            f"workers ({compute.workers}) or, for shards, params.featurize.clips_per_shard. Finished work is "
            "kept."
        ) from error


def _make(pickled: bytes, n_threads: int, root: Path) -> Any:
    os.chdir(root)  # a process that joblib reuses may be elsewhere
    hardware.limit(n_threads)
    with hardware.quiet():  # this may import TensorFlow
        make: Callable[[], Any] = pickle.loads(pickled)  # noqa: S301, of the process that started this one
    return make()
