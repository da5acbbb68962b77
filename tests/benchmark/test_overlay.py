"""Systems' files: what they may say, and that every one gives params that the pipeline takes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from benchmark.published import overlay
from benchmark.published.overlay import overlaid
from stages.base import registry
from stages.base.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in (ROOT / overlay.SYSTEMS).glob("*.yaml"))
BASE = {
    "model": "svm",
    "split": {"n_folds": 6, "labels": {"merge": {}, "drop": ["calm"]}, "lists": {"emobox": ["01 02"]}},
    "plateau": {"factor": 0.5},
    "augment": None,
}


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def written(**changes: Any) -> dict[str, Any]:
    """Returns the content of a system's file with keys changed, underscores twice for dots."""
    values = YAML(typ="safe", pure=True).load((ROOT / "benchmark" / "systems" / "B1_svm.yaml").read_text())
    for key, value in changes.items():
        block = values
        *above, last = key.split("__")
        for name in above:
            block = block[name]
        block[last] = value
    return values


def systems(folder: Path, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes `X` the only system there is."""
    overlay.write(values, folder / "X.yaml")
    monkeypatch.setattr(overlay, "SYSTEMS", folder)


def test_blocks_are_merged_and_lists_replaced() -> None:
    before = copy.deepcopy(BASE)
    merged = overlaid(BASE, {"split": {"labels": {"drop": ["surprise"]}}, "model": "gru"}, "X.yaml")
    assert merged == BASE | {
        "model": "gru",
        "split": BASE["split"] | {"labels": {"merge": {}, "drop": ["surprise"]}},
    }
    assert before == BASE


def test_null_takes_a_block_away_and_a_block_takes_the_place_of_null() -> None:
    merged = overlaid(BASE, {"plateau": None, "augment": {"copies": 1}}, "X.yaml")
    assert merged["plateau"] is None
    assert merged["augment"] == {"copies": 1}


def test_an_unknown_key_is_told_with_its_place_and_the_nearest_one() -> None:
    with pytest.raises(InputError, match=r"^X\.yaml: params\.split: no 'n_fold'; did you mean 'n_folds'\?"):
        overlaid(BASE, {"split": {"n_fold": 10}}, "X.yaml: params")


def test_labels_and_lists_are_the_users_own() -> None:
    merged = overlaid(
        BASE, {"split": {"labels": {"merge": {"calm": "neutral"}}, "lists": {"mine": ["03"]}}}, "X.yaml"
    )
    assert merged["split"]["labels"]["merge"] == {"calm": "neutral"}
    assert merged["split"]["lists"] == {"emobox": ["01 02"], "mine": ["03"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"report__accuracy": 51.7}, r"X\.yaml\.report\.accuracy: 51\.7 will not do"),
        ({"variants__ravdess__role": "standin"}, r"variants\.ravdess\.role: 'standin' will not do"),
        ({"titel": "SVM"}, r"X\.yaml\.titel: unknown key; did you mean 'title'\?"),
        ({"variants": {}}, r"X\.yaml\.variants: \{\} will not do"),
        ({"protocols": {"as_reported": {}}}, r"X\.yaml\.protocols: .* will not do"),
        ({"protocols__random": {}}, r"protocols\.random"),
    ],
)
def test_a_fault_in_a_file_is_told_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], message: str
) -> None:
    systems(tmp_path, written(**change), monkeypatch)
    with pytest.raises(InputError, match=message):
        overlay.load("X")


def test_a_value_that_the_pipeline_refuses_is_told_with_the_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systems(tmp_path, written(params__models__svm__kernel="rbv"), monkeypatch)
    first, *_ = overlay.experiments("X", overlay.parse(ROOT / "params.yaml"))
    with pytest.raises(
        InputError, match=r"X\.yaml, ravdess_savee-as_reported: params\.models\.svm\.kernel: 'rbv' will not"
    ):
        first.params()


def test_what_a_row_needs_stands_under_a_key_of_params(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = overlay.parse(ROOT / "params.yaml")
    systems(tmp_path, written(needs={"a kernel": "models.svm.kernel"}), monkeypatch)
    assert overlay.experiments("X", base)[0].needs == {"a kernel": "rbf"}
    systems(tmp_path, written(needs={"a kernel": "models.svm.kernle"}), monkeypatch)
    with pytest.raises(InputError, match=r"needs\.a kernel: params\.yaml has no 'models\.svm\.kernle'"):
        overlay.experiments("X", base)


def test_a_system_that_is_none_is_told_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"benchmark/published/systems: no 'B1'.* Choose from A1_cnn1d, "):
        overlay.load("B1")


def test_another_folder_than_the_root_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InputError, match=r"benchmark/published/systems: no such folder\. Experiment this from the repository's root"
    ):
        overlay.load("B1_svm")


def test_a_file_that_is_no_yaml_is_told(tmp_path: Path) -> None:
    (tmp_path / "X.yaml").write_text("a: [")
    with pytest.raises(InputError, match=r"X\.yaml: not readable as YAML"):
        overlay.parse(tmp_path / "X.yaml")


def test_the_pipeline_runs_every_system() -> None:
    pipeline = YAML(typ="safe", pure=True).load((ROOT / "benchmark" / "dvc.yaml").read_text())
    assert pipeline["stages"]["system"]["foreach"] == NAMES
    assert len(NAMES) == 16


@pytest.mark.parametrize("name", NAMES)
def test_every_row_of_a_system_is_one_that_the_pipeline_takes(name: str) -> None:
    system, found = overlay.load(name), overlay.experiments(name, overlay.parse(ROOT / "params.yaml"))
    assert len(found) == 2 * len(system.variants)
    for run in found:
        params = run.params()
        entry = registry.load("models", params.model, "params.model")
        config = params.config("models", params.model, "params.model")
        assert config.inputs.layout in entry.LAYOUTS
        assert set(config.inputs.features) <= set(params.featurize.features)
        assert (params.split.protocol == "random") == (run.protocol == "as_reported")
        if params.split.protocol == "fixed":
            assert params.split.fixed_list in params.split.lists


@pytest.mark.parametrize("name", NAMES)
def test_a_system_says_what_its_report_left_open(name: str) -> None:
    text = (ROOT / "benchmark" / "systems" / f"{name}.yaml").read_text()
    assert "# Left open: " in text
    assert "Chosen: " in text


def test_params_come_back_from_the_file_as_they_were(tmp_path: Path) -> None:
    base = overlay.parse(ROOT / "params.yaml")
    overlay.write(base, tmp_path / "params.yaml")
    assert overlay.parse(tmp_path / "params.yaml") == base
