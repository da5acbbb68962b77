"""Independent tasks spread over processes of this machine or over a Dask cluster, with the same results.

`params.compute` says which. Results depend on neither the engine nor the number of workers: a task sets its
own number of threads and draws its own randomness.
"""

from __future__ import annotations

import itertools
import os
import pickle
import queue
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError
from tqdm import tqdm

from stages.base import registry
from stages.base.errors import InputError
from stages.base.files import replacing
from stages.base.params import Compute
from stages.compute import hardware, worker
from stages.compute.lifetime import end_with_parent

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT_S = 7  # to reach a scheduler
RETRIES = 3  # of a task whose process died; as many as Dask itself allows one whose worker did
WATCH_S, GONE_S = 5.0, 300.0  # how often to look for workers, and how long to wait for one
AHEAD = 2000  # tasks that a scheduler knows of at once


class WorkerKilledError(InputError):
    """A task ended the process that did it."""


@dataclass(frozen=True)
class Task:
    """Work that waits for no other task.

    Attributes:
        name: for logs, and for Dask's dashboard.
        make: does it, in any process whose current folder is the repository's root or looks like it.
        threads: of BLAS and TensorFlow; their number moves results' last bits.
        reads: files that `make` needs, below the root.
        writes: the file or folder below the root that it makes; None for one that returns a value.
    """

    name: str
    make: Callable[[], Any]
    threads: int
    reads: tuple[Path, ...] = ()
    writes: Path | None = None


def run(tasks: Iterable[Task], compute: Compute, stage: str, processes: int | None = None) -> Iterator[Any]:
    """Yields what each task returns, as they finish.

    With an error or an interrupt the others are cancelled; files that are finished stay.

    Args:
        tasks: not looked at before they are needed.
        stage: name for errors.
        processes: of `local`; `compute.workers` if not told. One is this process itself.

    Raises:
        InputError: no such cluster or storage, or workers die of a task.
    """
    if compute.engine == "dask":
        yield from _spread(tasks, compute, stage)
    else:
        yield from _local(tasks, processes or compute.workers, stage)


def _local(tasks: Iterable[Task], processes: int, stage: str) -> Iterator[Any]:
    try:
        done = Parallel(processes, return_as="generator_unordered", initializer=end_with_parent)
        yield from done(delayed(_do)(task.make, task.threads, Path.cwd()) for task in tasks)
    except TerminatedWorkerError as error:
        raise WorkerKilledError(
            f"{stage}: a worker was killed, most likely for want of memory. Lower params.compute.workers "
            f"({processes}) or params.featurize.clips_per_shard; what is finished is kept."
        ) from error


def _do(make: Callable[[], Any], n_threads: int, root: Path) -> Any:
    os.chdir(root)  # a process that joblib kept may be elsewhere
    hardware.limit(n_threads)
    return make()


def _spread(tasks: Iterable[Task], compute: Compute, stage: str) -> Iterator[Any]:
    with _connected(compute, stage) as client:
        cluster = _Cluster(client, compute.storage, stage)
        try:
            for task in tasks:
                cluster.give(task)
                while cluster.ready():
                    yield cluster.take()
            while cluster.given:
                yield cluster.take()
        finally:
            client.cancel([*cluster.given], force=True)


