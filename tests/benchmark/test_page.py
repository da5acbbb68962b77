"""The benchmark's rows, its page and its figure."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from benchmark.published import figure, overlay, page, rows, table, workspace
from benchmark.published.overlay import Experiment, System
from benchmark.published.page import Entry
from stages.base.errors import InputError
from stages.base.files import PREDICTIONS
from stages.data import tables
from tests.support import shipped
from tests.support.predictions import of_speakers

ROOT = Path(__file__).resolve().parents[2]
BASE = shipped.values()
TEST = {"chance_uar": 0.125, "leaky": True}
TRAIN = {"n_train": 1230.4, "n_folds": 2, "n_parameters": 31618, "n_epochs": 12.5}
SPLIT = {"n_folds": 10}
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


# of 4 clips of each of 4 speakers, those that are right: by protocol, with two seeds
RIGHT = {
    "as_reported": ([3, 3, 4, 4], [4, 3, 4, 3]),
    "speaker_independent": ([1, 2, 1, 2], [2, 2, 3, 1]),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which all rows of B1_svm were run, with two seeds."""
    monkeypatch.setattr(workspace, "RUNS", tmp_path)
    for each in overlay.experiments("B1_svm", BASE):
        for number, right in enumerate(RIGHT[each.protocol]):
            folder = workspace.folder(each.run(number, None))
            for name, values in {
                "metrics/test": TEST,
                "metrics/train": TRAIN,
                "metrics/split": SPLIT,
                "data/timing": TIMING,
            }.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / f"{name}.json").write_text(json.dumps(values))
            tested = of_speakers(right, 4).assign(seed=20 + number)
            tables.write(tested, tables.PREDICTIONS, folder / PREDICTIONS)
    return tmp_path


def texts(found: list[dict[str, Any]], folder: Path) -> list[dict[str, str]]:
    rows.write(found, folder / "rows.csv")
    return rows.read(folder / "rows.csv")


def pair(variant: str, experiments: dict[str, Experiment]) -> list[Experiment]:
    """Returns the two experiments of a variant."""
    return [each for each in experiments.values() if each.variant == variant]


def ran(
    svm: System, experiments: dict[str, Experiment], variant: str = "ravdess", accuracy: float = 0.3
) -> list[dict[str, Any]]:
    """Returns the two rows of a variant, with an accuracy with new speakers and a majority class of 14 %."""
    report_split, new_speakers = rows.measured(pair(variant, experiments), svm, 2)
    return [report_split | {"majority": 0.14}, new_speakers | {"majority": 0.14, "accuracy": accuracy}]


def absent(
    svm: System, experiments: dict[str, Experiment], variant: str = "ravdess_savee"
) -> list[dict[str, Any]]:
    """Returns the two rows of a variant whose corpus is missing."""
    return [rows.last(each, svm, ["SAVEE"]) for each in pair(variant, experiments)]


def test_a_row_has_what_was_measured_and_what_was_reported(
    svm: System, experiments: dict[str, Experiment], place: Path
) -> None:
    found = texts(rows.measured(pair("ravdess_savee", experiments), svm, 2), place)
    expected = {
        "system": "B1_svm",
        "model": "svm",
        "corpora": "ravdess+savee",
        "reported_accuracy": "0.517",
        "reported_f1": "0.509",
        "accuracy": "0.875",  # of 14 and 14 of 16 clips
        "accuracy_std": "0",
        "lost": "",
        "chance": "0.125",
        "majority": "1",
        "n_clips": "16",
        "n_speakers": "4",
        "n_train": "1230",
        "n_folds": "2",
        "of_folds": "10",
        "n_seeds": "2",
        "n_epochs": "12.5",
        "train_seconds": "3.5",
        "seconds_per_epoch": "0.25",
        "leaky": "True",
        "status": "run",
    }
    assert {name: found[0][name] for name in expected} == expected
    # 6 and 8 of 16 clips
    assert (found[1]["accuracy"], found[1]["accuracy_std"], found[1]["lost"]) == (
        "0.4375",
        "0.08839",
        "0.4375",
    )
    assert 0 < float(found[1]["lost_low"]) < 0.4375 < float(found[1]["lost_high"]) < 1
    settings = overlay.settings(pair("ravdess_savee", experiments))
    assert [row["settings"] for row in found] == [settings] * 2


