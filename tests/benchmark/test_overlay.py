"""Systems' files: what they may contain, how they change params.yaml, and that the result is valid."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from benchmark.published import overlay
from stages.base import registry
from stages.base.errors import InputError
from stages.base.params import load
from tests.support import shipped

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in (ROOT / overlay.SYSTEMS).glob("*.yaml"))


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def written(**changes: Any) -> dict[str, Any]:
    """Returns the content of a system's file with keys changed, underscores twice for dots."""
    values = YAML(typ="safe", pure=True).load(
        (ROOT / "benchmark" / "published" / "systems" / "B1_svm.yaml").read_text()
    )
    for key, value in changes.items():
        block = values
        *above, last = key.split("__")
        for name in above:
            block = block[name]
        block[last] = value
    return values


@pytest.fixture
def only_x(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes `X` the only system there is. Returns the path of its file, which is not yet there."""
    monkeypatch.setattr(overlay, "SYSTEMS", tmp_path)
    return tmp_path / "X.yaml"


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Returns the params of the first experiment of the system `X`, whose `params` are `changes` alone."""
    empty = {"role": "reported", "about": "", "params": {}}
    values = written(params=changes, variants={"a": empty})
    values["protocols"] = {"as_reported": {}, "speaker_independent": {}}
    YAML().dump(values, overlay.SYSTEMS / "X.yaml")
    values = overlay.experiments("X", base)[0].values
    assert values.pop("audio") == overlay.AS_RECORDED["audio"]  # of every system
    return values


def test_blocks_are_merged_and_lists_and_values_replaced(only_x: Path) -> None:
    base = {"model": "svm", "split": {"n_folds": 6, "labels": {"merge": {}, "drop": ["calm"]}}}
    before = copy.deepcopy(base)
    changes = {"model": "gru", "split": {"labels": {"merge": {"calm": "neutral"}, "drop": ["surprise"]}}}
    labels = {"merge": {"calm": "neutral"}, "drop": ["surprise"]}
    assert merged(base, changes) == {"model": "gru", "split": {"n_folds": 6, "labels": labels}}
    assert base == before


def test_null_replaces_a_block_and_a_block_replaces_null(only_x: Path) -> None:
    base = {"plateau": {"factor": 0.5}, "augment": None}
    assert merged(base, {"plateau": None, "augment": {"copies": 1}}) == {
        "plateau": None,
        "augment": {"copies": 1},
    }


def test_a_full_training_block_is_merged_with_a_partial_one(only_x: Path) -> None:
    base = {"training": {"epochs": 100}, "models": {"gru": {"units": [64], "training": {"epochs": 50}}}}
    own = {"optimizer": "adam", "epochs": 3}
    assert merged(base, {"models": {"gru": {"training": own}}}) == {
        "training": {"epochs": 100},
        "models": {"gru": {"units": [64], "training": own}},
    }


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("params__modle", r"params\.modle: .*'model'"),
        ("variants__ravdess_savee__params__sed", r"params\.sed: .*'seed'"),
        ("protocols__as_reported__split__n_fold", r"params\.split\.n_fold: .*'n_folds'"),
        ("params__features__mfcc__n_mfc", r"params\.features\.mfcc\.n_mfc: .*'n_mfcc'"),
        ("params__models__svm__kernle", r"params\.models\.svm\.kernle: .*'kernel'"),
    ],
)
def test_a_misspelt_key_is_rejected_with_its_place_and_a_suggestion(
    only_x: Path, key: str, message: str
) -> None:
    YAML().dump(written(**{key: 1}), only_x)
    first, *_ = overlay.experiments("X", shipped.values())
    with pytest.raises(InputError, match=rf"X\.yaml, ravdess_savee-as_reported: {message}"):
        first.params()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"report__accuracy": 51.7}, r"X\.yaml\.report\.accuracy: 51\.7"),
        ({"variants__ravdess__role": "standin"}, r"X\.yaml\.variants\.ravdess\.role: 'standin'"),
        ({"titel": "SVM"}, r"X\.yaml\.titel: .*'title'"),
        ({"variants": {}}, r"X\.yaml\.variants: \{\}"),
        ({"protocols": {"as_reported": {}}}, r"X\.yaml\.protocols: "),
        ({"protocols__random": {}}, r"X\.yaml\.protocols\.random"),
        ({"protocols__as_reported__train": {"threads": 2}}, r"X\.yaml.*protocols\.as_reported\.train"),
    ],
)
def test_a_mistake_in_a_systems_file_is_reported_with_its_place(
    only_x: Path, change: dict[str, Any], message: str
) -> None:
    YAML().dump(written(**change), only_x)
    with pytest.raises(InputError, match=message):
        overlay.load("X")


