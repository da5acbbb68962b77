"""From scratch in two folders, with one worker and with two: the same bytes of every stage and model.

docs/determinism.md says what moves them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.base import registry
from stages.base.files import AUGMENTED, FEATURES, MANIFEST, METRICS, MODEL, PREDICTIONS, RAW, SPLITS
from stages.data.keys import sha256
from tests.support.workspace import ROOT, Workspace

pytestmark = pytest.mark.slow

BEFORE_TRAINING = ["ingest", "manifest", "split", "augment", "featurize"]
AFTER = [MODEL, PREDICTIONS, METRICS / "test.json", METRICS / "history.csv", METRICS / "confusion.csv"]


def run(folder: Path, *verbs: str) -> None:
    """Runs stages in one process, which imports TensorFlow once."""
    code = f"from stages import {', '.join(verbs)}\nfor stage in ({', '.join(verbs)},):\n    stage.main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def hashes(folder: Path, *outputs: Path) -> dict[str, str]:
    """Returns the hash of every file below the outputs, by its name."""
    found = [file for output in outputs for file in (folder / output, *(folder / output).rglob("*"))]
    return {str(file.relative_to(folder)): sha256(file) for file in sorted(found) if file.is_file()}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[Workspace]:
    """Two folders, from scratch, up to the features."""
    made = []
    for workers in (1, 2):
        work = Workspace(tmp_path_factory.mktemp(f"workers{workers}"))
        work.set(augment__copies=1, compute__workers=workers, split__n_folds=3, evaluate__n_resamples=100)
        work.set(corpora__demo__n_speakers=6, train__fold=0, train__n_seeds=2)  # two trainings
        (work.folder / "data" / "sources").mkdir(parents=True)
        run(work.folder, *BEFORE_TRAINING)
        made.append(work)
    return made


@pytest.mark.parametrize("output", [RAW, MANIFEST, SPLITS, AUGMENTED, FEATURES, METRICS], ids=str)
def test_up_to_the_features_every_file_is_the_same(two: list[Workspace], output: Path) -> None:
    one, other = (hashes(work.folder, output) for work in two)
    assert one
    assert one == other


# A network of images, and one with convolutions and recurrent layers. The others are left to the night: each
# commit compares two trainings of svm in tests/test_pipeline.py, of gru in tests/faults/test_full_disk.py and
# of ann, mlp and dummy in tests/test_train.py, and the rest have the layers of these. ridge takes frames of
# an encoder whose weights are not here; tests/test_train_pooled.py trains it on others.
PER_COMMIT = {"cnn2d", "cnn_lstm"}
MODELS = [
    pytest.param(name, marks=[] if name in PER_COMMIT else [pytest.mark.faults])
    for name in sorted({*registry.names("models")} - {"ridge"})
]


@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_the_same(two: list[Workspace], model: str) -> None:
    results = []
    for work in two:
        work.set(model=model, training__epochs=2)
        run(work.folder, "train", "evaluate")
        results.append(hashes(work.folder, *AFTER))
    assert any("model." in name for name in results[0])
    assert results[0] == results[1]