def test_the_gain_over_another_variant_is_that_of_the_same_clips(
    svm: System, experiments: dict[str, Experiment], place: Path
) -> None:
    for number, right in enumerate(([2, 2, 1, 3], [3, 2, 3, 2])):  # two clips more than RIGHT each
        folder = workspace.folder(experiments["ravdess-speaker_independent"].run(number, None))
        tested = of_speakers(right, 4).assign(seed=20 + number)
        tables.write(tested, tables.PREDICTIONS, folder / PREDICTIONS)
    changed, base = (pair(variant, experiments) for variant in ("ravdess", "ravdess_savee"))
    found = rows.measured(changed, svm, 2, base)
    assert [row["gain"] for row in found] == pytest.approx([0.0, 2 / 16])
    assert found[1]["gain_low"] <= 2 / 16 <= found[1]["gain_high"]
    assert "gain" not in rows.measured(base, svm, 2)[1]
    other = tested.assign(clip=tested["clip"].replace(tested["clip"].iloc[0], "c/another"))
    tables.write(other, tables.PREDICTIONS, folder / PREDICTIONS)
    with pytest.raises(InputError, match=r"B1_svm, ravdess-speaker_independent: 2 test clips .*'?c/"):
        rows.measured(changed, svm, 2, base)


def test_changes_have_a_table_with_what_they_are_worth(
    svm: System, experiments: dict[str, Experiment]
) -> None:
    of_variant = {"about": "both", "against": "ravdess_savee"}
    changed = svm.variants["ravdess"].model_copy(update=of_variant)
    system = svm.model_copy(update={"variants": svm.variants | {"ravdess": changed}})
    gains = {"gain": "0.125", "gain_low": "0.1", "gain_high": "0.15", "n_seeds": "1"}
    made = {
        each.variant: {other.protocol: page.Row(gains, other) for other in pair(each.variant, experiments)}
        for each in experiments.values()
    }
    made["ravdess_savee"] = {
        protocol: page.Row({"gain": ""}, row.experiment) for protocol, row in made["ravdess_savee"].items()
    }
    (entry, variant, of_protocols) = page.changes_of([Entry("B1_svm", system, made)])[0]
    assert (entry.name, variant) == ("B1_svm", "ravdess")
    row = of_protocols["as_reported"]
    assert row.points("gain") == "12.5 [10, 15]‡"  # of one seed
    assert page.Row({**gains, "n_seeds": "3"}, row.experiment).points("gain") == "12.5 [10, 15]"


def test_a_row_of_fewer_seeds_has_those_that_are_finished(
    svm: System, experiments: dict[str, Experiment], place: Path
) -> None:
    found = texts(rows.measured(pair("ravdess", experiments), svm, 1), place)
    assert [row["n_seeds"] for row in found] == ["1", "1"]
    assert [row["accuracy"] for row in found] == ["0.875", "0.375"]
    assert {row["accuracy_std"] for row in found} == {""}


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
    _, row = texts(absent(svm, experiments), tmp_path)
    assert row["status"] == "not run here: needs SAVEE"
    filled = {name for name, value in row.items() if value}
    assert filled == {"system", "variant", "role", "protocol", "status", "model", "corpora"}


def test_a_model_without_epochs_has_none(
    svm: System, experiments: dict[str, Experiment], place: Path
) -> None:
    for path in place.rglob("train.json"):
        path.write_text(json.dumps(TRAIN | {"n_epochs": 0.0}))
    row, _ = texts(rows.measured(pair("ravdess", experiments), svm, 2), place)
    assert (row["n_epochs"], row["seconds_per_epoch"]) == ("", "")


def test_missing_training_times_are_reported(
    svm: System, experiments: dict[str, Experiment], place: Path
) -> None:
    next(place.rglob("ravdess-as_reported-21/data/timing.json")).unlink()
    with pytest.raises(InputError, match=r"ravdess-as_reported-21/data/timing\.json: missing"):
        rows.measured(pair("ravdess", experiments), svm, 2)


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
    found = [*absent(svm, experiments), *ran(svm, experiments)]
    (entry,) = page.entries(texts(found, place), BASE)
    assert (entry.variant, entry.is_stand_in) == ("ravdess", True)
    assert entry.summary() == "reported 51.7, with its own split 87.5, with new speakers 30.0 %"
    assert entry.points_lost == pytest.approx(43.75)  # of the predictions
    both = [*ran(svm, experiments, "ravdess_savee"), *ran(svm, experiments)]
    (entry,) = page.entries(texts(both, place), BASE)
    assert (entry.variant, entry.is_stand_in) == ("ravdess_savee", False)
    (entry,) = page.entries(texts(found[:2], place), BASE)
    assert entry.summary() == "reported 51.7, not run here: needs SAVEE"


