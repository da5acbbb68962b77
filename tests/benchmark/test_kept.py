"""What was measured stays where it cannot be measured: a clone without corpora keeps its rows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmark.published import overlay, rows, system, workspace
from stages.base.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in (ROOT / overlay.SYSTEMS).glob("*.yaml"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the rows, on a machine that has neither recordings nor weights. Returns the copy."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(rows, "ROWS", Path(shutil.copytree(ROOT / rows.ROWS, tmp_path / "rows")))
    monkeypatch.setattr(workspace, "SOURCES", tmp_path / "sources")
    monkeypatch.setattr(workspace, "PRETRAINED", tmp_path / "pretrained")
    return tmp_path / "rows"


def run(name: str) -> None:
    """Runs a system without checking its params first, which imports TensorFlow."""
    told = overlay.load(name)
    found = [system.row(run, told) for run in overlay.experiments(name, overlay.parse(Path("params.yaml")))]
    rows.write(found, rows.ROWS / f"{name}.csv")


@pytest.mark.parametrize("name", NAMES)
def test_without_recordings_the_rows_stay_to_the_byte(name: str, folder: Path) -> None:
    run(name)
    assert (folder / f"{name}.csv").read_bytes() == (ROOT / "benchmark" / "rows" / f"{name}.csv").read_bytes()


def test_a_row_that_is_kept_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    run("B1_svm")
    assert capsys.readouterr().out.splitlines() == [
        "B1_svm ravdess_savee-as_reported: not run here: needs SAVEE",
        "B1_svm ravdess_savee-speaker_independent: not run here: needs SAVEE",
        "B1_svm ravdess-as_reported: kept as measured before, needs RAVDESS",
        "B1_svm ravdess-speaker_independent: kept as measured before, needs RAVDESS",
    ]


def test_a_kept_row_says_what_the_systems_file_says_now(folder: Path) -> None:
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
    with pytest.raises(InputError, match=r"other columns .* where its corpora are, or delete the file"):
        run("B1_svm")
    assert "0.5" in (folder / "B1_svm.csv").read_text()
