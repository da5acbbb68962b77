"""A search on a small corpus, under DVC: interrupted, continued, and without a look at test clips."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path, PurePosixPath

import optuna
import pandas as pd
import pytest
import soundfile

from stages.base import errors, stage, workspace
from stages.base.errors import InputError
from stages.base.params import read
from stages.corpora import demo
from stages.searching import checks
from stages.searching.trials import Result
from stages.tools import search
from tests.support import long_splits, shipped
from tests.test_pipeline import clone, run, yaml

pytestmark = pytest.mark.slow

EMOTIONS = {"neutral": 1, "happiness": 3, "sadness": 4, "anger": 5, "fear": 6, "disgust": 7}  # of RAVDESS
SETTINGS = (
    *("corpus=[ravdess]", "augment.copies=0", "train.fold=0", "featurize.features=[mfcc, rms]"),
    *(
        "models.svm.inputs.features=[mfcc, rms]",
        "models.svm.c=log(0.001, 1000)",
        "features.mfcc.n_mfcc=choice(5, 40)",
    ),
)
SEARCH = ("python", "-m", "stages.tools.search", *SETTINGS, "--trials")
SOURCE = Path("data", "sources", "ravdess")
TABLE = Path("metrics", "search.csv")
WORKSPACE = Path("data", "search", "workspace")
LOG = Path("data", "search", "trial.log")
N_TRIALS = 3


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A repository with synthetic speech under names of RAVDESS, after trials, and what they printed."""
    folder = clone(tmp_path_factory.mktemp("searched"))
    params = read(folder / "params.yaml")
    config = params.config("corpora", "demo", "params.corpus")
    made = tmp_path_factory.mktemp("demo")
    demo.synthesise(made, config, params.seed)
    for path in sorted(made.glob("*.wav")):
        parsed = demo.parse(PurePosixPath(path.name))
        assert parsed is not None and parsed.sentence is not None
        actor = int(parsed.speaker) - 2000
        statement, repetition = divmod(config.sentences.index(parsed.sentence), 2)
        numbers = (3, 1, EMOTIONS[parsed.emotion], 1, statement + 1, repetition + 1, actor)
        target = folder / SOURCE / f"Actor_{actor:02}" / ("-".join(f"{each:02}" for each in numbers) + ".wav")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    return folder, run(folder, *SEARCH, f"{N_TRIALS}")


@pytest.fixture
def again(searched: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of the repository after the search."""
    return Path(shutil.copytree(searched[0], tmp_path / "again", symlinks=True))


def measured(folder: Path) -> pd.DataFrame:
    """Returns the table of trials but for their durations."""
    return pd.read_csv(folder / TABLE).drop(columns="seconds")


def clips(folder: Path, role: str) -> list[Path]:
    """Returns the recordings of the fold's clips of a role."""
    splits = long_splits.read(folder / WORKSPACE / "data" / "splits.parquet")
    chosen = splits[(splits["fold"] == 0) & (splits["role"] == role)]
    paths = [next((folder / SOURCE).rglob(f"{clip.split('/')[1]}.wav")) for clip in sorted(chosen["clip"])]
    assert paths
    return paths


def reverse(path: Path) -> None:
    """Plays a recording backwards."""
    samples, rate_hz = soundfile.read(path, dtype="int16")
    path.unlink()  # other names of the file are links
    soundfile.write(path, samples[::-1], rate_hz, subtype="PCM_16")


def test_a_search_leaves_the_project_as_it_was_and_prints_a_command_that_runs(
    searched: tuple[Path, str], again: Path
) -> None:
    folder, printed = searched
    changed = run(folder, "git", "status", "--porcelain").split()
    assert changed == ["??", "metrics/search.csv", "??", "metrics/search.png"]
    trials = measured(folder)
    assert trials["trial"].tolist() == [1, 2, 3]
    assert trials.loc[0, ["models.svm.c", "features.mfcc.n_mfcc"]].tolist() == [10.0, 40]  # params.yaml's
    assert (trials["fold_00"] == trials["uar"]).all() and trials["uar"].between(0.1, 1).all()
    assert (folder / "metrics" / "search.png").read_bytes().startswith(b"\x89PNG")
    assert "Test clips were scored 0 times" in printed
    assert not (folder / WORKSPACE / "data" / "predictions.parquet").exists()
    # Elsewhere, the printed command gives the validation UAR that the search says.
    *_, command = (line for line in printed.splitlines() if line.startswith("dvc exp run -S"))
    best = trials.loc[trials["uar"].idxmax()]
    assert f"models.svm.c={best['models.svm.c']:g}" in command.replace(".0 ", " ")
    settings = [part for part in shlex.split(command) if "=" in part]
    run(again, "dvc", "exp", "run", *(part for setting in settings for part in ("-S", setting)), "train")
    record = yaml.load(again / "data" / "model" / "fold_00" / "fold.json")
    assert record["val_uar"] == pytest.approx(best["uar"])


def test_a_search_killed_in_a_trial_continues_with_it(searched: tuple[Path, str], again: Path) -> None:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, *SEARCH[1:], f"{N_TRIALS + 1}"]
    process = subprocess.Popen(
        command, cwd=again, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    (again / LOG).unlink()
    deadline = time.monotonic() + 300
    while not (again / LOG).is_file() or "train" not in (again / LOG).read_text():  # the next trial
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert f"continues after {N_TRIALS} trials" in run(again, *SEARCH, f"{N_TRIALS + 1}")
    found = measured(again)
    pd.testing.assert_frame_equal(found.iloc[:N_TRIALS], measured(searched[0]))
    undisturbed = searched[0].with_name("undisturbed")
    shutil.copytree(searched[0], undisturbed, symlinks=True)
    run(undisturbed, *SEARCH, f"{N_TRIALS + 1}")
    pd.testing.assert_frame_equal(found, measured(undisturbed))


def test_no_test_clip_decides_anything(searched: tuple[Path, str], again: Path) -> None:
    for path in clips(again, "test"):
        reverse(path)
    printed = run(again, *SEARCH, f"{N_TRIALS}")
    assert f"continues after {N_TRIALS} trials" in printed  # it is the same study
    shutil.rmtree(again / "data" / "search")
    assert "continues" not in run(again, *SEARCH, f"{N_TRIALS}")
    pd.testing.assert_frame_equal(measured(again), measured(searched[0]))


@pytest.mark.faults
def test_another_training_clip_begins_a_new_study(searched: tuple[Path, str], again: Path) -> None:
    reverse(clips(again, "train")[0])
    assert "a new study: data changed" in run(again, *SEARCH, "1")
    found, before = measured(again), measured(searched[0])
    assert len(found) == 1 and found.loc[0, "uar"] != before.loc[0, "uar"]


def test_a_lock_that_cannot_be_opened_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (search.WORK / "lock").mkdir(parents=True)
    with pytest.raises(OSError) as error, workspace.alone(search.WORK):
        pass
    assert str(errors.disk_error(error.value)).startswith("data/search/lock: a folder has this name. ")


def test_two_searches_at_once_are_refused(again: Path) -> None:
    with workspace.alone(again / "data" / "search"):
        done = subprocess.run(
            [sys.executable, *SEARCH[1:], f"{N_TRIALS}"], cwd=again, capture_output=True, text=True
        )
    assert done.returncode == 1
    assert re.fullmatch(r"error: data/search: another run is working there .*\n", done.stderr)


def test_no_trial_begins_while_a_killed_search_trains_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        workspace.alone(search.PLACE / stage.RUNNING / "train"),
        pytest.raises(InputError, match=rf"/train: another run .* \(process {os.getpid()} "),
    ):
        search.prepare({})


