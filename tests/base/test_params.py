from __future__ import annotations

from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides

from stages.base import params, registry
from stages.base.errors import InputError
from stages.data.vocabulary import EMOTIONS
from tests.support import shipped

ROOT = Path(__file__).resolve().parents[2]
TEXT = shipped.text()
LONGEST_MESSAGE = 600  # characters: a sentence, and the choices


def changed(tmp_path: Path, old: str, new: str, after: str = "") -> Path:
    """Writes TEXT with `new` instead of the first `old` that follows the first `after`."""
    start = TEXT.index(after)
    assert old in TEXT[start:]
    path = tmp_path / "params.yaml"
    path.write_text(TEXT[:start] + TEXT[start:].replace(old, new, 1))
    return path


@pytest.mark.parametrize(
    ("old", "new", "place", "value"),
    [
        ("protocol: speaker", "protocl: speaker", "params.split.protocl", "'protocol'"),
        ("seed: 20", "", "params.seed", "missing"),
        ("seed: 20", "seed: '20'", "params.seed", "'20'"),
        ("seed: 20", "seed: -1", "params.seed", "-1"),
        ("seed: 20", f"seed: {'x' * 999}", "params.seed", "'xxx"),
        ("seed: 20", f"{'x' * 999}: 20", "params.'xxx", "audio"),
        ("silent_below_dbfs: -70.0", "silent_below_dbfs: .nan", "params.manifest.silent_below_dbfs", "nan"),
        ("model: svm", "model: svn", "params.model", "'svn'; did you mean 'svm'"),
        ("model: svm", "model: zzz", "params.model", "'zzz'. Choose from ann"),
        ("model: svm", f"model: {'x' * 999}", "params.model", "Choose from ann"),
        ("fold: all", "fold: each", "params.train.fold", "'each'"),
        ("fold: all", "fold: []", "params.train.fold", "[]"),
        ("fold: all", "fold: {a: 1}", "params.train.fold", "{'a': 1}"),
        ("engine: local", "engine: sprak", "params.compute.engine", "'local' or 'dask'"),
        ("workers: 2", "workers: 0", "params.compute.workers", "0"),
        ("scheduler: #", "scheduler: '' #", "params.compute.scheduler", "''"),
        ("n_folds: 6", "n_folds: 1e12", "params.split.n_folds", "1000000000000.0"),
        ("n_folds: 6", f"n_folds: {10**31}", "params.split.n_folds", str(10**31)),
        ("n_mfcc: 40", "n_mfc: 40", "params.features.mfcc.n_mfc", "'n_mfcc'"),
        ("n_speakers: 24", "n_speakers: 99", "params.corpora.demo.n_speakers", "99"),
        ("corpus:\n- demo", "corpus:\n- tes", "params.corpus", "'tes'; did you mean 'tess'"),
        ("corpus:\n- demo", "corpus:\n- nemoo", "params.corpus", "'nemoo'; did you mean 'nemo'"),  # a table
        ("corpus:\n- demo", "corpus:\n- demo\n- demo", "params.corpus", "'demo'"),
        ("corpus:\n- demo", "corpus: []", "params.corpus", "[]"),
        ("corpus:\n- demo", "corpus: demo", "params.corpus", "a valid list: write [demo]."),
        ("corpus:\n- demo", "corpus: {demo: 1}", "params.corpus", "a valid list."),
        ("models:\n", "models:\n  transformer: {}\n", "params.models", "'transformer'"),
        ("normalize: global", "normalize: speakr", "params.train.normalize", "'enrol' or 'cluster'"),
        ("seed: 20", "seed: 20\nseed: 21", "params.yaml", "duplicate key"),
        ("seed: 20", "seed: 2020-13-45", "params.yaml", "month"),
        ("seed: 20", "seed: [", "params.yaml", "YAML"),
    ],
)
def test_an_error_names_the_place_and_the_value(
    tmp_path: Path, old: str, new: str, place: str, value: str
) -> None:
    with pytest.raises(InputError) as error:
        params.read(changed(tmp_path, old, new))
    assert place in str(error.value)
    assert value in str(error.value)
    assert len(str(error.value)) < LONGEST_MESSAGE


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"params\.yaml"):
        params.read(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("old", "new", "place", "value"),
    [
        ("c: 10.0", "C: 10.0", "params.models.svm.C", "'c'"),
        ("c: 10.0", "c: 0.0", "params.models.svm.c", "0.0"),
        (
            "      - rms\n      - zcr",
            "      - zcr\n      - zcr",
            "params.models.svm.inputs.features",
            "'zcr'",
        ),
        (
            "      layout: stats",
            "      layout: statistics",
            "params.models.svm.inputs.layout",
            "'statistics'",
        ),
    ],
)
def test_an_error_in_the_block_of_a_model_names_the_place_and_the_value(
    tmp_path: Path, old: str, new: str, place: str, value: str
) -> None:
    read = params.read(changed(tmp_path, old, new, after="\n  svm:\n"))
    with pytest.raises(InputError) as error:
        read.config("models", "svm", "params.model")
    assert place in str(error.value)
    assert value in str(error.value)


