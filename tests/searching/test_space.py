"""Settings as a user writes them, and as DVC reads them back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.hydra import apply_overrides

from stages.base.errors import InputError
from stages.base.params import load
from stages.searching import space
from tests.support import shipped

SHIPPED = shipped.values()


@pytest.mark.parametrize(
    ("setting", "scale", "ends"),
    [
        ("models.svm.c=log(0.1, 100)", "log", [0.1, 100.0]),
        ("models.svm.gamma=choice(scale, auto, 0.5)", "choice", ["scale", "auto", "0.5"]),
        ("models.svm.inputs.features=choice([mfcc], [mfcc, rms])", "choice", ["[mfcc]", "[mfcc, rms]"]),
        ("features.mfcc.n_mfcc=int(13, 40)", "linear", [13, 40]),
        ("audio.pre_emphasis=float(0, 0.97)", "linear", [0.0, 0.97]),
    ],
)
def test_each_form_has_its_scale_and_ends(setting: str, scale: str, ends: list[Any]) -> None:
    (parameter,), fixed = space.parse([setting])
    assert (parameter.scale, parameter.ends(), fixed) == (scale, ends, {})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["models.svm.c"], r"'models\.svm\.c' is not a setting.*log\(low, high\)"),
        (["=log(1, 2)"], "is not a setting"),
        (["c=log(1, 2)", "c=3"], "c is given twice"),
        (["model=svm"], "nothing to search"),
        (["c=log(0, 2)"], r"c=log\(0, 2\).*above 0, not at 0"),
        (["c=float(2, 1)"], "low end 2 is not below the high end 1"),
        (["c=int(1, 2.5)"], r"two integers, as int\(low, high\)"),
        (["c=int(1, true)"], "two integers"),
        (["c=log(1)"], "two numbers"),
        (["c=float(1, .inf)"], "two numbers"),
        (["c=choice(a)"], "two or more different choices"),
        (["c=choice(a, b, a)"], "two or more different choices"),
        (["c=choice({a: 1}, {a: 2})"], "gives a block"),
        (["c=int(1, 2)", "d={a: 1}"], "gives a block"),
        (["c=choice([a)"], r"'\[\[a\]' is not readable as YAML"),
    ],
)
def test_what_is_no_setting_is_an_error_with_its_text(settings: list[str], message: str) -> None:
    with pytest.raises(InputError, match=f"^ser search: .*{message}"):
        space.parse(settings)


def test_the_order_of_settings_does_not_matter() -> None:
    settings = ["b=int(1, 2)", "seed=3", "a=choice(x, y)"]
    assert space.parse(settings) == space.parse(settings[::-1])


def test_chosen_numbers_are_short_and_stay_within_the_ends() -> None:
    (parameter,), _ = space.parse(["c=log(0.99996, 1.00004)"])
    assert parameter.rounded(0.99997) == 1.0
    assert parameter.rounded(0.999961) == 1.0
    (parameter,), _ = space.parse(["c=log(0.123444, 9)"])
    assert (parameter.rounded(0.1234441), parameter.rounded(3.14159)) == (0.123444, 3.142)


def test_present_values_are_a_choice_only_within_the_space() -> None:
    (number, choice, whole), _ = space.parse(["c=log(1, 100)", "g=choice(scale, 0.5)", "n=int(1, 9)"])
    assert [number.chosen(value) for value in (10, 0.5, "scale", True)] == [10.0, None, None, None]
    assert [choice.chosen(value) for value in ("scale", 0.5, "auto")] == ["scale", "0.5", None]
    assert [whole.chosen(value) for value in (9, 10, 2.0)] == [9, None, None]
    (choice,), _ = space.parse(["d=choice(30, 40.0, true)"])
    assert [choice.chosen(value) for value in (30.0, 40, True, 1)] == ["30", "40.0", "true", None]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("models.svm.c", 0.0001234),
        ("models.svm.c", 1e22),
        ("models.svm.gamma", "scale"),
        ("models.svm.inputs.features", ["mfcc", "rms"]),
        ("models.cnn1d.convolutions.1.filters", 48),
        ("audio.level_db", None),
        ("train.use_augmented", False),
        ("models.cnn1d.convolutions", [{"filters": 4, "pool": "max"}]),
        ("corpora.nemo.table", 'data/a "b" c: d.tsv'),
    ],
)
def test_dvc_reads_the_printed_value_as_the_one_that_was_tried(key: str, value: Any, tmp_path: Path) -> None:
    path = shipped.write(tmp_path)
    apply_overrides(path, [f"{key}={space.written(value)}"])
    assert load(path) == space.changed(SHIPPED, {key: value})
    assert space.read(space.written(value)) == value


def test_other_keys_and_the_given_values_stay() -> None:
    before = json.dumps(SHIPPED)
    changed = space.changed(SHIPPED, {"models.svm.c": 3.0, "train.fold": 1})
    assert json.dumps(SHIPPED) == before
    assert (space.present(changed, "models.svm.c"), space.present(changed, "train.fold")) == (3.0, 1)
    assert changed["models"]["gru"] == SHIPPED["models"]["gru"]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("models.svm.cc", r"params\.models\.svm: no 'cc'"),
        ("modles.svm.c", r"params: no 'modles'; did you mean 'models'"),
        ("models.cnn1d.convolutions.9.filters", r"params\.models\.cnn1d\.convolutions: no '9'"),
        ("models.svm.c.d", r"params\.models\.svm\.c: no 'd'"),
    ],
)
def test_an_unknown_key_is_an_error_that_names_the_choices(key: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        space.changed(SHIPPED, {key: 1})