@pytest.mark.parametrize("against", ["absent", "second", "third"])
def test_a_variant_changes_one_that_stands_before_it(only_x: Path, against: str) -> None:
    empty = {"role": "further", "about": "", "params": {}}
    names = ("first", "second", "third")
    values = written(variants={name: dict(empty) for name in names})
    values["variants"]["second"]["against"] = "first"
    YAML().dump(values, only_x)
    assert overlay.load("X").variants["second"].against == "first"
    values["variants"]["second"]["against"] = against
    YAML().dump(values, only_x)
    with pytest.raises(InputError, match=rf"X\.yaml.*second\.against.*'{against}'"):
        overlay.load("X")


def test_a_value_that_is_not_valid_is_reported_with_the_row(only_x: Path) -> None:
    YAML().dump(written(params__models__svm__kernel="rbv"), only_x)
    first, *_ = overlay.experiments("X", shipped.values())
    place = r"X\.yaml, ravdess_savee-as_reported: params\.models\.svm\.kernel: 'rbv'"
    with pytest.raises(InputError, match=place):
        first.params()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"protocols__speaker_independent__split__protocol": "random"},
            r"split\.protocol: 'random' tests known",
        ),
        (
            {"protocols__speaker_independent": {}, "params__split": {"protocol": "random"}},
            "'random' tests known",
        ),
        ({"protocols__speaker_independent": {"split": None}}, r"params\.split: "),
        (
            {"protocols__speaker_independent": {"split": {"protocol": ["random"]}}},
            r"params\.split\.protocol: ",
        ),
    ],
)
def test_a_split_by_new_speakers_must_be_one(only_x: Path, changes: dict[str, Any], message: str) -> None:
    YAML().dump(written(**changes), only_x)
    _, new, *_ = overlay.experiments("X", shipped.values())
    for experiment in (new, new.run(1, 100)) if isinstance(new.values["split"], dict) else (new,):
        with pytest.raises(InputError, match=rf"X\.yaml, ravdess_savee-speaker_independent.*{message}"):
            experiment.params()


def test_an_unknown_system_is_reported_with_the_choices() -> None:
    with pytest.raises(InputError, match=r"benchmark/published/systems: no 'B1'.*A1_cnn1d, "):
        overlay.load("B1")


def test_running_outside_the_repositorys_root_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"benchmark/published/systems: "):
        overlay.load("B1_svm")


def test_a_file_that_is_not_yaml_is_reported(tmp_path: Path) -> None:
    (tmp_path / "X.yaml").write_text("a: [")
    with pytest.raises(InputError, match=r"X\.yaml: "):
        load(tmp_path / "X.yaml")


@pytest.mark.parametrize("name", NAMES)
def test_every_row_of_a_system_has_valid_params(name: str) -> None:
    system, found = overlay.load(name), overlay.experiments(name, shipped.values())
    assert len(found) == 2 * len(system.variants)
    for experiment in found:
        params = experiment.params()
        entry = registry.load("models", params.model, "params.model")
        config = params.config("models", params.model, "params.model")
        assert config.inputs.layout in entry.LAYOUTS
        assert set(config.inputs.features) <= set(params.featurize.features)
        assert (params.split.protocol == "random") == (experiment.protocol == "as_reported")
        assert params.train.fold == "all" or system.variants[experiment.variant].role == "further"


def test_a_run_has_seeds_of_its_own_and_a_limit_of_training_clips() -> None:
    experiment = overlay.experiments("B1_svm", shipped.values())[0]
    runs = [experiment.run(number, 900) for number in (0, 1)]
    assert [run.name for run in runs] == [experiment.name] * 2
    assert [run.folder for run in runs] == [f"{experiment.name}-20", f"{experiment.name}-21"]
    params = [run.params() for run in runs]
    assert [(each.seed, each.train.seed, each.split.train_clips) for each in params] == [
        (20, 20, 900),
        (21, 21, 900),
    ]
    assert (
        "train_clips" not in experiment.values["split"] or experiment.values["split"]["train_clips"] is None
    )


def of_variant(variant: str, base: dict[str, Any]) -> list[overlay.Experiment]:
    return [each for each in overlay.experiments("X", base) if each.variant == variant]


