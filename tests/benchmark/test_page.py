"""The benchmark's rows, its page and its picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmark import figure, overlay, page, rows
from benchmark.overlay import Run, System
from benchmark.page import Entry
from stages.core.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
BASE = overlay.parse(ROOT / "params.yaml")
TEST = {
    "accuracy": 0.55515,
    "accuracy_low": 0.5,
    "accuracy_high": 0.61,
    "uar": 0.5,
    "auc": 0.9,
    "chance_uar": 0.125,
    "n_clips": 1439,
    "n_speakers": 24,
    "leaky": True,
}
TRAIN = {"n_train": 1230.4, "n_folds": 2, "n_parameters": 31618, "n_epochs": 12.5}
SPLIT = {"n_folds": 10, "test": {"fraction": {"anger": 0.13, "calm": 0.14}}}
TIMING = {f"fold_0{i}": {"seconds": 3.0 + i, "seconds_per_epoch": 0.25} for i in range(2)}


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture
def svm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> System:
    """A system of which no row is there yet."""
    monkeypatch.setattr(rows, "ROWS", tmp_path / "rows")
    return overlay.load("B1_svm")


@pytest.fixture
def runs() -> dict[str, Run]:
    """The rows of B1_svm, by name."""
    return {run.name: run for run in overlay.runs("B1_svm", BASE)}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A workspace in which a row was run."""
    for name, values in {
        "metrics/test": TEST,
        "metrics/train": TRAIN,
        "metrics/split": SPLIT,
        "data/timing": TIMING,
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.json").write_text(json.dumps(values))
    return tmp_path


def texts(found: list[dict[str, Any]], folder: Path) -> list[dict[str, str]]:
    rows.write(found, folder / "rows.csv")
    return rows.read(folder / "rows.csv")


def honest(found: dict[str, Any], accuracy: float) -> dict[str, Any]:
    return found | {"accuracy": accuracy, "protocol": "speaker_independent"}


def test_a_row_tells_what_was_measured_and_what_was_reported(
    svm: System, runs: dict[str, Run], place: Path
) -> None:
    (row,) = texts([rows.measured(runs["ravdess_savee-as_reported"], svm, place)], place)
    told = {
        "system": "B1_svm",
        "model": "svm",
        "corpora": "ravdess+savee",
        "reported_accuracy": "0.517",
        "reported_f1": "0.509",
        "accuracy": "0.5552",
        "accuracy_high": "0.61",
        "uar_low": "",
        "chance": "0.125",
        "majority": "0.14",
        "n_clips": "1439",
        "n_train": "1230",
        "n_folds": "2",
        "of_folds": "10",
        "n_epochs": "12.5",
        "train_seconds": "3.5",
        "seconds_per_epoch": "0.25",
        "leaky": "True",
        "status": "run",
    }
    assert {name: row[name] for name in told} == told


def test_a_reported_number_stands_beside_its_own_clips_and_split_alone(
    svm: System, runs: dict[str, Run]
) -> None:
    told = {name: rows.told(run, svm)["reported_accuracy"] for name, run in runs.items()}
    assert told == {
        "ravdess_savee-as_reported": 0.517,
        "ravdess_savee-speaker_independent": None,
        "ravdess-as_reported": None,
        "ravdess-speaker_independent": None,
    }


def test_a_row_that_could_not_be_run_has_no_number(svm: System, runs: dict[str, Run], tmp_path: Path) -> None:
    (row,) = texts([rows.absent(runs["ravdess_savee-speaker_independent"], svm, ["SAVEE"])], tmp_path)
    assert row["status"] == "not run here: needs SAVEE"
    filled = {name for name, value in row.items() if value}
    assert filled == {"system", "variant", "role", "protocol", "status", "model", "corpora"}


def test_a_model_without_epochs_has_none(svm: System, runs: dict[str, Run], place: Path) -> None:
    (place / "metrics" / "train.json").write_text(json.dumps(TRAIN | {"n_epochs": 0.0}))
    (row,) = texts([rows.measured(runs["ravdess-as_reported"], svm, place)], place)
    assert (row["n_epochs"], row["seconds_per_epoch"]) == ("", "")


def test_a_run_whose_seconds_are_gone_is_told(svm: System, runs: dict[str, Run], place: Path) -> None:
    (place / "data" / "timing.json").unlink()
    with pytest.raises(InputError, match=r"timing\.json: missing\. Delete .* and run the same again"):
        rows.measured(runs["ravdess-as_reported"], svm, place)


def test_rows_of_other_columns_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("system,accuracy\nB1_svm,0.5\n")
    with pytest.raises(InputError, match=r"rows\.csv: has other columns .* Run the system again"):
        rows.read(tmp_path / "rows.csv")


def test_no_rows_at_all_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "ROWS", tmp_path)
    with pytest.raises(
        InputError, match=r"no system has been run\. Run `python -m benchmark\.system A1_cnn1d`"
    ):
        rows.gather()


