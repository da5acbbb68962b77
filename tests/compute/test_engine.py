"""Tasks on this machine and on a Dask cluster whose scheduler and workers are processes of their own."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import soundfile

from stages import augment, featurize, manifest, train
from stages.base import files, registry
from stages.base.errors import InputError
from stages.base.files import AUGMENTED, DATA, FEATURES, MANIFEST, MODEL, RAW
from stages.base.params import Compute
from stages.compute import cluster as dask
from stages.compute import engine, hardware
from stages.compute.fill import fill
from stages.compute.task import Task, WorkerKilledError
from stages.data import shards
from tests.support import tasks
from tests.support.workspace import RATE_HZ, Workspace, contents, output, start, voice
from tests.test_train import model_bytes
from tests.test_train import workspace as trainable  # noqa: F401, a fixture

distributed = pytest.importorskip("distributed")
cloudpickle.register_pickle_by_value(tasks)  # workers have the code of `stages` only

PATIENCE_S = 180  # with a machine that has much else to do
LOCAL = Compute(engine="local", workers=2, scheduler=None)


@dataclass
class Cluster:
    """A scheduler and workers on loopback, which know nothing of this project."""

    address: str
    scheduler: subprocess.Popen
    workers: list[subprocess.Popen]
    folder: Path

    @property
    def compute(self) -> Compute:
        return Compute(engine="dask", workers=1, scheduler=self.address)


@contextmanager
def launched(folder: Path, n_workers: int = 2, before_worker: Sequence[str] = ()) -> Iterator[Cluster]:
    """Yields a cluster whose workers have no nanny, so a dead one is not restarted.

    `before_worker` is a command that the first worker is started by.
    """
    folder.mkdir(parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    processes = []

    def dask(*arguments: str, before: Sequence[str] = ()) -> subprocess.Popen:
        command = [*before, sys.executable, "-m", "dask", *arguments, "--host", "127.0.0.1", "--no-dashboard"]
        command += ["--scheduler-file", "cluster.json"]
        processes.append(
            subprocess.Popen(
                command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        )
        return processes[-1]

    try:
        scheduler = dask("scheduler", "--port", "0")
        worker = "worker", "--no-nanny", "--nthreads", "1"
        workers = [dask(*worker, before=() if n else before_worker) for n in range(n_workers)]
        until((folder / "cluster.json").exists)
        with distributed.Client(scheduler_file=str(folder / "cluster.json"), timeout=PATIENCE_S) as client:
            client.wait_for_workers(n_workers, timeout=PATIENCE_S)
            address = client.scheduler.address
        yield Cluster(address, scheduler, workers, folder)
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with launched(tmp_path_factory.mktemp("cluster")) as started:
        yield started


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """One to be broken."""
    with launched(tmp_path / "cluster") as started:
        yield started


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    made = Workspace(tmp_path)
    made.set(augment__copies=1, augment__chain=["gain", "noise"], featurize__clips_per_shard=2)
    made.record(ada=3, bob=2)
    return made


def until(true: Callable[[], Any], seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def computed() -> dict[str, bytes]:
    """Returns what augment and featurize made, by name, and removes it."""
    found = contents(AUGMENTED) | contents(FEATURES)
    shutil.rmtree(AUGMENTED)
    shutil.rmtree(FEATURES)
    return found


def record_demo() -> None:
    """Replaces the recordings by three with the names that `demo` has."""
    shutil.rmtree(RAW / "demo")
    (RAW / "demo").mkdir()
    for number, emotion in enumerate(("ANG", "FEA", "SAD")):
        vowel = voice("2001", number)
        syllables = np.where(np.sin(20 * np.pi * np.arange(len(vowel)) / RATE_HZ) > 0, 1, 0.1)
        soundfile.write(RAW / "demo" / f"2001_IEO_{emotion}_XX.wav", vowel * syllables, RATE_HZ)


def fine_and_long(mark: Path) -> list[Task]:
    """Returns a task that is done at once, and one that marks its start and takes minutes."""
    return [Task("fine", partial(tasks.square, 3), 1), Task("long", partial(tasks.mark_and_sleep, mark), 1)]


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists() or ") Z " in Path(f"/proc/{pid}/stat").read_text()


@pytest.mark.parametrize("processes", [1, 2])
def test_tasks_return_by_processes_of_this_machine(processes: int) -> None:
    given = [Task(f"{number}", partial(tasks.square, number), 1) for number in range(20)]
    assert sorted(engine.run(given, LOCAL, "test", processes)) == [number**2 for number in range(20)]


def test_a_cluster_returns_more_tasks_than_it_is_sent_at_once(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask, "PER_THREAD", 2)
    given = [Task(f"{number}", partial(tasks.square, number), 1) for number in range(50)]
    assert sorted(engine.run(given, cluster.compute, "test")) == [number**2 for number in range(50)]


def test_this_process_does_short_tasks_from_the_start_and_others_join_it() -> None:
    found: list[int] = []
    numbers = takewhile(lambda _: len({*found}) < 2, range(2000))  # until the other process has joined
    given = (Task(f"{number}", tasks.process, 1) for number in numbers)
    for process in engine.run(given, LOCAL, "test", here=True):
        found.append(process)  # noqa: PERF402, `numbers` looks at it meanwhile
    assert found[0] == os.getpid()  # while the other process starts
    assert len({*found}) == 2


def test_tasks_that_may_end_their_process_run_in_others() -> None:
    given = [Task(f"{number}", tasks.process, 1) for number in range(10)]
    assert os.getpid() not in {*engine.run(given, LOCAL, "test")}
    with pytest.raises(WorkerKilledError, match=r"^test: .*compute\.workers \(2\)"):
        list(engine.run([*given, Task("heavy", tasks.die, 1)], LOCAL, "test"))
    assert len([*engine.run(given, LOCAL, "test")]) == 10


@pytest.mark.parametrize("here", [True, False])
def test_after_a_mistake_other_tasks_are_cancelled(here: bool, tmp_path: Path) -> None:
    wrong = Task("wrong", tasks.fail, 1)
    given = iter([*fine_and_long(tmp_path / "here"), wrong][:: -1 if here else 1] + [wrong] * 50)
    with pytest.raises(InputError, match=r"^clip\.wav: gone$"):
        list(engine.run(given, LOCAL, "test", here=here))
    assert len([*given]) > 40
    if (tmp_path / "here").exists():
        until(lambda: gone(int((tmp_path / "here").read_text())))


@pytest.mark.parametrize("where", ["local", "cluster"])
def test_a_task_has_its_threads_and_stands_in_the_current_folder(
    cluster: Cluster, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    compute = LOCAL if where == "local" else cluster.compute
    for n in (1, 2):
        found = engine.run(
            [Task("a", tasks.threads_and_folder, n), Task("b", tasks.threads_and_folder, n)], compute, "test"
        )
        assert {*found} == {(n, str(tmp_path), str(n))}


def test_a_cluster_computes_the_bytes_that_this_machine_does(workspace: Workspace, cluster: Cluster) -> None:
    augment.main()
    featurize.main()
    here = computed()
    workspace.set(compute=cluster.compute.model_dump())
    augment.main()
    featurize.main()
    assert computed() == here


def test_a_cluster_probes_files_as_this_machine_does(workspace: Workspace, cluster: Cluster) -> None:
    record_demo()
    (RAW / "demo" / "2002_IEO_SAD_XX.wav").write_text("no sound")
    manifest.main()
    listed = MANIFEST.read_bytes()
    workspace.set(compute=cluster.compute.model_dump())
    manifest.main()
    assert MANIFEST.read_bytes() == listed


@pytest.mark.slow
def test_a_cluster_started_here_computes_them_too(workspace: Workspace) -> None:
    output(start("augment"))
    here = contents(AUGMENTED)
    shutil.rmtree(AUGMENTED)
    workspace.set(compute__engine="dask", compute__workers=2)
    assert "3 shards, 0 kept, 3 computed" in output(start("augment"))
    assert contents(AUGMENTED) == here


@pytest.mark.slow
@pytest.mark.parametrize("model", ["svm", "ann"])
def test_a_cluster_trains_the_folds_that_this_machine_does(
    trainable: Workspace,  # noqa: F811
    cluster: Cluster,
    model: str,
) -> None:
    trainable.set(**{"model": model, f"models__{model}__inputs__features": ["mfcc"]})
    train.main()
    here = model_bytes()
    assert len(here) >= 3 * 4
    trainable.set(compute=cluster.compute.model_dump())
    shutil.rmtree(MODEL)
    train.main()
    assert model_bytes() == here


@pytest.mark.slow
def test_a_worker_lost_in_the_middle_costs_its_shard(workspace: Workspace, own_cluster: Cluster) -> None:
    workspace.set(augment__copies=0, featurize__clips_per_shard=1, compute=own_cluster.compute.model_dump())
    workspace.record(ada=50)
    augment.main()
    left = []

    def kill_in_the_middle() -> None:
        until(lambda: len(list(FEATURES.glob("*.npz"))) >= 10)
        own_cluster.workers[0].kill()
        left.append(50 - len(list(FEATURES.glob("*.npz"))))

    killer = threading.Thread(target=kill_in_the_middle)
    killer.start()
    featurize.main()
    killer.join()
    assert left[0] > 0
    assert own_cluster.workers[1].poll() is None
    spread = contents(FEATURES)
    shutil.rmtree(FEATURES)
    workspace.set(compute=LOCAL.model_dump() | {"workers": 1})
    featurize.main()
    assert contents(FEATURES) == spread


def test_a_task_that_kills_its_process_each_time_ends_the_run(cluster: Cluster) -> None:
    given = [Task("fine", partial(tasks.square, 3), 1), Task("heavy", tasks.die, 1)]
    with pytest.raises(InputError, match=r"^test: heavy .* 4 times"):
        list(engine.run(given, cluster.compute, "test"))
    assert list(engine.run(given[:1], cluster.compute, "test")) == [9]


def test_a_task_that_kills_every_worker_ends_the_run(
    own_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask, "CHECK_S", 0.5)
    monkeypatch.setattr(dask, "NO_WORKER_S", 2.0)
    with pytest.raises(InputError, match=r"^test: .* 2 s"):
        list(engine.run([Task("heavy", tasks.die_with_the_worker, 1)], own_cluster.compute, "test"))


@pytest.mark.slow
def test_a_scheduler_that_goes_away_ends_the_run(own_cluster: Cluster, tmp_path: Path) -> None:
    given = fine_and_long(tmp_path / "here")
    running = engine.run(given, own_cluster.compute, "test")
    assert next(running) == 9
    until((tmp_path / "here").exists)
    own_cluster.scheduler.kill()
    with pytest.raises(InputError, match=r"^test: .*scheduler"):
        next(running)


def test_a_mistake_found_on_a_worker_is_reported_here(cluster: Cluster) -> None:
    with pytest.raises(InputError, match=r"^clip\.wav: gone$"):
        list(engine.run([Task("wrong", tasks.fail, 1)], cluster.compute, "test"))
    with pytest.raises(ZeroDivisionError) as caught:
        list(engine.run([Task("wrong", tasks.fail_in_code, 1)], cluster.compute, "test"))
    assert "fail_in_code" in str(caught.value.__cause__)  # where it happened


@pytest.mark.parametrize("address", [pytest.param("127.0.0.1:1", marks=pytest.mark.slow), "sprak://here"])
def test_a_scheduler_that_does_not_answer_is_reported_within_ten_seconds(address: str) -> None:
    compute = Compute(engine="dask", workers=1, scheduler=address)
    started = time.monotonic()
    with pytest.raises(
        InputError, match=rf"^params\.compute\.scheduler: no Dask scheduler answers at '{address}'"
    ):
        list(engine.run([Task("a", partial(tasks.square, 1), 1)], compute, "test"))
    assert dask.CONNECT_S < 10
    assert time.monotonic() - started < 3 * dask.CONNECT_S  # the rest is this machine's own


@pytest.mark.slow
def test_an_interrupt_cancels_what_runs_and_keeps_what_is_finished(
    workspace: Workspace, cluster: Cluster
) -> None:
    n = 480
    workspace.set(augment__copies=0, featurize__clips_per_shard=1, compute=cluster.compute.model_dump())
    workspace.record(ada=n)  # on a busy machine the signal comes late
    output(start("augment"))
    running = start("featurize")
    until(lambda: len(list(FEATURES.glob("*.npz"))) >= 5)
    running.send_signal(signal.SIGINT)
    running.communicate()
    assert running.returncode == 130
    left = {path.name for path in FEATURES.glob("*.npz")}
    assert 5 <= len(left) < n
    assert f"{n} shards, {len(left)} kept, {n - len(left)} computed" in output(start("featurize"))


def test_a_cancelled_task_ends_with_its_process(cluster: Cluster, tmp_path: Path) -> None:
    given = fine_and_long(tmp_path / "here")
    running = engine.run(given, cluster.compute, "test")
    assert next(running) == 9
    until((tmp_path / "here").exists)
    running.close()
    until(lambda: gone(int((tmp_path / "here").read_text())))
    assert list(engine.run(given[:1], cluster.compute, "test")) == [9]


def test_what_a_killed_client_of_a_cluster_leaves_is_removed(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    running = engine.run([Task("a", partial(tasks.square, 3), 1)] * 2, cluster.compute, "test")
    assert next(running) == 9
    assert [*DATA.glob(".*.part")] != []
    with monkeypatch.context() as killed:
        killed.setattr(files, "_is_running", lambda number: False)
        files.sweep()
    assert [*DATA.glob(".*.part")] == []
    running.close()


def test_a_process_ends_with_its_worker(own_cluster: Cluster, tmp_path: Path) -> None:
    running = engine.run(fine_and_long(tmp_path / "here"), own_cluster.compute, "test")
    assert next(running) == 9
    until((tmp_path / "here").exists)
    first = int((tmp_path / "here").read_text())
    for process in own_cluster.workers:
        process.kill()
    until(lambda: gone(first))
    running.close()


def test_workers_of_another_environment_are_refused(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "environment", lambda: {"numpy": "1.0"})
    with pytest.raises(InputError, match=r"^test: .* has numpy 2\S+, and the client 1\.0"):
        list(engine.run([Task("a", partial(tasks.square, 1), 1)], cluster.compute, "test"))


def without(folder: Path) -> list[str]:
    """Returns what starts a command for which `folder` is empty, as on a machine that does not share it."""
    isolated = ["unshare", "--mount", "--map-root-user"]
    if subprocess.run([*isolated, "true"], capture_output=True).returncode:
        pytest.skip("a process cannot have mounts of its own here")
    return [*isolated, "sh", "-c", f'mount -t tmpfs tmpfs "{folder}" && exec "$@"', "sh"]


@pytest.mark.slow
def test_a_worker_that_has_the_path_but_not_the_data_gets_no_task(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record_demo()
    workspace.set(augment__chain=["gain"])
    manifest.main()
    listed = MANIFEST.read_bytes()
    with launched(tmp_path / "cluster", before_worker=without(tmp_path / "data")) as cluster:
        workspace.set(compute=cluster.compute.model_dump())
        capsys.readouterr()
        manifest.main()
        assert (
            f"is left out. {platform.node()} does not see this run's folder {tmp_path}"
            in capsys.readouterr().out
        )
        assert MANIFEST.read_bytes() == listed
        augment.main()
        featurize.main()
        cluster.workers[1].kill()
        with distributed.Client(cluster.address) as client:
            until(lambda: len(client.nthreads()) == 1)
        shutil.rmtree(AUGMENTED)
        for stage in (manifest.main, augment.main):
            with pytest.raises(InputError, match=rf"^\w+: no worker can be used\. .*{tmp_path}"):
                stage()


@pytest.mark.slow
def test_a_worker_that_lacks_what_a_link_leads_to_stops_the_run(workspace: Workspace, tmp_path: Path) -> None:
    record_demo()
    manifest.main()
    listed = MANIFEST.read_bytes()
    (tmp_path / "home").mkdir()
    for path in (RAW / "demo").iterdir():
        shutil.move(path, tmp_path / "home" / path.name)
        path.symlink_to(tmp_path / "home" / path.name)
    with launched(tmp_path / "cluster", 1, before_worker=without(tmp_path / "home")) as cluster:
        workspace.set(compute=cluster.compute.model_dump())
        for stage in (manifest, augment):
            with pytest.raises(
                InputError, match=rf"^data/raw/demo/\w+\.wav: .*{platform.node()} .*No such file"
            ):
                stage.main()
        assert MANIFEST.read_bytes() == listed


@pytest.mark.slow
def test_a_missing_place_for_semaphores_is_named(tmp_path: Path) -> None:
    isolated = without(tmp_path)[:3]
    code = (
        "from functools import partial; from stages.compute import engine; from tests.support import tasks; "
    )
    code += "from tests.compute.test_engine import LOCAL; from stages.base.errors import run; "
    code += (
        "run(lambda: list(engine.run([engine.Task('a', partial(tasks.square, 1), 1)] * 2, LOCAL, 'test')))"
    )
    command = 'mount -t tmpfs -o ro tmpfs /dev/shm && exec "$@"'
    done = subprocess.run(
        [*isolated, "sh", "-c", command, "sh", sys.executable, "-c", code],
        cwd=registry.STAGES.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: /dev/shm: ")


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    compute = Compute(engine="dask", workers=1, scheduler=None)
    with pytest.raises(InputError, match=r"engine 'dask': needs the extra `dask`"):
        list(engine.run([Task("a", partial(tasks.square, 1), 1)], compute, "test"))


def shard(stem: str, fingerprint: str) -> list[shards.Shard]:
    return [shards.Shard(stem, 1, fingerprint, partial(tasks.numbers, 3))]


def test_a_half_written_file_of_a_lost_worker_is_deleted(workspace: Workspace) -> None:
    half_written = (FEATURES / ".a.made.npz.123.part").absolute()
    fill(FEATURES, [shards.Shard("a", 1, "made", partial(tasks.numbers, 3, half_written))], LOCAL, "test")
    assert [path.name for path in FEATURES.iterdir()] == ["a.made.npz"]


@pytest.mark.slow
def test_a_full_disk_is_reported_and_the_run_resumes_when_there_is_space(
    workspace: Workspace, cluster: Cluster
) -> None:
    workspace.set(augment__copies=0, featurize__clips_per_shard=1)
    workspace.record(ada=12)
    output(start("augment"))
    disk = workspace.folder / FEATURES
    disk.mkdir(parents=True, exist_ok=True)
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", disk], capture_output=True)
    if mount.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        workspace.set(compute=cluster.compute.model_dump())
        running = start("featurize", stderr=subprocess.PIPE)
        _, said = running.communicate()
        assert running.returncode == 1
        assert "the disk is full" in said.strip().splitlines()[-1]
        left = list(FEATURES.glob("*.npz"))
        assert left
        subprocess.run(["mount", "-o", "remount,size=60m", disk], check=True)
        assert f"12 shards, {len(left)} kept, {12 - len(left)} computed" in output(start("featurize"))
    finally:
        subprocess.run(["umount", disk], check=True)
