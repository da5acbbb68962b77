from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides

from stages.base import params, registry
from stages.base.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "params.yaml").read_text()


def changed(tmp_path: Path, old: str, new: str) -> Path:
    assert old in TEXT
    path = tmp_path / "params.yaml"
    path.write_text(TEXT.replace(old, new, 1))
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "protocol: speaker",
            "protocl: speaker",
            r"params\.split\.protocl: unknown key; did you mean 'protocol'\?",
        ),
        ("seed: 20", "", r"params\.seed: missing"),
        ("seed: 20", "seed: '20'", r"params\.seed: '20' will not do\. Input should be a valid integer"),
        ("seed: 20", "seed: -1", r"params\.seed: -1 will not do\. .*greater than or equal to 0"),
        (
            "silent_below_dbfs: -60.0",
            "silent_below_dbfs: .nan",
            r"params\.manifest\.silent_below_dbfs: nan will not do",
        ),
        ("model: svm", "model: svn", r"params\.model: no 'svn'; did you mean 'svm'\? Choose from .*gru"),
        (
            "fold: all",
            "fold: each",
            r"params\.train\.fold: 'each' will not do\. Input should be a valid integer, or 'all'\.",
        ),
        (
            "engine: local",
            "engine: sprak",
            r"params\.compute\.engine: 'sprak' will not do\. Input should be 'local' or 'dask'\.",
        ),
        (
            "workers: 2",
            "workers: 0",
            r"params\.compute\.workers: 0 will not do\. .*greater than or equal to 1",
        ),
        ("storage: #", "storage: '' #", r"params\.compute\.storage: '' will not do\."),
        ("fold: all", "fold: []", r"params\.train\.fold: \[\] will not do\. .* integer, or 'all'\."),
        ("fold: all", "fold: {a: 1}", r"params\.train\.fold: \{'a': 1\} will not do"),
        ("seed: 20", "seed: 2020-13-45", r"params\.yaml: not readable as YAML: month must be in 1\.\.12"),
        ("seed: 20", f"seed: {'x' * 999}", r"params\.seed: 'x{27}\.\.\.x{28}' will not do\."),
        ("seed: 20", f"{'x' * 999}: 20", r"params\.'x{27}\.\.\.x{28}': unknown key\. Known: audio"),
        ("model: svm", f"model: {'x' * 999}", r"params\.model: no 'x{27}\.\.\.x{28}'\. Choose from ann"),
        ("n_folds: 6", "n_folds: 1e12", r"params\.split\.n_folds: 1000000000000\.0 will not do"),
        (
            "n_folds: 6",
            f"n_folds: {10**31}",
            r"params\.split\.n_folds: 10{31} is beyond 1e\+30, which no value here makes sense at\.",
        ),
        ("n_mfcc: 40", "n_mfc: 40", r"params\.features\.mfcc\.n_mfc: unknown key; did you mean 'n_mfcc'\?"),
        ("spread: 1.0", "spread: 9", r"params\.corpora\.demo\.spread: 9 will not do"),
        ("model: svm", "model: zzz", r"params\.model: no 'zzz'\. Choose from ann"),
        ("corpus:\n- demo", "corpus:\n- tes", r"params\.corpus: no 'tes'; did you mean 'tess'\?"),
        ("corpus:\n- demo", "corpus: []", r"params\.corpus: \[\] will not do"),
        ("models:\n", "models:\n  transformer: {}\n", r"params\.models: no 'transformer'"),
        (
            "normalize: global",
            "normalize: speakr",
            r"params\.train\.normalize: 'speakr' will not do\. .*'global' or 'speaker'",
        ),
        ("seed: 20", "seed: 20\nseed: 21", r"params\.yaml: not readable as YAML: .*duplicate key"),
        ("seed: 20", "seed: [", r"params\.yaml: not readable as YAML"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        params.read(changed(tmp_path, old, new))


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Run the stages from the repository's root"):
        params.read(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    c: 10.0", "    C: 10.0", r"params\.models\.svm\.C: unknown key; did you mean 'c'\?"),
        ("    c: 10.0", "    c: 0.0", r"params\.models\.svm\.c: 0\.0 will not do\. .*greater than 0"),
        (
            "      layout: stats",
            "      layout: statistics",
            r"params\.models\.svm\.inputs\.layout: 'statistics' will not do",
        ),
    ],
)
def test_a_mistake_in_an_entry_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    read = params.read(changed(tmp_path, old, new))
    with pytest.raises(InputError, match=message):
        read.config("models", "svm", "params.model")


def test_a_chosen_entry_without_a_block_is_named(tmp_path: Path) -> None:
    start = TEXT.index("  svm:\n")
    read = params.read(changed(tmp_path, TEXT[start : TEXT.index("  mlp:\n", start)], ""))
    with pytest.raises(InputError, match=r"params\.models: has no block 'svm', which params\.model asks for"):
        read.config("models", "svm", "params.model")


def test_a_mask_and_max_over_time_exclude_each_other(tmp_path: Path) -> None:
    start = TEXT.index("  gru:\n")
    gru = TEXT[start:]
    bad = gru.replace("mask: false", "mask: true", 1).replace("summary: average", "summary: max", 1)
    with pytest.raises(InputError, match=r"params\.models\.gru: .*`summary: max` cannot see a mask"):
        params.read(changed(tmp_path, gru, bad)).config("models", "gru", "params.model")


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k in registry.CONTRACTS for n in registry.names(k)])
def test_every_entry_has_a_block_that_checks(kind: str, name: str) -> None:
    assert params.read(ROOT / "params.yaml").config(kind, name, "here")


def test_dvc_can_add_an_entry_to_an_empty_block_and_take_it_out(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    shutil.copy(ROOT / params.PARAMS, path)
    before = params.read(path)
    apply_overrides(path, ["+split.labels.merge.calm=neutral"])
    assert params.read(path).split.labels.merge == {"calm": "neutral"}
    apply_overrides(path, ["~split.labels.merge.calm"])  # a comment beside `{}` would break the file here
    assert params.read(path) == before
