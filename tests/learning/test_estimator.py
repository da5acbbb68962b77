from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.dummy import DummyClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC

from stages.base.errors import InputError
from stages.learning import estimator
from stages.learning.estimator import EstimatorTrainer
from stages.learning.preprocessing import Partition

CLASSES = ["anger", "fear", "sadness"]
BUILDERS = {
    "svm": lambda: SVC(),
    "mlp": lambda: MLPClassifier((8,), max_iter=5),
    "dummy": lambda: DummyClassifier(strategy="prior"),
}


def part() -> Partition:
    rng = np.random.default_rng(5)
    y = rng.integers(0, 3, 60)
    x = (rng.normal(size=(60, 4)) + y[:, None]).astype(np.float32)
    return Partition(x, np.ones(60, int), y, CLASSES)


@pytest.mark.parametrize(
    "name", ["svm", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mlp", "dummy"))]
)
def test_stored_model_scores_as_fitted_and_its_bytes_are_the_same_in_another_process(
    name: str, tmp_path: Path
) -> None:
    trainer = EstimatorTrainer(BUILDERS[name])
    trainer.fit(part(), None, tmp_path, seed=1)
    scores = trainer.load(tmp_path, 3)(part())
    assert scores.shape == (60, 3)
    assert np.isfinite(scores).all()
    other = tmp_path / "other"
    other.mkdir()
    code = (
        "import sys; from pathlib import Path; from tests.learning.test_estimator import *\n"
        "ballast = [object() for _ in range(10_000)]\n"
        "EstimatorTrainer(BUILDERS[sys.argv[1]]).fit(part(), None, Path(sys.argv[2]), seed=1)"
    )
    subprocess.run([sys.executable, "-c", code, name, str(other)], check=True)
    assert (other / estimator.FILE).read_bytes() == (tmp_path / estimator.FILE).read_bytes()


def test_scores_of_two_classes_have_two_columns(tmp_path: Path) -> None:
    data = part()
    used = data.y < 2
    two = Partition(data.x[used], data.lengths[used], data.y[used], CLASSES[:2])
    trainer = EstimatorTrainer(SVC)
    trainer.fit(two, None, tmp_path, seed=1)
    model = trainer.load(tmp_path, 2)
    (tmp_path / estimator.FILE).unlink()  # it was read
    scores = model(two)
    assert scores.shape == (len(two.y), 2)
    assert (scores.argmax(axis=1) == two.y).mean() > 0.7


def test_a_diverging_fit_is_reported(tmp_path: Path) -> None:
    def diverging() -> MLPClassifier:
        return MLPClassifier((8,), learning_rate_init=1e200)

    with pytest.raises(InputError, match=r"params\.yaml \(.*non-finite"):
        EstimatorTrainer(diverging).fit(part(), None, tmp_path, seed=1)
    assert not (tmp_path / estimator.FILE).exists()


def test_a_model_file_that_could_run_code_is_not_loaded(tmp_path: Path) -> None:
    skops.io.dump(FunctionTransformer(Path.unlink), tmp_path / estimator.FILE)
    with pytest.raises(InputError, match=r"model\.skops: holds pathlib\.unlink"):
        EstimatorTrainer(SVC).load(tmp_path, 3)(part())


def test_a_missing_model_says_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model\.skops: missing.*`dvc repro train`"):
        EstimatorTrainer(SVC).load(tmp_path, 3)(part())
