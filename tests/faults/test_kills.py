"""A run that is killed costs time, and nothing else: `dvc repro` then ends as if nothing had been."""

from __future__ import annotations

import resource
import signal
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from stages.base.files import write_json
from stages.learning import live
from stages.learning import training as train
from stages.learning.record import RECORD, folder_name
from stages.learning.windows import PREPROCESSOR
from tests.faults.conftest import Fault, draws
from tests.faults.pipeline import Started, Undisturbed, before, check_resumes, rng, small, written
from tests.test_pipeline import ROOT, STAGES

SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "Ctrl-C": signal.SIGINT}
STARTUP_S = {"dvc": 1.0, "python": 0.0}  # before the stage's own time begins


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return small(tmp_path_factory)


@pytest.mark.parametrize("number", draws(sample=0, slow=8, campaign=40))
def test_a_kill_at_a_random_moment(
    fault: Fault, tmp_path: Path, undisturbed: Undisturbed, number: int
) -> None:
    """Every stage in turn, in every quarter of its time; which signal, and whom it meets, is drawn.

    One that comes too late is no fault, and is sampled again from the first half of the time before it.
    """
    draw = rng("moment", number)
    stage = STAGES[number % 8]
    share = ((number // 8) % 4 + draw.random()) / 4
    name = draw.choice(list(SIGNALS))
    command, group = draw.choice(
        [
            (["python", "-m", f"stages.{stage}"], False),
            (["python", "-m", f"stages.{stage}"], True),
            (["dvc", "repro", "--single-item", stage], True),
        ]
    )
    for attempt in range(5):
        folder = before(stage, undisturbed, draw.random() < 0.5, tmp_path / str(attempt))
        started = Started(folder, *command)
        if started.is_running_after(STARTUP_S[command[0]] + share * undisturbed.seconds[stage]):
            with fault(f"{name} at a random moment of a stage"):
                started.send(SIGNALS[name], group)
                started.end()
                check_resumes(folder, undisturbed)
            return
        started.end()
        share /= 2
    pytest.fail("the stage had always ended")


@pytest.mark.parametrize("number", draws(sample=0, slow=2, campaign=24))
def test_a_kill_before_a_change_of_a_file(
    fault: Fault, tmp_path: Path, undisturbed: Undisturbed, number: int
) -> None:
    """The process, or its whole group, dies as it opens a file to write it, renames or removes one."""
    draw = rng("change", number)
    stage = STAGES[(3 * number + 4) % 8]
    share = ((number // 8) % 3 + draw.random()) / 3
    at = 1 + int(share * undisturbed.n_changes[stage])
    group = draw.choice([{}, {"CRASH_GROUP": "1"}])
    stale = draw.random() < 0.5
    while at:
        folder = before(stage, undisturbed, stale, tmp_path / str(at))
        started = Started(folder, "python", "-m", f"stages.{stage}", CRASH_AT=str(at), **group)
        if started.process.wait(300):
            with fault("SIGKILL just before a file is opened, renamed or removed"):
                started.end()
                check_resumes(folder, undisturbed)
            return
        started.end()
        at //= 2  # workers share the changes, this time otherwise: none came so far
    pytest.fail("nothing was killed")


@pytest.mark.parametrize("number", draws(sample=0, slow=1, campaign=8))
def test_a_kill_halfway_through_a_file(
    fault: Fault, tmp_path: Path, undisturbed: Undisturbed, number: int
) -> None:
    draw = rng("halfway", number)
    stage = STAGES[(3 * number + 4) % 8]
    folder = before(stage, undisturbed, draw.random() < 0.5, tmp_path / "run")
    sizes = [path.stat().st_size for path in written(undisturbed.folder, stage)]
    n_bytes = draw.randrange(1, max(sizes))
    with fault("killed by the system halfway through a file"):
        limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (n_bytes, resource.RLIM_INFINITY))
        started = Started(folder, "python", "-m", f"stages.{stage}", preexec_fn=limit, CRASH_WITHIN="1")
        started.end()
        assert started.process.returncode != 0, "nothing was killed"
        check_resumes(folder, undisturbed)


def leave_trained(work: Path) -> None:
    """Leaves a fold as a training does that was killed once while it wrote a checkpoint."""
    folder = work / folder_name(0)
    folder.mkdir(parents=True)
    write_json({"fold": 0, "seed": 20, "n_parameters": 1, "temperature": 1.0}, folder / RECORD)
    write_json({"seconds": 1.0}, folder / train.TIMING)
    pd.DataFrame(columns=live.COLUMNS).to_csv(folder / live.CURVE, index=False)
    for name in (PREPROCESSOR, "model.weights.h5", ".checkpoint.npz.123.part"):
        (folder / name).write_text("")


def test_half_a_checkpoint_is_not_taken_into_the_model(
    fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    leave_trained(Path("data/checkpoints/run"))
    with fault("half a file left by a kill"):
        train.finish(Path("data/checkpoints/run"), {"fold_00": (0, 20)})
        names = sorted(path.name for path in Path("data/model/fold_00").iterdir())
        assert names == ["curve.csv", "fold.json", "model.weights.h5", "preprocessor.npz"]


@pytest.mark.parametrize("n_removed", range(7))
def test_a_fold_half_removed_is_not_taken_for_a_finished_one(
    fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_removed: int
) -> None:
    """The work of a training is removed file by file; the kill comes after any of them."""
    monkeypatch.chdir(tmp_path)
    work = Path("data/checkpoints/run")
    leave_trained(work)
    kept = {path.name for path in (work / folder_name(0)).iterdir()}

    def killed(folder: Path, **_: object) -> None:
        if folder == work / folder_name(0):
            for path in sorted(folder.iterdir())[:n_removed]:
                path.unlink()
            raise KeyboardInterrupt

    monkeypatch.setattr(train.shutil, "rmtree", killed)
    with fault("SIGKILL while a finished training is cleared away"):
        with pytest.raises(KeyboardInterrupt):
            train.finish(work, {"fold_00": (0, 20)})
        left = {path.name for path in (work / folder_name(0)).iterdir()}
        assert RECORD not in left or left == kept
        assert (Path("data/model/fold_00") / RECORD).is_file()


@pytest.mark.parametrize(
    ("kind", "n_started"), [("three_shards", 2), ("one_shard", 1), ("dask", 2), ("espeak", 2)]
)
def test_workers_end_with_the_stage_that_started_them(
    fault: Fault, tmp_path: Path, kind: str, n_started: int
) -> None:
    started = Started(ROOT, "python", "-m", "tests.faults.sleepers", kind, str(tmp_path))
    while len(list(tmp_path.glob("*.started"))) < n_started:
        assert started.is_running_after(0.05)
    with fault("a stage killed without its workers"):
        started.send(signal.SIGKILL, group=False)
        started.end()
