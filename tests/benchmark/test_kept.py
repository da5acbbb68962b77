"""Rows whose corpus is missing keep their last results."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmark.published import overlay, rows, system, workspace
from stages.base.errors import InputError
from stages.base.params import load

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in (ROOT / overlay.SYSTEMS).glob("*.yaml"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes a copy of the rows, with neither recordings nor weights available. Returns the copy."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(rows, "ROWS", Path(shutil.copytree(ROOT / rows.ROWS, tmp_path / "rows")))
    monkeypatch.setattr(workspace, "SOURCES", tmp_path / "sources")
    monkeypatch.setattr(workspace, "PRETRAINED", tmp_path / "pretrained")
    return tmp_path / "rows"


def run(name: str) -> None:
    """Runs a system without checking its params first, which imports TensorFlow."""
    system.reproduce(overlay.load(name), overlay.experiments(name, load(Path("params.yaml"))))


@pytest.mark.parametrize("name", NAMES)
def test_without_recordings_the_rows_keep_the_same_bytes(name: str, folder: Path) -> None:
    run(name)
    assert (folder / f"{name}.csv").read_bytes() == (
        ROOT / "benchmark" / "published" / "rows" / f"{name}.csv"
    ).read_bytes()


def test_a_kept_row_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    run("B1_svm")
    assert capsys.readouterr().out.splitlines() == [
        "B1_svm ravdess_savee-as_reported: not run here: needs SAVEE",
        "B1_svm ravdess_savee-speaker_independent: not run here: needs SAVEE",
        "B1_svm ravdess-as_reported: last results kept, needs RAVDESS",
        "B1_svm ravdess-speaker_independent: last results kept, needs RAVDESS",
    ]


def test_a_kept_row_has_the_current_note_of_the_systems_file(folder: Path) -> None:
    path = folder / "C1_cnn.csv"
    path.write_text(path.read_text().replace("stops after 20 epochs without gain, of 100", "an older note"))
    run("C1_cnn")
    assert {row["note"] for row in rows.read(path)} == {"stops after 20 epochs without gain, of 100"}


def test_a_row_of_another_model_is_not_kept(folder: Path) -> None:
    path = folder / "B1_svm.csv"
    path.write_text(path.read_text().replace(",svm,", ",mlp,"))
    run("B1_svm")
    assert {row["accuracy"] for row in rows.read(path)} == {""}
    assert {row["status"] for row in rows.read(path)} == {
        "not run here: needs RAVDESS and SAVEE",
        "not run here: needs RAVDESS",
    }


def test_rows_of_other_columns_are_not_overwritten_without_the_recordings(folder: Path) -> None:
    (folder / "B1_svm.csv").write_text("system,accuracy\nB1_svm,0.5\n")
    with pytest.raises(InputError, match=r"B1_svm\.csv: its columns"):
        run("B1_svm")
    assert "0.5" in (folder / "B1_svm.csv").read_text()
