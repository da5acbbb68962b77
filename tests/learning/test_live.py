"""metrics/history.csv while folds are in training."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pandas as pd
import pytest

from stages.base.errors import InputError
from stages.learning import live
from stages.learning.record import RECORD


def curve(n_epochs: int) -> pd.DataFrame:
    return pd.DataFrame({"epoch": range(n_epochs), "loss": 1.5, "learning_rate": 0.001})


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of two trainings, in an empty project that DVC does not run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    for name in ("fold_00", "fold_01"):
        (tmp_path / "work" / name).mkdir(parents=True)
    return Path("work")


def test_each_epoch_of_each_fold_is_added_to_the_history(work: Path) -> None:
    live.follow(curve(1), 0, 20, work / "fold_00")
    assert list(pd.read_csv(live.HISTORY).columns) == [*live.COLUMNS, live.FINISHED]
    live.follow(curve(2), 0, 20, work / "fold_00")
    (work / "fold_00" / RECORD).touch()  # written when the training is finished
    live.follow(curve(1), 1, 20, work / "fold_01")
    history = pd.read_csv(live.HISTORY)
    found = history[["fold", "epoch", "finished"]].to_numpy().tolist()
    assert found == [[0, 0, 1], [0, 1, 1], [1, 0, 0]]
    assert history["val_uar"].isna().all()
    assert not list(Path().rglob("*.part"))


def test_a_model_without_epochs_has_a_history_without_rows(work: Path) -> None:
    live.follow(pd.DataFrame(), 0, 20, work / "fold_00")
    assert live.HISTORY.read_text() == ",".join([*live.COLUMNS, live.FINISHED]) + "\n"


def test_the_signal_goes_to_the_repository_that_watches(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live.follow(curve(3), 0, 20, work / "fold_00")
    assert not list(Path().rglob("DVCLIVE*"))
    monkeypatch.setenv("DVC_ROOT", str(Path("repository").resolve()))
    live.follow(curve(3), 0, 20, work / "fold_00")
    told = json.loads(Path("repository/.dvc/tmp/exps/run/DVCLIVE_STEP_COMPLETED").read_text())
    assert told["step"] == 2


def test_the_bar_counts_epochs_and_finished_trainings_and_says_what_is_left(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(live, "INTERVAL_S", 0.01)
    folders = [work / "fold_00", work / "fold_01"]
    live.follow(curve(1), 0, 20, folders[0])  # of an earlier run, which was interrupted
    shown = ""

    def until(part: str) -> None:
        nonlocal shown
        ends = time.monotonic() + 10
        while part not in shown:
            assert time.monotonic() < ends, shown
            time.sleep(0.01)
            shown += capsys.readouterr().err

    with live.progress(folders, epochs=4):
        until("12%")
        live.follow(curve(3), 0, 20, folders[0])
        until("38%")
        (folders[0] / RECORD).write_text("{}")  # it stopped early
        live.follow(curve(2).assign(val_uar=0.25), 1, 20, folders[1])
        until("75%")
    assert "1 of 2 [00:00, 00:00 left], fold_01: epoch 2, loss 1.500, val_uar 0.250" in shown


def test_a_damaged_curve_is_named(work: Path) -> None:
    live.follow(curve(1), 0, 20, work / "fold_00")
    (work / "fold_01" / live.CURVE).touch()
    assert live.fraction(work / "fold_01", 4) == 0
    with pytest.raises(InputError, match=r"fold_01.curve\.csv: damaged"):
        live.follow(curve(2), 0, 20, work / "fold_00")


def test_without_epochs_the_bar_counts_finished_trainings(work: Path) -> None:
    live.follow(pd.DataFrame(), 0, 20, work / "fold_00")
    assert live.fraction(work / "fold_00", None) == 0
    (work / "fold_00" / RECORD).write_text("{}")
    assert live.fraction(work / "fold_00", None) == 1
