"""The client of a Dask cluster: finds workers that can do this run's tasks, and gives them out."""

from __future__ import annotations

import io
import itertools
import pickle
import queue
import time
import uuid
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from stages.base import registry
from stages.base.errors import InputError, extra
from stages.base.files import scratch
from stages.base.params import Compute
from stages.base.stage import check_unchanged
from stages.compute import hardware
from stages.compute.task import Task, WorkerKilledError

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT_S = 7  # timeout for reaching a scheduler
CHECK_S, NO_WORKER_S = 5.0, 300.0  # how often to look for workers, and how long to wait without one
PER_THREAD = 4  # tasks that the scheduler has at once, for each thread of the workers
TRIES = 4  # of a task whose process or worker dies
AGAIN = "run the same command again; finished work is kept."


def run(tasks: Iterable[Task], compute: Compute, stage: str) -> Iterator[Any]:
    """Does what `engine.run` does, on the cluster at `compute.scheduler`, or on one started here."""
    with _connected(compute, stage) as client, scratch("cluster") as token:
        cluster = Cluster(client, stage, token)
        try:
            for task in tasks:
                while cluster.is_full():
                    yield cluster.take()
                cluster.give(task)
            while cluster.given:
                yield cluster.take()
        finally:
            cluster.close()


@dataclass(frozen=True)
class Given:
    """A task that the scheduler has, the workers that may do it, and how often it lost all of them before."""

    task: Task
    workers: frozenset[str]
    n_lost: int