@pytest.mark.parametrize("broken", ["<<<<<<< HEAD\n", "schema: '2.0'\nstages: 3\n", "[]", ""])
def test_a_broken_lock_is_not_copied_and_a_broken_copy_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(workspace, "reproduce", lambda *_, **__: None)
    values = shipped.values()
    Path("stages").mkdir()
    for name in ("dvc.yaml", ".dvcignore"):
        Path(name).touch()
    Path("dvc.lock").write_text(broken)
    with pytest.raises(InputError, match=r"^workspace: dvc\.lock is not as DVC writes it"):
        search.prepare(values)
    assert not search.PLACE.exists()
    search.PLACE.mkdir(parents=True)
    Path("dvc.lock").replace(search.PLACE / "dvc.lock")
    whole = "schema: '2.0'\nstages: {}\n"
    Path("dvc.lock").write_text(whole)
    search.prepare(values)
    assert (search.PLACE / "dvc.lock").read_text() == whole
    (search.PLACE / "dvc.lock").write_text(broken)
    Path("dvc.lock").unlink()
    search.prepare(values)
    assert not (search.PLACE / "dvc.lock").exists()


@pytest.mark.parametrize("has_lock", [True, False])
def test_a_search_whose_workspace_was_removed_continues(
    searched: tuple[Path, str], again: Path, has_lock: bool
) -> None:
    lock = yaml.load(again / WORKSPACE / "dvc.lock")
    shutil.rmtree(again / WORKSPACE)
    if has_lock:  # of a project that has run up to the stage before featurize
        del lock["stages"]["featurize"], lock["stages"]["train"]
        yaml.dump(lock, again / "dvc.lock")
    assert f"continues after {N_TRIALS} trials" in run(again, *SEARCH, f"{N_TRIALS + 1}")
    pd.testing.assert_frame_equal(measured(again).iloc[:N_TRIALS], measured(searched[0]))


def test_the_code_of_a_study_is_that_which_its_trials_run_and_a_failure_at_the_end_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped.write(tmp_path)
    code = ["as copied"]
    results = iter(
        [Result({"fold_00": 0.5}, 1.0), Result({"fold_00": 0.4}, 1.0), Result({}, 1.0, "Raise it.")]
    )
    monkeypatch.setattr(checks, "code_of", lambda params: code[0])
    monkeypatch.setattr(search, "prepare", lambda values: code.append(code.pop() + ", then edited"))
    monkeypatch.setattr(search, "training_clips", lambda params: pd.DataFrame({"clip": ["a"]}))
    monkeypatch.setattr(checks, "check_validation", lambda params, rows: None)
    monkeypatch.setattr(search, "measure", lambda values, chosen: next(results))
    monkeypatch.setattr(sys, "argv", ["search", "models.svm.c=log(1, 99)", "--trials", "3"])
    search.main()
    printed = capsys.readouterr().out
    (study,) = optuna.get_all_study_summaries(f"sqlite:///{search.WORK}/trials.db")
    assert study.user_attrs["made_from"]["code"] == "as copied"
    assert "Raise it, best 0.500" in printed
    assert f"1 of 3 trials failed: see {TABLE}" in printed
    assert pd.read_csv(TABLE)["failed"].tolist()[2] == "Raise it."
