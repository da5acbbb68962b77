"""Trials in SQLite: the same ones after a kill, none twice, and none of other data or code."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
import pytest

from stages.base.errors import InputError
from stages.searching import space, trials
from stages.searching.trials import Result

SPACE, _ = space.parse(["c=log(0.01, 1000)", "kind=choice(good, bad)"])
MADE_FROM = {"parameters": "p", "data": "d", "settings": "s", "code": "c"}


def score(chosen: dict[str, Any]) -> Result:
    """Returns what is highest at c = 10 of the good kind: 0.9."""
    uar = 0.9 - 0.1 * abs(math.log10(chosen["c"]) - 1) - 0.2 * (chosen["kind"] == "bad")
    return Result({"fold_00": uar - 0.05, "fold_01": uar + 0.05}, 1.0)


def study(folder: Path, **changes: str) -> optuna.Study:
    return trials.open_study(folder / "trials.db", MADE_FROM | changes)[0]


def run(opened: optuna.Study, n: int, measure: Any = score, first: Any = None, seed: int = 20) -> list[Any]:
    """Returns what each trial chose and its score, after running until there are `n`."""
    for _ in trials.run(opened, SPACE, first, measure, n, seed):
        pass
    return [(each.params, each.value) for each in trials.finished(opened)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    return run(study(tmp_path_factory.mktemp("undisturbed")), 24)


def test_the_same_seed_gives_the_same_trials_and_another_one_others(
    undisturbed: list[Any], tmp_path: Path
) -> None:
    assert run(study(tmp_path), 12) == undisturbed[:12]
    other = run(study(tmp_path, data="other"), 12, seed=21)
    assert all(chosen != before for (chosen, _), (before, _) in zip(other, undisturbed, strict=False))


def test_the_search_comes_near_the_best(undisturbed: list[Any]) -> None:
    chosen, uar = max(undisturbed, key=lambda each: each[1])
    assert chosen["kind"] == "good" and uar > 0.85
    assert sum(kind["kind"] == "good" for kind, _ in undisturbed[12:]) >= 8


@pytest.mark.parametrize("killed_in", [1, 2, 11, 15])
def test_a_killed_search_goes_on_with_the_trial_that_it_was_killed_in(
    undisturbed: list[Any], tmp_path: Path, killed_in: int
) -> None:
    measured = []

    def until_killed(chosen: dict[str, Any]) -> Result:
        measured.append(chosen)
        if len(measured) == killed_in:
            raise KeyboardInterrupt
        return score(chosen)

    with pytest.raises(KeyboardInterrupt):
        run(study(tmp_path), 24, until_killed)
    assert run(study(tmp_path), killed_in - 1) == undisturbed[: killed_in - 1]
    assert run(study(tmp_path), 24, until_killed) == undisturbed
    again = measured[killed_in:]
    assert again[0] == measured[killed_in - 1]


def test_the_first_trial_has_the_given_values(tmp_path: Path) -> None:
    found = run(study(tmp_path), 2, first={"c": 0.5, "kind": "bad"})
    assert found[0][0] == {"c": 0.5, "kind": "bad"} != found[1][0]


def test_values_that_were_measured_are_not_measured_again(tmp_path: Path) -> None:
    choices, _ = space.parse(["kind=choice(good, bad)"])
    measured = []

    def measure(chosen: dict[str, Any]) -> Result:
        measured.append(chosen["kind"])
        return Result({"fold_00": 0.5 + 0.1 * (chosen["kind"] == "good")}, 1.0)

    *_, done = trials.run(study(tmp_path), choices, None, measure, 9, 20)
    assert len(done) == 9 and sorted(measured) == ["bad", "good"]
    assert {(each.params["kind"], each.value) for each in done} == {("good", 0.6), ("bad", 0.5)}
    assert trials.table(done)["seconds"].sum() == 2.0


def test_other_data_code_or_settings_begin_a_new_study_that_says_what_changed(tmp_path: Path) -> None:
    path = tmp_path / "trials.db"
    opened, differs = trials.open_study(path, MADE_FROM)
    assert differs == []
    before = run(opened, 3)
    opened, differs = trials.open_study(path, MADE_FROM | {"data": "other", "code": "other"})
    assert (trials.finished(opened), differs) == ([], ["data", "code"])
    opened, differs = trials.open_study(path, MADE_FROM)
    assert differs == [] and run(opened, 3) == before


def failing(*numbers: int) -> Any:
    """Returns a measure whose calls of these numbers, from 1, fail."""
    calls = iter(range(1, 1000))
    return lambda chosen: Result({}, 1.0, "diverged") if next(calls) in numbers else score(chosen)


def test_a_failed_trial_is_kept_with_its_reason_when_a_later_one_succeeds(tmp_path: Path) -> None:
    found = run(study(tmp_path), 6, failing(2, 3, 5))
    assert [uar is None for _, uar in found] == [False, True, True, False, True, False]
    table = trials.table(trials.finished(study(tmp_path)))
    assert table["failed"].tolist() == ["", "diverged", "diverged", "", "diverged", ""]
    assert table["fold_01"].notna().tolist() == [True, False, False, True, False, True]
    best = trials.best(trials.finished(study(tmp_path)))
    assert best is not None and best.value == max(uar for _, uar in found if uar is not None)


@pytest.mark.parametrize(("numbers", "kept"), [((1,), 0), ((3, 4, 5), 2)])
def test_failures_without_a_success_stop_the_search_and_are_tried_again(
    undisturbed: list[Any], tmp_path: Path, numbers: tuple[int, ...], kept: int
) -> None:
    with pytest.raises(InputError, match=f"trial {numbers[-1]} failed.*{len(numbers)} in a row: diverged"):
        run(study(tmp_path), 8, failing(*numbers))
    assert len(trials.finished(study(tmp_path))) == kept
    assert run(study(tmp_path), 8) == undisturbed[:8]


def test_values_that_are_not_valid_together_stop_nothing(tmp_path: Path) -> None:
    found = run(
        study(tmp_path), 12, lambda chosen: Result({}, 0.0, "not valid") if chosen["c"] > 1 else score(chosen)
    )
    assert sum(uar is None for _, uar in found) >= 3
    assert len(found) == 12


def test_a_damaged_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "trials.db").write_bytes(b"no database" * 100)
    with pytest.raises(InputError, match=r"trials\.db: not a file of trials.*Delete it"):
        study(tmp_path)