class _Cluster:
    """Gives tasks to a Dask cluster and takes what they return, in the order in which they finish."""

    def __init__(self, client: Client, storage: str | None, stage: str) -> None:
        from stages.compute.storage import Storage

        self.given: dict[Future, Task] = {}
        self._client, self._stage = client, stage
        self._finished: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self._pool = Storage.open(storage) if storage else None
        self._name = f"{stage}-{uuid.uuid4().hex[:8]}"
        code = self._pool.put_code() if self._pool else str(registry.STAGES.parent)
        url = self._pool.url if self._pool else None
        self._call = worker.delegate(self._name, str(Path.cwd()), code, url)
        self._versions = worker.versions()
        self._number = itertools.count()

    def give(self, task: Task) -> None:
        """Submits a task."""
        import cloudpickle

        arguments = {
            "make": task.make,
            "reads": self._pool.put(task.reads) if self._pool else {},
            "writes": task.writes,
            "storage": self._pool.url if self._pool else None,
        }
        request = (self._versions, task.threads, cloudpickle.dumps(arguments))
        # Keys of one group: the scheduler keeps what no worker is free for instead of dealing it out, so that
        # a worker that is lost casts suspicion on few tasks.
        key = (self._name, next(self._number))
        future = self._client.submit(self._call, request, key=key, retries=RETRIES)
        self.given[future] = task
        future.add_done_callback(self._finished.put)

    def ready(self) -> bool:
        """Returns whether there is something to take, or the scheduler knows of tasks enough."""
        return not self._finished.empty() or len(self.given) >= AHEAD

    def take(self) -> Any:
        """Waits for a task to finish and returns what it returned, with its files in their places.

        Raises:
            InputError: the cluster is gone or cannot do the task.
        """
        future = self._next()
        task = self.given.pop(future)
        answer = self._answer(future, task)
        if answer["error"] is not None:
            raise answer["error"] from RuntimeError(f"on a worker:\n{answer['trace']}")
        if self._pool and task.writes:
            for path, name in answer["files"].items():
                with replacing(path) as temporary:
                    self._pool.get({temporary: name})
            if task.writes.is_dir():
                for path in {*task.writes.rglob("*")} - {*answer["files"]}:
                    path.unlink()  # a checkpoint that the worker went on from
        return answer["value"]

    def _next(self) -> Future:
        seen = time.monotonic()
        while True:
            try:
                return self._finished.get(timeout=WATCH_S)
            except queue.Empty:
                with suppress(OSError, ValueError):  # it may be away just now
                    if self._client.nthreads():
                        seen = time.monotonic()
            if time.monotonic() > seen + GONE_S:
                raise InputError(
                    f"{self._stage}: no worker has been there for {GONE_S:.0f} s. Start some and run the "
                    "same again; what is finished is kept."
                )

    def _answer(self, future: Future, task: Task) -> dict[str, Any]:
        from distributed import KilledWorker

        try:
            answer: dict[str, Any] = pickle.loads(future.result())  # noqa: S301, of a worker, which runs our code
        except (ChildProcessError, KilledWorker) as error:
            raise WorkerKilledError(
                f"{self._stage}: {task.name} killed every worker that took it, {RETRIES + 1} in all, most "
                "likely for want of memory. Give workers more, or lower params.featurize.clips_per_shard; "
                "what is finished is kept."
            ) from error
        except (ImportError, OSError) as error:
            raise InputError(
                f"{self._stage}: a worker cannot start: {error}. It has to find this folder under the same "
                "path, or to reach params.compute.storage."
            ) from error
        except CancelledError as error:
            raise InputError(
                f"{self._stage}: the scheduler went away. Start it and run the same again; what is finished "
                "is kept."
            ) from error
        return answer


@contextmanager
def _connected(compute: Compute, stage: str) -> Iterator[Client]:
    """Yields a client of the cluster that `compute.scheduler` names, or of one started here."""
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise InputError(
            "params.compute.engine: 'dask' needs the extra `dask`: `pip install -e '.[dask]'`."
        ) from error
    if compute.scheduler is None:
        with (
            LocalCluster(
                n_workers=compute.workers,
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",
                silence_logs="ERROR",
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = Client(compute.scheduler, timeout=CONNECT_S)
    except (OSError, ValueError) as error:
        raise InputError(
            f"params.compute.scheduler: no Dask scheduler answers at '{compute.scheduler}' within "
            f"{CONNECT_S} s. Start one with `dask scheduler`, or set it to null to start one here."
        ) from error
    with client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            tqdm.write(f"{stage}: {compute.scheduler} has no worker yet; waiting for one")
        yield client