def test_the_reports_corpus_stands_for_a_system_where_it_was_run_and_else_another(
    svm: System, runs: dict[str, Run], place: Path
) -> None:
    ran = rows.measured(runs["ravdess-as_reported"], svm, place)
    absent = rows.absent(runs["ravdess_savee-as_reported"], svm, ["SAVEE"])
    without = [absent, absent | {"protocol": "speaker_independent"}, ran, honest(ran, 0.3)]
    (entry,) = page.entries(texts(without, place), BASE)
    assert (entry.variant, entry.stands_in) == ("ravdess", True)
    assert entry.told() == "reported 51.7, by its own split 55.5, with new speakers 30.0 %"
    assert entry.leak == pytest.approx(25.5, abs=0.1)
    own = rows.measured(runs["ravdess_savee-as_reported"], svm, place)
    (entry,) = page.entries(texts([own, honest(own, 0.4), ran, honest(ran, 0.3)], place), BASE)
    assert (entry.variant, entry.stands_in) == ("ravdess_savee", False)
    (entry,) = page.entries(texts(without[:2], place), BASE)
    assert entry.told() == "reported 51.7, not run here: needs SAVEE"


def test_the_page_shows_every_row_and_draws_those_that_were_run(
    svm: System, runs: dict[str, Run], place: Path
) -> None:
    ran = rows.measured(runs["ravdess-as_reported"], svm, place)
    absent = rows.absent(runs["ravdess_savee-as_reported"], svm, ["SAVEE"])
    found = [absent, absent | {"protocol": "speaker_independent"}, ran, honest(ran, 0.3)]
    entries = page.entries(texts(found, place), BASE)
    text = page.render(entries)
    assert text.count("not run here: needs SAVEE") == 2
    assert "| 51.7 | 55.5 [50, 61] | **30.0 [50, 61]** | 25.5 | 14.0 |" in text
    assert "1,439, 24 | 1,230 | 2 of 10 | 31,618 | 12.5 | 3.5 | 0.25 |" in text
    drawn = figure.draw(entries)
    assert drawn.content == figure.draw(entries).content
    assert drawn.content.startswith(b"\x89PNG")
    assert "B1_svm: reported 51.7, by its own split 55.5, with new speakers 30.0 %" in drawn.alt
    figure.draw(page.entries(texts(found[:2], place), BASE))


@pytest.fixture
def measured() -> dict[str, Entry]:
    """The systems as they were measured, by name."""
    return {entry.name: entry for entry in page.entries(rows.read(rows.RESULTS), BASE)}


def test_another_training_with_new_speakers_is_told_from_the_systems_file(measured: dict[str, Entry]) -> None:
    assert measured["A2_lstm"].caveats == ["`patience_epochs` none, with new speakers 15"]
    assert measured["B5_resnet34"].caveats == ["`epochs` 60, with new speakers 30", "`resizing` differs"]
    assert measured["B3_resnet34"].caveats == []


