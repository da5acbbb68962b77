"""Files between the stages that were damaged, changed by hand or written by another version."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages import evaluate, train
from stages.base import params
from stages.base.errors import InputError
from stages.base.files import FEATURES, MANIFEST, METRICS, MODEL, PREDICTIONS, SPLITS
from stages.data import tables
from stages.data.splits import Splits
from stages.inference import workspace as inference_workspace
from stages.learning import dataset, record, trained_fold
from stages.learning.preprocessing import Preprocessor
from tests.faults import mutants, trained
from tests.faults.conftest import Fault, draws

SHARD = FEATURES / "all.npz"
FOLD = MODEL / "fold_00"
RECORD, PREPROCESSOR, CLASSIFIER = FOLD / "fold.json", FOLD / "preprocessor.npz", FOLD / "model.skops"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("svm")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        trained.leave(folder, "svm")
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, the current one, with a finished run of svm in it."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def scored() -> pd.DataFrame:
    """Returns the trained fold's predictions for its test clips."""
    [only] = trained_fold.trained(params.read())
    splits, index = Splits.read(), tables.read(dataset.INDEX, tables.FEATURES)
    return evaluate.test(only, splits, index)[0]


def table(path: Path, schema: Any) -> Callable[[], pd.DataFrame]:
    return lambda: tables.read(path, schema)


# How each file is read.
READERS: dict[Path, Callable[[], Any]] = {
    MANIFEST: table(MANIFEST, tables.MANIFEST),
    SPLITS: table(SPLITS, tables.SPLITS),
    dataset.INDEX: table(dataset.INDEX, tables.FEATURES),
    PREDICTIONS: table(PREDICTIONS, tables.PREDICTIONS),
    SHARD: scored,
    RECORD: scored,
    PREPROCESSOR: scored,
    CLASSIFIER: scored,
    METRICS / "test.json": lambda: tables.read_scalars(METRICS / "test.json"),
}
UNPROTECTED = {RECORD, METRICS / "test.json"}  # a changed digit is still a number


def damage(rng: np.random.Generator, content: bytes) -> bytes:
    """Returns the content with a few bits flipped, a part lost, or a part replaced."""
    mutations = [mutants.truncate, mutants.behead, mutants.splice, lambda *_: b""]
    if rng.random() < 0.5:
        return mutants.flip_bits(rng, content, most=3)
    return mutations[rng.integers(len(mutations))](rng, content)


@pytest.mark.parametrize("path", READERS, ids=str)
@pytest.mark.parametrize("number", draws(sample=1, slow=4, campaign=20))
def test_a_damaged_file_is_rejected_or_reads_as_before(
    run: Path, fault: Fault, path: Path, number: int
) -> None:
    rng = np.random.default_rng((number, *str(path).encode()))
    before, content = READERS[path](), path.read_bytes()
    for _ in range(25):
        path.write_bytes(damage(rng, content))
        with fault(f"damaged {path.name}"):
            try:
                after = READERS[path]()
            except InputError as error:
                assert len(str(error).splitlines()) == 1
                assert re.search(r"`dvc repro|Delete it", str(error)), error
            else:
                if path not in UNPROTECTED:
                    pd.testing.assert_frame_equal(after, before)