@pytest.mark.parametrize(
    ("key", "value", "changes"),
    [
        ("note", "other", False),
        ("report__accuracy", 0.6, False),
        ("params__models__svm__c", 0.5, True),
        ("variants__ravdess__params__seed", 1, True),
        ("variants__ravdess_savee__params__seed", 1, False),
        ("protocols__as_reported__split__test_fraction", 0.3, True),
    ],
)
def test_what_a_systems_file_sets_for_a_variant_changes_its_fingerprint(
    only_x: Path, key: str, value: Any, changes: bool
) -> None:
    base = shipped.values()
    YAML().dump(written(), only_x)
    before = overlay.settings(of_variant("ravdess", base))
    YAML().dump(written(**{key: value}), only_x)
    assert (overlay.settings(of_variant("ravdess", base)) != before) is changes


@pytest.mark.parametrize(
    ("change", "changes"),
    [
        ({"spectrum": {"n_mels": 64}}, True),
        ({"train": {"normalize": "speaker"}}, True),
        ({"models": {"svm": {"class_weights": "balanced"}}}, True),
        ({"evaluate": {"n_resamples": 200}}, True),
        ({"split": {"lists": {"mine": ["01"]}}}, False),
        ({"models": {"mlp": {"alpha": 1.0}}}, False),
        ({"training": {"epochs": 3}}, False),  # an SVM has none
        ({"augment": {"chain": ["noise"]}}, False),  # it has no copies
        ({"train": {"threads": 3}}, False),
        ({"compute": {"workers": 2}, "predict": {"sure": 0.9}, "report": {"n_audio": 1}}, False),
    ],
)
def test_what_params_yaml_sets_for_a_variant_changes_its_fingerprint(
    only_x: Path, change: dict[str, Any], changes: bool
) -> None:
    YAML().dump(written(), only_x)
    base = shipped.values()
    before, after = (
        overlay.settings(of_variant("ravdess", each)) for each in (base, overlay.merged(base, change))
    )
    assert (before != after) is changes


def test_the_fingerprint_of_a_gain_sees_what_it_is_a_gain_over_and_the_earlier_training() -> None:
    experiments = overlay.experiments("A1_cnn1d", shipped.values())
    base, after_tess = (
        [each for each in experiments if each.variant == name] for name in ("ravdess", "ravdess_after_tess")
    )
    before = overlay.settings([*after_tess, *base])
    changed = [replace(each, values=overlay.merged(each.values, {"seed": 1})) for each in base]
    assert overlay.settings([*after_tess, *changed]) != before
    longer = {"models": {"cnn1d": {"training": {"epochs": 3}}}}
    for each in after_tess:
        assert each.pretraining is not None
        earlier = replace(each.pretraining, values=overlay.merged(each.pretraining.values, longer))
        assert overlay.settings([replace(each, pretraining=earlier)]) != overlay.settings([each])


def test_the_reports_split_comes_first_in_whatever_order_they_are_written(only_x: Path) -> None:
    values = written()
    values["protocols"] = dict(reversed(values["protocols"].items()))
    assert next(iter(values["protocols"])) == "speaker_independent"
    YAML().dump(values, only_x)
    found = of_variant("ravdess", shipped.values())
    assert [each.protocol for each in found] == ["as_reported", "speaker_independent"]


@pytest.mark.parametrize("name", NAMES)
def test_a_systems_file_states_what_its_report_leaves_open(name: str) -> None:
    text = (ROOT / "benchmark" / "published" / "systems" / f"{name}.yaml").read_text()
    assert "# Left open: " in text
    assert "Chosen: " in text


def test_params_survive_being_written_and_read(tmp_path: Path) -> None:
    base = shipped.values()
    YAML().dump(base, tmp_path / "params.yaml")
    assert load(tmp_path / "params.yaml") == base


def test_a_variant_with_pretraining_starts_from_its_weights(only_x: Path) -> None:
    def experiments(**pretrain: Any) -> list[overlay.Experiment]:
        network = {"model": "cnn2d", "models": {"cnn2d": {"training": {"epochs": 2}}}}
        variant = {"role": "reported", "about": "", "params": {"corpus": ["ravdess"]}, **pretrain}
        YAML().dump(written(params=network, variants={"a": variant}), only_x)
        return overlay.experiments("X", shipped.values())

    without, _ = experiments()
    both = experiments(pretrain={"corpus": ["tess"], "split": {"protocol": "random", "n_folds": 1}})
    for each in both:
        assert each.pretraining is not None
        assert each.block["training"]["init_from"] == each.pretraining.weights
        own, earlier = each.params(), each.pretraining.params()
        assert (own.corpus, earlier.corpus) == (["ravdess"], ["tess"])
        assert (earlier.split.protocol, earlier.split.n_folds) == ("random", 1)
        assert each.pretraining.block["training"].get("init_from") is None
    assert without.pretraining is None
    assert without.block["training"].get("init_from") is None