def test_a_training_that_learnt_nothing_is_told(svm: System, runs: dict[str, Run], place: Path) -> None:
    ran = rows.measured(runs["ravdess-as_reported"], svm, place)
    for accuracy, told in (
        (0.145, ["at chance with new speakers, 14.5 % where the commonest emotion has 14.0 %"]),
        (0.16, []),
    ):
        (entry,) = page.entries(texts([ran, honest(ran, accuracy)], place), BASE)
        assert entry.caveats == told
        assert entry.is_fair == (not told)


def test_what_is_not_of_new_speakers_alone_is_marked_and_in_no_mean(measured: dict[str, Entry]) -> None:
    entries = list(measured.values())
    doubted = [entry for entry in entries if entry.ran and not entry.is_fair]
    assert {entry.name for entry in doubted} == {"A2_lstm", "B5_resnet34", "E2_cnn2d"}
    text = page.render(entries)
    assert text.count(" † |") == len(doubted)
    for entry in doubted:
        assert f"- `{entry.name}`: {'; '.join(entry.caveats)}\n" in text
    leaks = [entry.leak for entry in entries if entry.is_fair]
    assert f"{sum(leaks) / len(leaks):.0f} points on average" in text
    assert f"{len(leaks)} were trained alike" in text


def test_nothing_is_doubted_where_both_trainings_are_alike(
    svm: System, runs: dict[str, Run], place: Path
) -> None:
    ran = rows.measured(runs["ravdess-as_reported"], svm, place)
    assert "†" not in page.render(page.entries(texts([ran, honest(ran, 0.3)], place), BASE))


def test_what_differs_is_told_by_key() -> None:
    heard = {"units": [64], "training": {"epochs": 60, "rate": 0.1, "plateau": None}}
    unheard = {"units": [32], "training": {"epochs": 30, "rate": 0.1, "plateau": {"factor": 0.5}}}
    told = ["`units` differs", "`epochs` 60, with new speakers 30", "`plateau` differs"]
    assert page.differences(heard, unheard) == told


def test_a_complete_copy_has_clips_of_each_channel() -> None:
    assert page.n_clips("tess", ["speech"]) == 2800
    assert page.n_clips("ravdess", ["speech"]) == 1440
    assert page.n_clips("ravdess", ["song"]) == 1012
    assert page.n_clips("ravdess", ["speech", "song"]) == 2452


@pytest.mark.parametrize(
    ("system", "variant", "clips", "is_cut"),
    [
        ("C1_cnn", "tess", "1,400 of 2,800", True),
        ("D1_mlp", "song", "1,009 of 1,012", False),
        ("D1_mlp", "both", "2,448 of 2,452", False),
        ("D2_cnn2d", "song", "176", False),  # one fold
        ("E3_cnn2d", "ravdess", "176", False),
    ],
)
def test_a_row_says_of_how_many_clips_it_is(
    measured: dict[str, Entry], system: str, variant: str, clips: str, is_cut: bool
) -> None:
    row = measured[system].rows[variant]["speaker_independent"]
    assert (row.clips, row.is_cut) == (clips, is_cut)


def test_the_page_says_that_corpora_were_cut_down(measured: dict[str, Entry]) -> None:
    text = page.render(list(measured.values()))
    of_c, of_d = text.split("## C: ")[1].split("## D: ")[0], text.split("## D: ")[1].split("## E: ")[0]
    assert "The rows are of 1,400 of 2,800 clips" in of_c
    assert "The songs are 1,009 of 1,012 clips, and each is cut to its first 2.389 s" in of_d


def test_the_table_is_of_the_rows_and_the_page_of_the_table() -> None:
    found = rows.gather()
    assert rows.read(rows.RESULTS) == found, "run `python -m benchmark.table`"
    entries = page.entries(found, BASE)
    assert (ROOT / "docs" / "benchmark.md").read_text() == page.render(entries), (
        "run `python -m benchmark.table`"
    )


def test_every_row_that_is_not_run_says_what_it_needs_and_has_no_number() -> None:
    for row in rows.read(rows.RESULTS):
        if row["status"] != rows.RAN:
            assert row["status"].startswith("not run here: needs ")
            assert row["accuracy"] == row["uar"] == row["n_clips"] == ""
