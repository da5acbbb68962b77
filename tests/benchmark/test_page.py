"""The benchmark's rows, its page and its figure."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from benchmark.published import figure, overlay, page, rows
from benchmark.published.overlay import Experiment, System
from benchmark.published.page import Entry
from stages.base.errors import InputError
from stages.base.params import load

ROOT = Path(__file__).resolve().parents[2]
BASE = load(ROOT / "params.yaml")
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
    """A system that has no rows yet."""
    monkeypatch.setattr(rows, "ROWS", tmp_path / "rows")
    return overlay.load("B1_svm")


@pytest.fixture
def experiments() -> dict[str, Experiment]:
    """The experiments of B1_svm, by name."""
    return {each.name: each for each in overlay.experiments("B1_svm", BASE)}


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


def with_new_speakers(found: dict[str, Any], accuracy: float) -> dict[str, Any]:
    return found | {"accuracy": accuracy, "protocol": "speaker_independent"}


def test_a_row_has_what_was_measured_and_what_was_reported(
    svm: System, experiments: dict[str, Experiment], place: Path
) -> None:
    (row,) = texts([rows.measured(experiments["ravdess_savee-as_reported"], svm, place)], place)
    expected = {
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
    assert {name: row[name] for name in expected} == expected


def test_a_reported_score_is_only_in_the_row_of_its_own_clips_and_split(
    svm: System, experiments: dict[str, Experiment]
) -> None:
    reported = {name: rows.description(each, svm)["reported_accuracy"] for name, each in experiments.items()}
    assert reported == {
        "ravdess_savee-as_reported": 0.517,
        "ravdess_savee-speaker_independent": None,
        "ravdess-as_reported": None,
        "ravdess-speaker_independent": None,
    }


def test_a_row_that_was_not_run_has_no_scores(
    svm: System, experiments: dict[str, Experiment], tmp_path: Path
) -> None:
    (row,) = texts([rows.not_run(experiments["ravdess_savee-speaker_independent"], svm, ["SAVEE"])], tmp_path)
    assert row["status"] == "not run here: needs SAVEE"
    filled = {name for name, value in row.items() if value}
    assert filled == {"system", "variant", "role", "protocol", "status", "model", "corpora"}


def test_a_model_without_epochs_has_none(
    svm: System, experiments: dict[str, Experiment], place: Path
) -> None:
    (place / "metrics" / "train.json").write_text(json.dumps(TRAIN | {"n_epochs": 0.0}))
    (row,) = texts([rows.measured(experiments["ravdess-as_reported"], svm, place)], place)
    assert (row["n_epochs"], row["seconds_per_epoch"]) == ("", "")


def test_missing_training_times_are_reported(
    svm: System, experiments: dict[str, Experiment], place: Path
) -> None:
    (place / "data" / "timing.json").unlink()
    with pytest.raises(InputError, match=r"timing\.json: missing"):
        rows.measured(experiments["ravdess-as_reported"], svm, place)


def test_rows_with_other_columns_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("system,accuracy\nB1_svm,0.5\n")
    with pytest.raises(InputError, match=r"rows\.csv: its columns"):
        rows.read(tmp_path / "rows.csv")


def test_missing_rows_are_reported_with_the_command_that_makes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "ROWS", tmp_path)
    with pytest.raises(InputError, match=r"python -m benchmark\.published\.system A1_cnn1d"):
        rows.gather()


def test_the_main_table_shows_the_reports_corpus_if_it_was_run_and_else_a_stand_in(
    svm: System, experiments: dict[str, Experiment], place: Path
) -> None:
    ran = rows.measured(experiments["ravdess-as_reported"], svm, place)
    absent = rows.not_run(experiments["ravdess_savee-as_reported"], svm, ["SAVEE"])
    without = [absent, absent | {"protocol": "speaker_independent"}, ran, with_new_speakers(ran, 0.3)]
    (entry,) = page.entries(texts(without, place), BASE)
    assert (entry.variant, entry.is_stand_in) == ("ravdess", True)
    assert entry.summary() == "reported 51.7, with its own split 55.5, with new speakers 30.0 %"
    assert entry.points_lost == pytest.approx(25.5, abs=0.1)
    own = rows.measured(experiments["ravdess_savee-as_reported"], svm, place)
    (entry,) = page.entries(
        texts([own, with_new_speakers(own, 0.4), ran, with_new_speakers(ran, 0.3)], place), BASE
    )
    assert (entry.variant, entry.is_stand_in) == ("ravdess_savee", False)
    (entry,) = page.entries(texts(without[:2], place), BASE)
    assert entry.summary() == "reported 51.7, not run here: needs SAVEE"


def test_the_page_shows_every_row_and_draws_those_that_were_run(
    svm: System, experiments: dict[str, Experiment], place: Path
) -> None:
    ran = rows.measured(experiments["ravdess-as_reported"], svm, place)
    absent = rows.not_run(experiments["ravdess_savee-as_reported"], svm, ["SAVEE"])
    found = [absent, absent | {"protocol": "speaker_independent"}, ran, with_new_speakers(ran, 0.3)]
    entries = page.entries(texts(found, place), BASE)
    text = page.render(entries)
    assert text.count("not run here: needs SAVEE") == 2
    assert "| 51.7 | 55.5 [50, 61] | **30.0 [50, 61]** | 25.5 | 14.0 |" in text
    assert "1,439, 24 | 1,230 | 2 of 10 | 31,618 | 12.5 | 3.5 | 0.25 |" in text
    drawn = figure.draw(entries)
    assert drawn.content == figure.draw(entries).content
    assert drawn.content.startswith(b"\x89PNG")
    assert "B1_svm: reported 51.7, with its own split 55.5, with new speakers 30.0 %" in drawn.alt
    figure.draw(page.entries(texts(found[:2], place), BASE))


@pytest.fixture(scope="module")
def measured() -> dict[str, Entry]:
    """The systems as they were measured, by name."""
    with contextlib.chdir(ROOT):
        return {entry.name: entry for entry in page.entries(rows.read(rows.RESULTS), BASE)}


def test_differences_in_training_are_found_in_the_systems_file(measured: dict[str, Entry]) -> None:
    assert measured["A2_lstm"].caveats == ["`patience_epochs` none, with new speakers 15"]
    assert measured["B5_resnet34"].caveats == ["`resizing` differs", "`epochs` 60, with new speakers 30"]
    assert measured["B3_resnet34"].caveats == []


def test_a_model_at_chance_is_marked(svm: System, experiments: dict[str, Experiment], place: Path) -> None:
    ran = rows.measured(experiments["ravdess-as_reported"], svm, place)
    for accuracy, caveats in (
        (0.145, ["at chance with new speakers: 14.5 %, majority class 14.0 %"]),
        (0.16, []),
    ):
        (entry,) = page.entries(texts([ran, with_new_speakers(ran, accuracy)], place), BASE)
        assert entry.caveats == caveats
        assert entry.is_fair == (not caveats)


def test_rows_that_differ_in_more_than_speakers_are_marked_and_in_no_average(
    measured: dict[str, Entry],
) -> None:
    entries = list(measured.values())
    doubted = [entry for entry in entries if entry.ran and not entry.is_fair]
    assert {entry.name for entry in doubted} == {"A2_lstm", "B5_resnet34", "E2_cnn2d"}
    text = page.render(entries)
    assert text.count(" † |") == len(doubted)
    for entry in doubted:
        assert f"- `{entry.name}`: {'; '.join(entry.caveats)}\n" in text
    leaks = [entry.points_lost for entry in entries if entry.is_fair]
    assert f"{sum(leaks) / len(leaks):.0f} points lower on average" in text
    assert f"{len(leaks)} were trained in the same way" in text


def test_nothing_is_marked_if_both_trainings_are_the_same(
    svm: System, experiments: dict[str, Experiment], place: Path
) -> None:
    ran = rows.measured(experiments["ravdess-as_reported"], svm, place)
    assert "†" not in page.render(page.entries(texts([ran, with_new_speakers(ran, 0.3)], place), BASE))


def test_differences_are_listed_by_key() -> None:
    report_split = {"units": [64], "training": {"epochs": 60, "rate": 0.1, "plateau": None}}
    new_speakers = {"units": [32], "training": {"epochs": 30, "rate": 0.1, "plateau": {"factor": 0.5}}}
    expected = ["`units` differs", "`epochs` 60, with new speakers 30", "`plateau` differs"]
    assert page.differences(report_split, new_speakers) == expected


def test_a_complete_copy_has_clips_of_each_channel() -> None:
    assert page.n_clips("tess", ["speech"]) == 2800
    assert page.n_clips("ravdess", ["speech"]) == 1440
    assert page.n_clips("ravdess", ["song"]) == 1012
    assert page.n_clips("ravdess", ["speech", "song"]) == 2452


@pytest.mark.parametrize(
    ("system", "variant", "clips", "is_partial"),
    [
        ("C1_cnn", "tess", "1,400 of 2,800", True),
        ("D1_mlp", "song", "1,009 of 1,012", False),
        ("D1_mlp", "both", "2,448 of 2,452", False),
        ("D2_cnn2d", "song", "176", False),  # one fold
        ("E3_cnn2d", "ravdess", "176", False),
    ],
)
def test_a_row_states_how_many_clips_were_tested(
    measured: dict[str, Entry], system: str, variant: str, clips: str, is_partial: bool
) -> None:
    row = measured[system].rows[variant]["speaker_independent"]
    assert (row.clips, row.is_partial) == (clips, is_partial)


def test_the_page_says_that_corpora_are_incomplete(measured: dict[str, Entry]) -> None:
    text = page.render(list(measured.values()))
    of_c, of_d = text.split("## C: ")[1].split("## D: ")[0], text.split("## D: ")[1].split("## E: ")[0]
    assert "These rows were measured on 1,400 of 2,800 clips" in of_c
    assert "songs has 1,009 of 1,012 clips, each cut to its first 2.389 s" in of_d


def test_the_table_matches_the_rows_and_the_page_the_table() -> None:
    found = rows.gather()
    assert rows.read(rows.RESULTS) == found, "run `python -m benchmark.published.table`"
    entries = page.entries(found, BASE)
    assert (ROOT / "docs" / "benchmark.md").read_text() == page.render(entries), (
        "run `python -m benchmark.published.table`"
    )


def test_every_row_that_is_not_run_says_what_it_needs_and_has_no_number() -> None:
    for row in rows.read(rows.RESULTS):
        if row["status"] != rows.RAN:
            assert row["status"].startswith("not run here: needs ")
            assert row["accuracy"] == row["uar"] == row["n_clips"] == ""