def test_the_page_shows_every_row_and_draws_those_that_were_run(
    svm: System, experiments: dict[str, Experiment], place: Path
) -> None:
    found = [*absent(svm, experiments), *ran(svm, experiments)]
    entries = page.entries(texts(found, place), BASE)
    text = page.render(entries)
    assert "Not run here (needs SAVEE): `B1_svm` RAVDESS speech and SAVEE.\n" in text
    lost = entries[0].new_speakers.score("lost")
    both = entries[0].report_split, entries[0].new_speakers
    (report_split, new_speakers), spread = (
        [row.score("accuracy") for row in both],
        [row.over_seeds("accuracy") for row in both],
    )
    assert (
        f"| 51.7 (validation) | {report_split}{spread[0]} | **{new_speakers}**{spread[1]} | {lost} |" in text
    )
    assert report_split.startswith("87.5 [")
    assert spread[0].startswith(" ± ")
    # in the table of its report, too, in the row of the report's split
    assert text.count("| 51.7 (validation), F1 50.9, other clips | the report's | 87.5 [") == 1
    assert text.count("51.7") == 2
    assert "The report: DeepEmoNet. It tests on a random 90/5/5 split of RAVDESS speech and SAVEE" in text
    assert "16, 4 | 1,230 | 2 of 10 | 2 | 31,618 | 12.5 | 3.5 |" in text
    drawn = figure.draw(entries)
    assert drawn.content == figure.draw(entries).content
    assert drawn.content.startswith(b"\x89PNG")
    assert "B1_svm: reported 51.7, with its own split 87.5, with new speakers 30.0 %" in drawn.alt
    figure.draw(page.entries(texts(found[:2], place), BASE))


def test_the_table_for_papers_has_the_rows_of_the_page(
    svm: System, experiments: dict[str, Experiment], place: Path
) -> None:
    found = page.entries(texts([*absent(svm, experiments), *ran(svm, experiments)], place), BASE)
    text = table.latex(found)
    assert text.startswith("\\begin{table}\n\\caption{Accuracy in")
    assert "B1\\_svm" in text
    assert "RAVDESS speech alone (stand-in) & 51.7 (validation)" in text
    assert found[0].lost.replace("-", "$-$") in text
    assert f"& {found[0].new_speakers.score('accuracy')} ± 8.8 &" in text
    one_seed = [row | {"n_seeds": 1} for row in ran(svm, experiments)]
    marked = page.entries(texts(one_seed, place), BASE)
    assert marked[0].lost.endswith(page.ONE_SEED)
    assert marked[0].lost.replace("-", "$-$") in table.latex(marked)


def test_a_row_is_outdated_after_a_change_of_params_yaml() -> None:
    found = rows.gather()
    assert not any(entry.has_outdated_rows for entry in page.entries(found, BASE))
    changed = overlay.merged(BASE, {"models": {"svm": {"class_weights": "balanced"}}})
    outdated = [entry.name for entry in page.entries(found, changed) if entry.has_outdated_rows]
    assert outdated == ["B1_svm"]


def test_an_outdated_row_is_marked_and_in_no_average(
    svm: System, experiments: dict[str, Experiment], place: Path
) -> None:
    (entry,) = page.entries(texts(ran(svm, experiments), place), BASE)
    assert not entry.is_outdated
    before = [row | {"settings": "0123456789abcdef"} for row in ran(svm, experiments)]
    (entry,) = page.entries(texts(before, place), BASE)
    assert entry.is_outdated
    assert not entry.counts
    assert (
        page.render([entry]).count(" † |") == 3
    )  # in the main table, and both rows in the table of its report


