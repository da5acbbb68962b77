"""Tasks on this machine and on a Dask cluster whose scheduler and workers are processes of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import soundfile

from stages import augment, featurize, manifest, train
from stages.base.errors import InputError
from stages.base.files import AUGMENTED, FEATURES, MANIFEST, MODEL, RAW
from stages.base.params import Compute
from stages.compute import engine, storage, worker
from stages.compute.engine import Task
from stages.compute.fill import fill
from stages.data import shards
from tests.support import tasks
from tests.support.workspace import RATE_HZ, Workspace, contents, output, start, voice
from tests.test_train import model_bytes
from tests.test_train import workspace as trainable  # noqa: F401, a fixture

distributed = pytest.importorskip("distributed")

PATIENCE_S = 180  # with a machine that has much else to do
LOCAL = Compute(engine="local", workers=2, scheduler=None, storage=None)


@dataclass
class Cluster:
    """A scheduler and workers on loopback, which know nothing of this project."""

    address: str
    scheduler: subprocess.Popen
    workers: list[subprocess.Popen]

    @property
    def compute(self) -> Compute:
        return Compute(engine="dask", workers=1, scheduler=self.address, storage=None)


@contextmanager
def launched(folder: Path, n_workers: int = 2) -> Iterator[Cluster]:
    """Yields a cluster whose workers have no nanny: who dies stays dead."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    processes = []

    def dask(*arguments: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "dask", *arguments, "--host", "127.0.0.1", "--no-dashboard"]
        command += ["--scheduler-file", "cluster.json"]
        processes.append(
            subprocess.Popen(
                command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        )
        return processes[-1]

    try:
        scheduler = dask("scheduler", "--port", "0")
        workers = [dask("worker", "--no-nanny", "--nthreads", "1") for _ in range(n_workers)]
        until((folder / "cluster.json").exists)
        with distributed.Client(scheduler_file=str(folder / "cluster.json"), timeout=PATIENCE_S) as client:
            client.wait_for_workers(n_workers, timeout=PATIENCE_S)
            address = client.scheduler.address
        yield Cluster(address, scheduler, workers)
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


def fine_and_long(mark: Path) -> list[Task]:
    """Returns a task that is done at once, and one that marks its start and takes minutes."""
    return [Task("fine", partial(tasks.square, 3), 1), Task("long", partial(tasks.mark_and_sleep, mark), 1)]


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists() or ") Z " in Path(f"/proc/{pid}/stat").read_text()


@pytest.mark.parametrize("processes", [1, 2])
def test_tasks_return_by_processes_of_this_machine(processes: int) -> None:
    given = [Task(f"{number}", partial(tasks.square, number), 1) for number in range(20)]
    assert sorted(engine.run(given, LOCAL, "test", processes)) == [number**2 for number in range(20)]


def test_tasks_return_from_a_cluster_more_of_them_than_it_is_told_of_at_once(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "AHEAD", 5)
    given = [Task(f"{number}", partial(tasks.square, number), 1) for number in range(50)]
    assert sorted(engine.run(given, cluster.compute, "test")) == [number**2 for number in range(50)]


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
    for place in (None, str(workspace.folder / "pool"), f"file://{workspace.folder}/other"):
        workspace.set(compute=cluster.compute.model_dump() | {"storage": place})
        augment.main()
        featurize.main()
        assert computed() == here


def test_a_cluster_looks_into_files_as_this_machine_does(workspace: Workspace, cluster: Cluster) -> None:
    shutil.rmtree(RAW / "demo")
    for number, emotion in enumerate(("ANG", "FEA", "HAP")):
        (RAW / "demo").mkdir(exist_ok=True)
        soundfile.write(RAW / "demo" / f"2001_IEO_{emotion}_XX.wav", voice("2001", number), RATE_HZ)
    (RAW / "demo" / "2001_IEO_SAD_XX.wav").write_text("no sound")
    manifest.main()
    listed = MANIFEST.read_bytes()
    for place in (None, str(workspace.folder / "pool")):
        workspace.set(compute=cluster.compute.model_dump() | {"storage": place})
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


@pytest.mark.parametrize("model", ["svm", pytest.param("ann", marks=pytest.mark.slow)])
def test_a_cluster_trains_the_folds_that_this_machine_does(
    trainable: Workspace,  # noqa: F811
    cluster: Cluster,
    model: str,
) -> None:
    trainable.set(**{"model": model, f"models__{model}__inputs__features": ["mfcc"]})
    train.main()
    here = model_bytes()
    assert len(here) >= 3 * 4
    for place in (None, str(trainable.folder / "pool")):
        trainable.set(compute=cluster.compute.model_dump() | {"storage": place})
        shutil.rmtree(MODEL)
        train.main()
        assert model_bytes() == here


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
    with pytest.raises(InputError, match=r"^test: heavy killed every worker that took it, 4 in all.*memory"):
        list(engine.run(given, cluster.compute, "test"))
    assert list(engine.run(given[:1], cluster.compute, "test")) == [9]


def test_a_task_that_kills_every_worker_ends_the_run(
    own_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "WATCH_S", 0.5)
    monkeypatch.setattr(engine, "GONE_S", 2.0)
    with pytest.raises(InputError, match=r"^test: no worker has been there for 2 s\. Start some and run the"):
        list(engine.run([Task("heavy", tasks.die_with_the_worker, 1)], own_cluster.compute, "test"))


def test_a_scheduler_that_goes_away_ends_the_run(own_cluster: Cluster, tmp_path: Path) -> None:
    given = fine_and_long(tmp_path / "here")
    running = engine.run(given, own_cluster.compute, "test")
    assert next(running) == 9
    until((tmp_path / "here").exists)
    own_cluster.scheduler.kill()
    with pytest.raises(InputError, match=r"^test: .*scheduler"):
        next(running)


def test_a_mistake_found_on_a_worker_is_told_here(cluster: Cluster) -> None:
    with pytest.raises(InputError, match=r"^clip\.wav: gone$"):
        list(engine.run([Task("wrong", tasks.fail, 1)], cluster.compute, "test"))
    with pytest.raises(ZeroDivisionError) as caught:
        list(engine.run([Task("wrong", tasks.fail_in_code, 1)], cluster.compute, "test"))
    assert "fail_in_code" in str(caught.value.__cause__)  # where it happened


@pytest.mark.parametrize("address", ["127.0.0.1:1", "sprak://here"])
def test_a_scheduler_that_does_not_answer_is_told_within_ten_seconds(address: str) -> None:
    compute = Compute(engine="dask", workers=1, scheduler=address, storage=None)
    started = time.monotonic()
    with pytest.raises(
        InputError, match=rf"^params\.compute\.scheduler: no Dask scheduler answers at '{address}'"
    ):
        list(engine.run([Task("a", partial(tasks.square, 1), 1)], compute, "test"))
    assert engine.CONNECT_S < 10
    assert time.monotonic() - started < 3 * engine.CONNECT_S  # the rest is this machine's own


@pytest.mark.slow
def test_an_interrupt_cancels_what_runs_and_keeps_what_is_finished(
    workspace: Workspace, cluster: Cluster
) -> None:
    workspace.set(augment__copies=0, featurize__clips_per_shard=1, compute=cluster.compute.model_dump())
    workspace.record(ada=80)
    output(start("augment"))
    running = start("featurize")
    until(lambda: len(list(FEATURES.glob("*.npz"))) >= 5)
    running.send_signal(signal.SIGINT)
    running.communicate()
    assert running.returncode == 130
    left = {path.name for path in FEATURES.glob("*.npz")}
    assert 5 <= len(left) < 80
    assert f"80 shards, {len(left)} kept, {80 - len(left)} computed" in output(start("featurize"))


def test_a_cancelled_task_ends_with_its_process(cluster: Cluster, tmp_path: Path) -> None:
    given = fine_and_long(tmp_path / "here")
    running = engine.run(given, cluster.compute, "test")
    assert next(running) == 9
    until((tmp_path / "here").exists)
    running.close()
    until(lambda: gone(int((tmp_path / "here").read_text())))
    assert list(engine.run(given[:1], cluster.compute, "test")) == [9]


def test_a_process_ends_with_its_worker(own_cluster: Cluster, tmp_path: Path) -> None:
    running = engine.run(fine_and_long(tmp_path / "here"), own_cluster.compute, "test")
    assert next(running) == 9
    until((tmp_path / "here").exists)
    first = int((tmp_path / "here").read_text())
    for process in own_cluster.workers:
        process.kill()
    until(lambda: gone(first))
    running.close()


def test_a_worker_of_another_environment_is_refused(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "versions", lambda: {"numpy": "1.0"})
    with pytest.raises(InputError, match=r"the worker on \S+ has numpy 2\S+, and this machine 1\.0; results"):
        list(engine.run([Task("a", partial(tasks.square, 1), 1)], cluster.compute, "test"))


def test_a_worker_that_does_not_find_the_folder_is_told(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = partial(worker.delegate, "test", "/no/such/folder")
    monkeypatch.setattr(worker, "delegate", lambda name, root, code, storage: elsewhere(code, storage))
    with pytest.raises(
        InputError, match=r"^test: a worker cannot start: .*'/no/such/folder'\. It has to find"
    ):
        list(engine.run([Task("a", partial(tasks.square, 1), 1)], cluster.compute, "test"))


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    compute = Compute(engine="dask", workers=1, scheduler=None, storage=None)
    with pytest.raises(InputError, match=r"'dask' needs the extra `dask`: `pip install -e '\.\[dask\]'`"):
        list(engine.run([Task("a", partial(tasks.square, 1), 1)], compute, "test"))


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("file/below", r"'file://\S+/file/below' cannot be written: .*(exists|Not a directory)"),
        ("sprak://bucket/folder", r"'sprak://bucket/folder' will not do: .*sprak"),
    ],
)
def test_storage_that_cannot_be_written_is_told(
    workspace: Workspace, cluster: Cluster, place: str, message: str
) -> None:
    Path("file").write_text("in the way")
    compute = cluster.compute.model_copy(update={"storage": place})
    done = shard("a", "made")
    fill(FEATURES, done, LOCAL, "test")
    with pytest.raises(InputError, match=rf"^params\.compute\.storage: {message}"):
        fill(FEATURES, done + shard("b", "more"), compute, "test")
    assert [path.name for path in FEATURES.iterdir()] == ["a.made.npz"]