class Cluster:
    """Gives tasks to the workers that can do them, and takes results in the order in which they finish.

    Attributes:
        given: the tasks whose results have not been taken.
    """

    def __init__(self, client: Client, stage: str, token: Path) -> None:
        """Prepares the workers that are there; `token` is a new folder, which they must find."""
        import cloudpickle

        from stages.compute import worker

        cloudpickle.register_pickle_by_value(worker)  # workers need not have this project
        self.given: dict[Future, Given] = {}
        self._client, self._stage, self._worker = client, stage, worker
        self._finished: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self._n_threads: dict[str, int] = {}  # of the workers that can be used, by address
        self._refused: dict[str, str] = {}  # why others cannot, by address
        self._seen = time.monotonic()  # when a worker was last there
        self._number = itertools.count()
        self._name = name = f"{stage}-{uuid.uuid4().hex[:8]}"
        self._conditions = (hardware.environment(), Path.cwd(), token)
        self._runner = cloudpickle.dumps(worker.Runner(name, _code()))
        check_unchanged()  # results are named by the code as it was when the stage began

        def perform(request: bytes) -> bytes:  # nested, so that it is pickled with its code
            from distributed import get_worker

            here = get_worker()
            return here.plugins[name].perform(request, here.get_current_task())  # type: ignore[no-any-return]

        self._perform = perform
        self._look()

    def is_full(self) -> bool:
        """Returns whether the scheduler has enough tasks for now."""
        if time.monotonic() > self._looked + CHECK_S:
            self._look()
        return len(self.given) >= max(1, PER_THREAD * sum(self._n_threads.values()))

    def give(self, task: Task, n_lost: int = 0) -> None:
        """Submits a task to the workers that can be used, and waits for one if there is none."""
        while not self._n_threads:
            time.sleep(1)
            self._look()
        future = self._client.submit(
            self._perform,
            self._request(task.make, task.threads),
            key=(self._name, next(self._number)),
            retries=TRIES - 1,
            workers=[*self._n_threads],
        )
        self.given[future] = Given(task, frozenset(self._n_threads), n_lost)
        future.add_done_callback(self._finished.put)

    def take(self) -> Any:
        """Waits for a task to finish and returns what it returned.

        Raises:
            InputError: the cluster is gone or cannot run the task, or the task itself raised one.
        """
        from distributed import KilledWorker

        while True:
            try:
                future = self._finished.get(timeout=CHECK_S)
                task = self.given.pop(future).task
                break
            except queue.Empty:
                self._look()
            except KeyError:  # it was given again
                continue
        try:
            value, error, trace = pickle.loads(future.result())  # noqa: S301, of a worker, which runs our code
        except (ChildProcessError, KilledWorker) as problem:
            raise self._killed(task) from problem
        except CancelledError as problem:
            raise InputError(
                f"{self._stage}: the connection to the scheduler was lost. Start it and {AGAIN}"
            ) from problem
        if error is not None:
            raise error from RuntimeError(f"on a worker:\n{trace}")
        return value

    def close(self) -> None:
        """Cancels what is not finished, and ends this run's processes on the workers."""
        self._client.cancel([*self.given], force=True)
        with suppress(OSError, ValueError):
            self._client.run(self._worker.remove, self._name, on_error="ignore")

    def _look(self) -> None:
        """Checks workers that have joined, and gives again the tasks of those that are gone.

        Raises:
            InputError: no worker can be used, or there has been none for long.
        """
        self._looked = time.monotonic()
        with suppress(OSError, ValueError):  # the scheduler may be unreachable for a moment
            present = self._client.scheduler_info(n_workers=-1)["workers"]
            self._check(present)
            if self._n_threads:
                self._seen = time.monotonic()
                self._give_again()
            elif not self.given and present and present.keys() <= self._refused.keys():
                raise InputError(f"{self._stage}: no worker can be used. {self._refused[min(present)]}")
        if time.monotonic() > self._seen + NO_WORKER_S:
            raise InputError(
                f"{self._stage}: the cluster has had no worker for {NO_WORKER_S:.0f} s. Start some "
                f"and {AGAIN}"
            )

    def _check(self, present: dict[str, Any]) -> None:
        """Prepares the workers that are new, and forgets those that are gone."""
        self._n_threads = {address: n for address, n in self._n_threads.items() if address in present}
        new = [*(present.keys() - self._n_threads.keys() - self._refused.keys())]
        if not new:
            return
        arguments = self._runner, self._request(bool, 1)
        answers = self._client.run(self._worker.prepare, *arguments, workers=new, on_error="return")
        for address, answer in answers.items():
            problem = pickle.loads(answer)[1] if isinstance(answer, bytes) else answer  # noqa: S301
            if problem is None:
                self._n_threads[address] = present[address]["nthreads"]
            else:
                self._refused[address] = str(problem)
                tqdm.write(f"{self._stage}: the worker at {address} is left out. {problem}")

    def _request(self, make: Callable[[], Any], threads: int) -> bytes:
        import cloudpickle

        return pickle.dumps((self._conditions, threads, cloudpickle.dumps(make)))

    def _give_again(self) -> None:
        """Gives tasks to other workers if all that they were given to are gone."""
        for future, given in list(self.given.items()):
            if not given.workers & self._n_threads.keys() and not future.done():
                del self.given[future]
                future.cancel()
                if given.n_lost + 1 == TRIES:
                    raise self._killed(given.task)
                self.give(given.task, given.n_lost + 1)

    def _killed(self, task: Task) -> WorkerKilledError:
        return WorkerKilledError(
            f"{self._stage}: {task.name} killed the process that ran it {TRIES} times, most likely because "
            f"memory ran out. Give workers more, or lower params.featurize.clips_per_shard, and {AGAIN}"
        )


def _code() -> bytes:
    """Returns this project's code as a zip archive."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(registry.STAGES.rglob("*.py")):
            archive.write(path, path.relative_to(registry.STAGES.parent))
    return content.getvalue()


@contextmanager
def _connected(compute: Compute, stage: str) -> Iterator[Client]:
    with extra("dask", "params.compute.engine 'dask'"):
        from distributed import Client, LocalCluster

    with ExitStack() as stack:
        cluster = compute.scheduler or stack.enter_context(
            LocalCluster(
                n_workers=compute.workers,
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",
                silence_logs="ERROR",
            )
        )
        try:
            client = stack.enter_context(Client(cluster, timeout=CONNECT_S))
        except (OSError, ValueError) as error:
            raise InputError(
                f"params.compute.scheduler: no Dask scheduler answers at '{cluster}' within {CONNECT_S} s. "
                "Start one with `dask scheduler`, or use null to start one on this machine."
            ) from error
        if not client.nthreads():
            tqdm.write(f"{stage}: {cluster} has no worker yet; waiting for one")
        yield client