def test_a_further_row_is_marked_where_it_is_outdated(measured: dict[str, Entry]) -> None:
    entries = list(measured.values())
    d1 = measured["D1_mlp"]
    row = d1.rows["chroma"]["speaker_independent"]
    chroma = d1.rows["chroma"] | {"speaker_independent": replace(row, is_outdated=True)}
    outdated = replace(d1, rows=d1.rows | {"chroma": chroma})
    text = page.render([outdated if entry is d1 else entry for entry in entries])
    marked = [line for line in text.splitlines() if "†" in line]
    about = d1.system.variants["chroma"].about
    assert marked[0].startswith("† was measured with earlier settings")
    assert [line for line in marked[1:] if "`D1_mlp`" in line and about in line] == marked[1:]
    assert len(marked) == 3  # below the main table, among the changes and in the report's table
    assert outdated.counts


def test_means_of_points_lost_have_an_interval_over_systems(measured: dict[str, Entry]) -> None:
    ran = [entry for entry in measured.values() if entry.ran]
    interval = ttest_1samp([entry.points_lost for entry in ran], 0).confidence_interval()
    mean = np.mean([entry.points_lost for entry in ran])
    assert page.mean_lost(ran) == f"{mean:.0f} [{interval.low:.0f}, {interval.high:.0f}]"
    tess = [entry for entry in ran if entry.report == "C"]  # two speakers
    lost = sorted(entry.points_lost for entry in tess)
    assert page.mean_lost(tess) == f"{np.mean(lost):.0f} ({lost[0]:.0f} to {lost[-1]:.0f})"
    assert page.mean_lost(ran[:1]) == f"{ran[0].points_lost:.0f}"


def test_every_system_is_of_one_kind_each(measured: dict[str, Entry]) -> None:
    ran = [entry for entry in measured.values() if entry.ran]
    corpora = page.by_kind(ran).pop("corpora")
    assert sorted(entry.name for some in corpora.values() for entry in some) == [e.name for e in ran]
    assert {entry.report for entry in corpora["TESS, 2 speakers"]} == {"C"}
    on_ravdess = [entry.name for entry in corpora["RAVDESS, 24 speakers"]]
    for groups in (page.by_kind(ran)[kind] for kind in ("parameters", "input")):
        assert sorted(entry.name for some in groups.values() for entry in some) == on_ravdess


@pytest.fixture(scope="module")
def measured() -> dict[str, Entry]:
    """The systems as they were measured, by name."""
    with contextlib.chdir(ROOT):
        return {entry.name: entry for entry in page.entries(rows.read(rows.RESULTS), BASE)}


def test_a_model_at_chance_counts_in_the_averages(
    svm: System, experiments: dict[str, Experiment], place: Path
) -> None:
    (entry,) = page.entries(texts(ran(svm, experiments, accuracy=0.145), place), BASE)
    assert entry.new_speakers.is_at_chance
    assert entry.counts


def test_the_claim_is_of_all_systems_with_the_present_settings(measured: dict[str, Entry]) -> None:
    entries = list(measured.values())
    counted = [entry for entry in entries if entry.counts]
    assert counted == [entry for entry in entries if entry.ran]  # none is outdated
    text = page.render(entries)
    for corpora, some in page.by_corpora(counted).items():
        assert f"{page.mean_lost(some)}{' points lower' if corpora == 'RAVDESS' else ''} on {corpora}" in text
    (ravdess,) = [some for corpora, some in page.by_corpora(counted).items() if corpora == "RAVDESS"]
    n_with_zero = sum(float(e.new_speakers.text("lost_low")) <= 0 for e in ravdess)
    assert f"excludes 0 for {len(ravdess) - n_with_zero} of {len(ravdess)} systems" in text
    assert "†" not in text


def test_systems_of_the_same_clips_are_ranked_by_both_splits(measured: dict[str, Entry]) -> None:
    counted = [entry for entry in measured.values() if entry.counts]
    ranks = {rank.clips: rank for rank in page.rankings(counted)}
    assert {"RAVDESS, 8 emotions", "TESS, 7 emotions"} <= {*ranks}
    ranked = [entry.name for rank in ranks.values() for entry in rank.by_new_speakers]
    assert len(ranked) == len({*ranked})
    assert {*ranked} <= {entry.name for entry in counted if not entry.has_one_seed}
    for rank in ranks.values():
        for some, by in (
            (rank.by_report_split, "report_split_accuracy"),
            (rank.by_new_speakers, "new_speakers_accuracy"),
        ):
            accuracies = [getattr(entry, by) for entry in some]
            assert accuracies == sorted(accuracies, reverse=True)
        places = [rank.by_report_split.index(entry) for entry in rank.by_new_speakers]
        n = len(places)
        squares = sum((place - own) ** 2 for own, place in enumerate(places))
        assert rank.correlation == pytest.approx(1 - 6 * squares / (n * (n**2 - 1)))
    assert page.rankings(counted[:2]) == []


