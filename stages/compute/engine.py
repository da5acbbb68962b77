"""Runs independent tasks in processes of this machine or on a Dask cluster, with the same results.

`params.compute` chooses. Results depend on neither the engine nor the number of workers: a task sets its own
number of threads and seeds its own random numbers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

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
    if processes > 1:
        check_semaphores()
    try:
        parallel = Parallel(processes, return_as="generator_unordered", initializer=end_with_parent)
        yield from parallel(delayed(_make)(task.make, task.threads, Path.cwd()) for task in tasks)
    except TerminatedWorkerError as error:
        raise WorkerKilledError(
            f"{stage}: a worker process was killed, most likely because memory ran out. Lower params.compute."
            f"workers ({processes}) or params.featurize.clips_per_shard; finished work is kept."
        ) from error


def _make(make: Callable[[], Any], n_threads: int, root: Path) -> Any:
    os.chdir(root)  # a process that joblib reuses may be elsewhere
    hardware.limit(n_threads)
    return make()
