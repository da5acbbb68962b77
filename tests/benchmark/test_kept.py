"""Rows whose corpus is missing keep their last results."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
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
    loaded = overlay.load(name)
    system.reproduce(loaded, overlay.experiments(name, load(Path("params.yaml"))), [*loaded.variants])


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


FIRST, FIRST_LINE = "A1_cnn1d ravdess-as_reported", b"A1_cnn1d,ravdess,stand_in,as_reported,"
DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a line is cut off": (lambda line: line[:60] + b"\n", f"{FIRST}: its line has not"),
    "a value too many": (lambda line: line.rstrip() + b",1\n", f"{FIRST}: its line has not"),
    "a text for a number": (lambda line: line.replace(b",0.", b",much.", 1), "accuracy is 'much"),
    "no accuracy": (lambda line: re.sub(rb"(cnn1d,ravdess,,),[\d.]+", rb"\1,", line), "accuracy is ''"),
    "no seeds": (lambda line: re.sub(rb",1,1,3,", b",1,1,,", line), "n_seeds is ''"),
    "seeds with a point": (lambda line: re.sub(rb",1,1,3,", b",1,1,3.0,", line), "n_seeds is '3.0'"),
    "an unknown status": (lambda line: line.replace(b",run,", b",rum,"), "status is 'rum'"),
    "neither leaky nor not": (lambda line: line.replace(b",True,", b",x,"), "leaky is 'x'"),
    "there twice": (lambda line: 2 * line, f"{FIRST} is there twice"),
    "no such variant": (
        lambda line: line.replace(b"A1_cnn1d,ravdess,", b"A1_cnn1d,tess,", 1),
        "A1_cnn1d tess-",
    ),
    "no such protocol": (lambda line: line.replace(b"as_reported", b"random", 1), "A1_cnn1d ravdess-random"),
    "another system": (lambda line: line.replace(b"A1_cnn1d", b"B1_svm", 1), "B1_svm ravdess-as_reported"),
    "no text": (lambda line: b"\xff" + line, "not a table"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_row_is_refused_and_not_replaced(kind: str, folder: Path) -> None:
    damage, message = DAMAGES[kind]
    path = folder / "A1_cnn1d.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    (number,) = [i for i, line in enumerate(lines) if line.startswith(FIRST_LINE)]
    lines[number] = damage(lines[number])
    damaged = b"".join(lines)
    assert damaged != (ROOT / "benchmark/published/rows/A1_cnn1d.csv").read_bytes()
    path.write_bytes(damaged)
    for use in (rows.gather, lambda: run("A1_cnn1d")):
        with pytest.raises(InputError, match=rf"A1_cnn1d\.csv: .*{message}"):
            use()
    assert path.read_bytes() == damaged


def test_a_lost_row_is_named_with_the_command_that_adds_it(folder: Path) -> None:
    path = folder / "A1_cnn1d.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(
        "".join(line for line in lines if not line.startswith("A1_cnn1d,ravdess,stand_in,as_reported"))
    )
    with pytest.raises(InputError, match=r"A1_cnn1d\.csv: .*ravdess-as_reported.*published\.system A1_cnn1d"):
        rows.gather()
    run("A1_cnn1d")
    assert len(path.read_text().splitlines()) == len(lines)
    rows.gather()


@pytest.mark.parametrize(
    ("corpus", "variants"),
    [
        ("tess", ["ravdess", "ravdess_after_tess"]),  # which starts from TESS and is compared with `ravdess`
        ("ravdess", ["ravdess", "ravdess_after_tess"]),
        ("crema_d", ["crema_d"]),
        ("savee", []),
        (None, ["crema_d", "ravdess", "ravdess_after_tess"]),
    ],
)
def test_a_corpus_is_used_by_what_starts_from_it_too(corpus: str | None, variants: list[str]) -> None:
    experiments = overlay.experiments("A1_cnn1d", load(Path("params.yaml")))
    assert system.using(corpus, overlay.load("A1_cnn1d"), experiments) == variants
