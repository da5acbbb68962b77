"""A model, predictions or metrics of one run among the files of another: no reader gives a number."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stages import evaluate, split, train
from stages.base import params
from stages.base.errors import InputError
from stages.base.files import CORPORA, MANIFEST, METRICS, MODEL, PREDICTIONS, SPLITS, write_json
from stages.data import keys, tables
from stages.inference import workspace as inference_workspace
from stages.learning import trained_fold
from stages.learning.record import RECORD, TRAINED_ON
from stages.reporting import finished_run
from stages.splitting.leak import LeakError
from tests.faults.conftest import Fault, draws
from tests.faults.pipeline import rng
from tests.support.workspace import Workspace
from tests.test_train import N_DIMS, store_features, store_inputs

# Every two of these make different models, or the same ones for other test clips.
SETTINGS: list[dict[str, Any]] = [
    {},
    {"seed": 21},
    {"split__n_folds": 6},
    {"split__protocol": "random"},
    {"split__validation_fraction": 0.5},
    {"split__labels__merge": {"fear": "anger"}},
    {"train__fold": 1},
    {"train__seed": 21},
    {"train__n_seeds": 2},
    {"train__use_augmented": False},
    {"train__normalize": "speaker"},
    {"models__svm__c": 3.0},
    {"models__svm__inputs__layout": "mean"},
    {"audio__pre_emphasis": 0.5},
]
PAIRS = list(itertools.permutations(range(len(SETTINGS)), 2))
# What each stage reads that another run may have written.
MIXED = {
    "model": [MODEL],
    "splits": [SPLITS],
    "model and splits": [MODEL, SPLITS],
    "params": [Path("params.yaml")],
    "predictions": [PREDICTIONS],
    "test metrics": [METRICS / "test.json"],
    "training metrics": [METRICS / "train.json"],
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Returns the folder of a finished run of a setting. All are from the same recordings."""

    @cache
    def run(setting: int) -> Path:
        folder = tmp_path_factory.mktemp("run")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            work = Workspace(folder)
            work.set(model="svm", models__svm__inputs__features=["mfcc"], features__mfcc__n_mfcc=N_DIMS)
            changes = {"split__n_folds": 3} | SETTINGS[setting]
            work.set(train__threads=1, evaluate__n_resamples=100, **changes)
            store_inputs()
            write_json({"demo": {}}, CORPORA)
            for stage in (split, train, evaluate):
                stage.main()
            finished_run.read(params.read())
        return folder

    return run


@pytest.mark.parametrize("number", draws(sample=1, slow=8, campaign=len(PAIRS)))
def test_files_of_another_run_are_refused(
    fault: Fault,
    finished: Callable[[int], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    ours, other = (finished(setting) for setting in rng("stale", "pairs").sample(PAIRS, len(PAIRS))[number])
    for what, paths in MIXED.items():
        folder = tmp_path / what
        shutil.copytree(ours, folder)
        for path in paths:
            target, source = folder / path, other / path
            shutil.rmtree(target) if target.is_dir() else target.unlink()
            shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
        if all(same(folder / path, ours / path) for path in paths):
            continue
        monkeypatch.chdir(folder)
        with fault(f"{what} of another run"):
            if what not in ("predictions", "test metrics", "training metrics"):
                before = PREDICTIONS.read_bytes()
                with pytest.raises(InputError):
                    evaluate.main()
                assert PREDICTIONS.read_bytes() == before
            with pytest.raises(InputError):
                finished_run.read(params.read())
            now = params.read()
            if json.loads(json.dumps(trained_fold.made_with(now))) != made_with(folder):
                with pytest.raises(InputError):
                    inference_workspace.bundle(now)


def made_with(folder: Path) -> dict[str, Any]:
    """Returns the settings that the model in a folder was trained with; the split's are not among them."""
    record, *_ = sorted((folder / MODEL).glob(f"*/{RECORD}"))
    return dict(json.loads(record.read_text())["made_with"])


def same(path: Path, other: Path) -> bool:
    """Returns whether two files or folders have the same content."""
    if path.is_file():
        return path.read_bytes() == other.read_bytes()
    names = [{file.relative_to(top) for file in top.rglob("*")} for top in (path, other)]
    return names[0] == names[1] and all(
        same(path / name, other / name) for name in names[0] if (path / name).is_file()
    )


@pytest.fixture
def run(finished: Callable[[int], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run, in the current folder."""
    shutil.copytree(finished(0), tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("column", ["speaker", "audio_sha256"])
def test_a_model_that_was_trained_on_what_it_tests_gives_no_score(run: Path, column: str) -> None:
    """Even where all hashes agree."""
    test = tables.read(SPLITS, tables.SPLITS).query("fold == 1 and role == 'test'").iloc[0]
    fold = MODEL / "fold_01"
    trained_on = tables.read(fold / TRAINED_ON, tables.TRAINED_ON)
    trained_on.loc[0, column] = test[column]
    tables.write(trained_on, tables.TRAINED_ON, fold / TRAINED_ON)
    record = json.loads((fold / RECORD).read_text())
    record["sha256"][TRAINED_ON] = keys.sha256(fold / TRAINED_ON)
    write_json(record, fold / RECORD)
    with pytest.raises(LeakError, match=r"^data/model/fold_01/trained_on\.parquet: "):
        evaluate.main()


@pytest.mark.parametrize("reader", ["evaluate", "predict", "report"])
def test_a_model_of_other_code_or_libraries_is_refused(
    run: Path, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = {
        "evaluate": evaluate.main,
        "predict": lambda: inference_workspace.bundle(params.read()),
        "report": lambda: finished_run.read(params.read()),
    }[reader]
    made_by = trained_fold.made_by("svm")
    for key in ("learning/preprocessing.py", "models/svm.py", "scikit-learn"):
        monkeypatch.setattr(trained_fold, "made_by", lambda _, key=key: made_by | {key: "other"})
        with pytest.raises(InputError, match=rf"^{key}: 'other', .*{made_by[key]}"):
            read()


def test_a_new_manifest_with_old_results_is_refused(run: Path) -> None:
    manifest = tables.read(MANIFEST, tables.MANIFEST)
    manifest.loc[0, "audio_sha256"] = "another recording of the same name"
    tables.write(manifest, tables.MANIFEST, MANIFEST)
    with pytest.raises(InputError, match=r"^data/splits\.parquet: .*`dvc repro split`"):
        finished_run.read(params.read())


def test_new_features_with_an_old_model_are_refused(run: Path) -> None:
    manifest = tables.read(MANIFEST, tables.MANIFEST)
    shutil.rmtree("data/features")
    store_features(pd.concat([manifest, manifest.tail(1).assign(clip="demo/new")]))
    with pytest.raises(InputError, match=r"^data/features/index\.parquet: .*`dvc repro train`"):
        evaluate.main()