def change(path: Path, schema: Any, edit: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Rewrites a table with other content, without checking its schema."""
    edit(tables.read(path, schema)).to_parquet(path, index=False)


def rewrite(path: Path, **arrays: Any) -> None:
    """Rewrites an npz file with other arrays; None leaves one out."""
    with np.load(path) as stored:
        kept = {**stored, **arrays}
    np.savez(path, **{name: value for name, value in kept.items() if value is not None})


def note(path: Path, **values: Any) -> None:
    """Rewrites a JSON file with other values; None leaves one out."""
    kept = json.loads(path.read_text()) | values
    path.write_text(json.dumps({name: value for name, value in kept.items() if value is not None}))


def other_role(splits: pd.DataFrame) -> pd.DataFrame:
    """Moves one clip of a test speaker to training."""
    at = splits.index[splits["roles"].str.startswith("test*1 ")][0]
    splits.loc[at, "roles"] = splits.loc[at, "roles"].replace("test", "train")
    return splits


def unknown_role(splits: pd.DataFrame) -> pd.DataFrame:
    splits.loc[1, "roles"] = "trial*3"
    return splits


def a_fold_too_few(splits: pd.DataFrame) -> pd.DataFrame:
    splits.loc[1, "roles"] = "test*1"
    return splits


def foreign_copy(index: pd.DataFrame) -> pd.DataFrame:
    """Labels a copy of a test clip as one of a training clip."""
    copies = index.index[index["clip"] != index["parent"]]
    index.loc[copies[0], "parent"] = index.loc[copies[-1], "parent"]
    return index


with_nan = np.full((10_000, 4), np.nan, np.float32)

# kind: (the change, the reader, the error)
CHANGES: dict[str, tuple[Callable[[], object], Callable[[], object], str]] = {
    "manifest of an older schema": (
        lambda: change(MANIFEST, tables.MANIFEST, lambda t: t.drop(columns="listeners")),
        evaluate.main,
        r"manifest\.parquet: .*listeners.*`dvc repro`",
    ),
    "manifest with a column too many": (
        lambda: change(MANIFEST, tables.MANIFEST, lambda t: t.assign(trained_fold=1)),
        lambda: tables.read(MANIFEST, tables.MANIFEST),
        r"manifest\.parquet: .*`dvc repro`",
    ),
    "splits of an older schema": (
        lambda: change(SPLITS, tables.SPLITS, lambda t: t.drop(columns="audio_sha256")),
        train.main,
        r"splits\.parquet: not a readable parquet",
    ),
    "splits with roles as numbers": (
        lambda: change(SPLITS, tables.SPLITS, lambda t: t.assign(roles=1)),
        train.main,
        r"splits\.parquet: .*'roles' of demo/s1_anger_0.*`dvc repro`",
    ),
    "splits with an unknown role": (
        lambda: change(SPLITS, tables.SPLITS, unknown_role),
        evaluate.main,
        r"splits\.parquet: .*'roles' of demo/s1_anger_1.*'trial\*3'.*`dvc repro`",
    ),
    "splits with a test speaker moved to train": (
        lambda: change(SPLITS, tables.SPLITS, other_role),
        evaluate.main,
        r"fold 0: the speaker 'demo/s\d' is in test .* and train .*'one speaker in one role'",
    ),
    "splits without a test clip of the trained fold": (
        lambda: change(SPLITS, tables.SPLITS, lambda t: t[~t["roles"].str.startswith("test")]),
        evaluate.main,
        r"^data/splits\.parquet: .*data/model/fold_00",
    ),
    "splits with a role too few": (
        lambda: change(SPLITS, tables.SPLITS, a_fold_too_few),
        train.main,
        r"splits\.parquet: .*'roles' of demo/s1_anger_1.*'test\*1'.*`dvc repro`",
    ),
    "index with a copy of another parent": (
        lambda: change(dataset.INDEX, tables.FEATURES, foreign_copy),
        train.main,
        r"index\.parquet: .*a copy is named after its parent.*`dvc repro`",
    ),
    "index with a clip that its shard lacks": (
        lambda: rewrite(SHARD, clips=np.array([f"x{i}" for i in range(144)])),
        evaluate.main,
        r"all\.npz: .*'demo/s1_anger_0'.*Delete it and",
    ),
    "index without a clip": (
        lambda: change(dataset.INDEX, tables.FEATURES, lambda t: t.iloc[2:]),
        evaluate.main,
        r"^data/features/index\.parquet: .*data/model/fold_00.*`dvc repro train`",
    ),
    "shard without a feature": (
        lambda: rewrite(SHARD, mfcc=None, rms=with_nan),
        evaluate.main,
        r"all\.npz: .*'mfcc'.*`dvc repro`",
    ),
    "shard of other lengths": (
        lambda: rewrite(SHARD, n_frames=np.full(144, 2)),
        evaluate.main,
        r"all\.npz: its 'mfcc' is not float32 \(288, n_dims\)",
    ),
    "shard with fewer names than lengths": (
        lambda: rewrite(SHARD, n_frames=np.full(3, 2)),
        evaluate.main,
        r"all\.npz: its clips and n_frames do not match",
    ),
    "shard in float64": (
        lambda: rewrite(SHARD, mfcc=np.load(SHARD)["mfcc"].astype(float)),
        train.main,
        r"all\.npz: its 'mfcc' is not float32",
    ),
    "shard with NaN": (
        lambda: rewrite(SHARD, mfcc=np.load(SHARD)["mfcc"] * np.float32("nan")),
        train.main,
        r"all\.npz: its 'mfcc' has values that are not finite",
    ),
    "record without classes": (
        lambda: note(RECORD, classes=None),
        evaluate.main,
        r"fold\.json: .*classes: .*`dvc repro train`",
    ),
    "record with an unknown emotion": (
        lambda: note(RECORD, classes=["anger", "a+b", "sadness"]),
        evaluate.main,
        r"fold\.json: .*classes\.1: .*`dvc repro train`",
    ),
    "record with a class too few": (
        lambda: note(RECORD, classes=["anger", "fear"]),
        evaluate.main,
        r"fold_00: .* 2 finite scores",
    ),
    "record with a temperature of 0": (
        lambda: note(RECORD, temperature=0.0),
        evaluate.main,
        r"fold\.json: .*temperature: .*greater than 0",
    ),
    "record of an older version": (
        lambda: note(RECORD, sha256=None),
        evaluate.main,
        r"fold\.json: .*sha256: ",
    ),
    "record without settings": (
        lambda: note(RECORD, made_with=None),
        evaluate.main,
        r"fold\.json: .*made_with: .*`dvc repro train`",
    ),
    "record with an unknown setting": (
        lambda: note(RECORD, made_with=record.read_record(RECORD)["made_with"] | {"audio.\n": "loud"}),
        lambda: inference_workspace.bundle(params.read()),
        r"^params\.'audio\.\\n': nothing, but data/model .* 'loud'",
    ),
    "record of another model": (
        lambda: note(RECORD, model="gru"),
        evaluate.main,
        r"params\.model: 'svm'.*'gru'",
    ),
    "no record": (RECORD.unlink, evaluate.main, r"fold\.json: missing"),
    "a folder beside the folds": (
        lambda: shutil.copytree(FOLD, MODEL / "fold_old"),
        evaluate.main,
        r"fold_old: .*`dvc repro train`",
    ),
    "preprocessor of another fold": (
        lambda: rewrite(PREPROCESSOR, mean=np.zeros(20)),
        evaluate.main,
        r"preprocessor\.npz: missing.*`dvc repro train`",
    ),
    "no preprocessor": (
        PREPROCESSOR.unlink,
        evaluate.main,
        r"preprocessor\.npz: missing.*`dvc repro train`",
    ),
    "predictions that do not sum to 1": (
        lambda: change(PREDICTIONS, tables.PREDICTIONS, lambda t: t.assign(p_fear=0.9)),
        lambda: tables.read(PREDICTIONS, tables.PREDICTIONS),
        r"predictions\.parquet: .*sum to 1.*`dvc repro`",
    ),
    "predictions that are no number": (
        lambda: change(PREDICTIONS, tables.PREDICTIONS, lambda t: t.assign(p_fear=np.nan)),
        lambda: tables.read(PREDICTIONS, tables.PREDICTIONS),
        r"predictions\.parquet: .*`dvc repro`",
    ),
    "metrics of an older version": (
        lambda: note(METRICS / "test.json", ece=None),
        lambda: tables.read_scalars(METRICS / "test.json", ["uar", "ece"]),
        r"test\.json: .ece. .*`dvc repro`",
    ),
    "metrics that are a list": (
        lambda: (METRICS / "test.json").write_text("[1, 2]"),
        lambda: tables.read_scalars(METRICS / "test.json"),
        r"test\.json: not a JSON object.*`dvc repro`",
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_changed_file_is_rejected_with_the_reason(run: Path, fault: Fault, kind: str) -> None:
    corrupt, read, reason = CHANGES[kind]
    corrupt()
    with fault("file of another content or version"), pytest.raises(InputError, match=reason) as refused:
        read()
    assert len(str(refused.value).splitlines()) == 1


PREPROCESSORS: dict[str, dict[str, Any]] = {
    "an unknown layout": {"layout": "loop"},
    "no layout": {"layout": None},
    "a layout that is a number": {"layout": 7},
    "no steps": {"n_steps": 0},
    "more steps than memory": {"n_steps": 10**15},
    "steps that are no number": {"n_steps": "many"},
    "a mean that is none": {"mean": np.full(20, np.nan)},
    "a mean of one value": {"mean": np.zeros(1)},
    "a scale of zero": {"std": np.zeros(20)},
    "a matrix": {"mean": np.zeros((20, 1)), "std": np.ones((20, 1))},
    "words": {"mean": np.array(["a"] * 20)},
    "one thing too many": {"surplus": 1},
}


@pytest.mark.parametrize("kind", PREPROCESSORS)
def test_a_preprocessor_with_impossible_values_is_rejected(run: Path, fault: Fault, kind: str) -> None:
    rewrite(PREPROCESSOR, **PREPROCESSORS[kind])
    with (
        fault("file of another content or version"),
        pytest.raises(InputError, match=r"preprocessor\.npz: .*`dvc repro train`"),
    ):
        Preprocessor.load(PREPROCESSOR)


def test_a_preprocessor_of_other_features_is_rejected(run: Path, fault: Fault) -> None:
    rewrite(PREPROCESSOR, mean=np.zeros(7), std=np.ones(7))
    trained.pass_off()
    with (
        fault("file of another content or version"),
        pytest.raises(InputError, match=r"trained on 7 values.* 20"),
    ):
        evaluate.main()