def test_a_chosen_entry_without_a_block_is_an_error(tmp_path: Path) -> None:
    start = TEXT.index("  svm:\n")
    read = params.read(changed(tmp_path, TEXT[start : TEXT.index("  mlp:\n", start)], ""))
    with pytest.raises(InputError, match=r"params\.models.*'svm'.*params\.model"):
        read.config("models", "svm", "params.model")


def test_max_over_time_cannot_be_combined_with_a_mask(tmp_path: Path) -> None:
    start = TEXT.index("  gru:\n")
    gru = TEXT[start:]
    bad = gru.replace("mask: false", "mask: true", 1).replace("summary: average", "summary: max", 1)
    with pytest.raises(InputError, match=r"params\.models\.gru.*`summary: max`"):
        params.read(changed(tmp_path, gru, bad)).config("models", "gru", "params.model")


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k in registry.CONTRACTS for n in registry.names(k)])
def test_every_entry_has_a_valid_block(kind: str, name: str) -> None:
    assert shipped.read().config(kind, name, "here")


def test_dvc_changes_only_the_line_of_the_parameter(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(TEXT)
    apply_overrides(path, ["models.svm.c=1"])
    before, after = TEXT.splitlines(), path.read_text().splitlines()
    assert [new for old, new in zip(before, after, strict=True) if old != new] == ["    c: 1"]


def test_dvc_can_add_a_key_to_an_empty_block_and_remove_it(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    shipped.write(path)
    before = params.read(path)
    apply_overrides(path, ["+split.labels.merge.calm=neutral"])
    assert params.read(path).split.labels.merge == {"calm": "neutral"}
    apply_overrides(path, ["~split.labels.merge.calm"])  # a comment beside `{}` would break the file here
    assert params.read(path) == before


@pytest.mark.parametrize("name", ["arousal", "valence", "quadrants"])
def test_a_map_of_labels_is_chosen_by_its_name(name: str, tmp_path: Path) -> None:
    path = shipped.write(tmp_path)
    apply_overrides(path, [f"split.labels.merge={name}", "split.labels.drop=[fear, surprise]"])
    split = params.read(path).split
    assert "fear" in split.label_maps[name]
    left = {label: target for label, target in split.label_maps[name].items() if label != "fear"}
    assert split.labels.merge == left
    assert set(left) < set(EMOTIONS)


def test_the_quadrants_are_those_of_arousal_and_valence() -> None:
    maps = shipped.read().split.label_maps
    both = {label: f"{maps['arousal'][label]}_{maps['valence'][label]}" for label in maps["arousal"]}
    assert maps["quadrants"] == both


def test_a_map_that_is_not_there_is_refused_with_the_choices(tmp_path: Path) -> None:
    path = shipped.write(tmp_path)
    apply_overrides(path, ["split.labels.merge=arousel"])
    with pytest.raises(InputError, match=r"params\.split\.labels\.merge: .*'arousel'.*arousal, quadrants"):
        params.read(path)