def shard(stem: str, fingerprint: str) -> list[shards.Shard]:
    return [shards.Shard(stem, 1, fingerprint, partial(tasks.numbers, 3))]


def test_what_is_damaged_in_storage_is_not_taken_for_good(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("content")
    files = storage.Storage.open(str(tmp_path / "pool"))
    (name,) = files.put([tmp_path / "a"]).values()
    files.get({tmp_path / "b": name})
    assert (tmp_path / "b").read_text() == "content"
    (tmp_path / "pool" / name).write_text("half")
    with pytest.raises(InputError, match=rf"/pool/{name}: damaged"):
        files.get({tmp_path / "b": name})
    storage.Storage.open(str(tmp_path / "pool")).put(
        [tmp_path / "a"]
    )  # a run that was cut short left half of it
    files.get({tmp_path / "b": name})


def test_code_that_somebody_changed_in_storage_is_not_run(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = storage.Storage.put_code

    def changed(self: storage.Storage) -> str:
        name = real(self)
        with (tmp_path / "pool" / name).open("ab") as archive:
            archive.write(b"more")
        return name

    monkeypatch.setattr(storage.Storage, "put_code", changed)
    compute = cluster.compute.model_copy(update={"storage": str(tmp_path / "pool")})
    with pytest.raises(InputError, match=r"/pool/code-\w+\.zip is not what was put there"):
        list(engine.run([Task("a", partial(tasks.square, 1), 1)], compute, "test"))


@pytest.mark.slow
@pytest.mark.parametrize(("full", "size"), [("data/features", "100k"), ("pool", "300k")])
def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room(
    workspace: Workspace, cluster: Cluster, full: str, size: str
) -> None:
    workspace.set(augment__copies=0, featurize__clips_per_shard=1)
    workspace.record(ada=12)
    output(start("augment"))
    disk = workspace.folder / full
    disk.mkdir(parents=True, exist_ok=True)
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], capture_output=True)
    if mount.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        compute = cluster.compute.model_dump() | {"storage": str(disk) if full == "pool" else None}
        workspace.set(compute=compute)
        running = start("featurize", stderr=subprocess.PIPE)
        _, said = running.communicate()
        assert running.returncode == 1
        assert "the disk is full" in said.strip().splitlines()[-1]
        left = list(FEATURES.glob("*.npz"))
        assert left or full == "pool"  # all recordings go there before the first shard is made
        subprocess.run(["mount", "-o", "remount,size=60m", disk], check=True)
        assert f"12 shards, {len(left)} kept, {12 - len(left)} computed" in output(start("featurize"))
    finally:
        subprocess.run(["umount", disk], check=True)