def test_a_note_of_some_rows_names_them(measured: dict[str, Entry]) -> None:
    b5 = measured["B5_resnet34"]
    scratch = b5.system.variants["ravdess_from_scratch"]
    assert f"`B5_resnet34`, {scratch.about}: {scratch.note}" in b5.notes
    assert f"`B2_bilstm`: {measured['B2_bilstm'].system.note}" in measured["B2_bilstm"].notes
    assert measured["B4_resnet34"].notes == []
    assert all(note in page.render(list(measured.values())) for note in b5.notes)


def test_the_page_says_how_long_a_missing_corpus_will_take() -> None:
    needed = {"status": "not run here: needs CREMA-D"}
    found = [row | needed if "crema_d" in row["corpora"] else row for row in rows.read(rows.RESULTS)]
    entries = page.entries(found, BASE)
    hours = page.hours(entries, "crema_d")
    assert 10 < hours < 200
    assert f"about {hours:.0f} hours" in page.render(entries)
    assert page.hours(entries, "tess") == 0


def test_a_complete_copy_has_clips_of_each_channel() -> None:
    assert overlay.n_clips("tess", ["speech"]) == 2800
    assert overlay.n_clips("ravdess", ["speech"]) == 1440
    assert overlay.n_clips("ravdess", ["song"]) == 1012
    assert overlay.n_clips("ravdess", ["speech", "song"]) == 2452


@pytest.mark.parametrize(
    ("tested", "corpora", "clips", "is_partial"),
    [
        ({"n_clips": "1400", "n_folds": "2", "of_folds": "2"}, ["tess"], "1,400 of 2,800", True),
        ({"n_clips": "1439", "n_folds": "6", "of_folds": "6"}, ["ravdess"], "1,439 of 1,440", False),
        ({"n_clips": "176", "n_folds": "1", "of_folds": "6"}, ["ravdess"], "176", False),
        ({"n_clips": "72", "n_folds": "1", "of_folds": "1"}, ["ravdess"], "72", False),
    ],
)
def test_a_row_states_how_many_clips_were_tested(
    tested: dict[str, str], corpora: list[str], clips: str, is_partial: bool
) -> None:
    experiment = overlay.experiments("C1_cnn", BASE)[0]
    experiment.values["corpus"] = corpora
    speakers = str(overlay.n_speakers(corpora))
    row = page.Row({"n_speakers": speakers} | tested, experiment)
    assert (row.clips, row.is_partial) == (clips, is_partial)


@pytest.mark.parametrize(
    ("n_speakers", "channels", "is_partial"),
    [
        ("24", ["speech"], False),
        ("12", ["speech"], True),
        ("23", ["speech", "song"], True),
        ("23", ["song"], False),  # one of RAVDESS's actors does not sing
    ],
)
def test_a_row_of_some_labels_is_partial_without_all_speakers(
    n_speakers: str, channels: list[str], is_partial: bool
) -> None:
    experiment = overlay.experiments("B1_svm", BASE)[0]
    experiment.values["corpus"] = ["ravdess"]
    experiment.values["split"] |= {"labels": {"merge": {}, "drop": ["calm"]}, "channels": channels}
    tested = {"n_clips": "500", "n_speakers": n_speakers, "n_folds": "6", "of_folds": "6"}
    assert page.Row(tested, experiment).is_partial is is_partial
    fold = page.Row(tested | {"n_folds": "1"}, experiment)
    assert not fold.is_partial


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
            assert row["status"] == rows.NOT_YET or row["status"].startswith("not run here: needs ")
            assert row["accuracy"] == row["uar"] == row["n_clips"] == ""


def test_a_score_that_rounds_to_zero_has_no_sign(experiments: dict[str, Experiment]) -> None:
    values = {"gain": "-0.0004", "gain_low": "-0.09", "gain_high": "-0.0004"}
    assert page.Row(values, next(iter(experiments.values()))).score("gain") == "0.0 [-9, 0]"
    values["gain_high"] = "-0.004"  # but the end of an interval shows on which side of 0 it is
    assert page.Row(values, next(iter(experiments.values()))).score("gain") == "0.0 [-9, -0.4]"
