from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.svm import SVC

from stages.learning import estimator
from stages.learning.preprocessing import Clips, Inputs, Partition
from stages.models import svm

CONFIG = svm.Config(
    inputs=Inputs(features=["mfcc"], layout="stats", duration_s=None, frames_per_step=1),
    kernel="rbf",
    c=1.0,
    gamma="scale",
    class_weights="none",
)


def clips(n: int, n_classes: int, seed: int) -> Partition:
    """Returns clips of overlapping classes."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    x = (rng.normal(size=(n, 6)) + 1.2 * np.eye(6)[y]).astype(np.float32)
    return Partition(x, np.ones(n, dtype=np.int64), y, [f"class {i}" for i in range(n_classes)])


@pytest.mark.parametrize("most_bytes", [svm.LARGEST_GRAM, 8 * 300**2 - 1])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"kernel": "linear"},
        {"kernel": "poly"},
        {"kernel": "sigmoid", "gamma": "auto"},
        {"gamma": 0.05},
        {"class_weights": "balanced"},
    ],
)
@pytest.mark.parametrize("n_classes", [2, 5])
def test_it_stores_what_scikit_learn_would_have_fitted(
    n_classes: int, changes: dict[str, Any], most_bytes: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(svm, "LARGEST_GRAM", most_bytes)
    config = CONFIG.model_copy(update=changes)
    train, test = clips(300, n_classes, 0), clips(300, n_classes, 1)
    svm.trainer(config).fit(train, None, tmp_path, seed=0)
    stored = estimator.load(tmp_path / estimator.FILE, SVC)
    expected = estimator.seeded(svm.build(config), 0).fit(train.x, train.y)
    assert stored.get_params() == expected.get_params()
    found, wanted = vars(stored), vars(expected)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        if isinstance(value, np.ndarray | float):
            np.testing.assert_allclose(found[name], value, rtol=1e-6, atol=1e-9, err_msg=name)
        else:
            assert found[name] == value, name
    margins = [model.decision_function(test.x) for model in (stored, expected)]
    np.testing.assert_allclose(*margins, atol=1e-9)
    for n in (300, 3):
        np.testing.assert_allclose(svm.trainer(config).decide(stored, test.x[:n]), margins[1][:n], atol=1e-9)


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_scores_agree_with_the_votes_of_pairs(n_classes: int, tmp_path: Path) -> None:
    train, test = clips(300, n_classes, 0), clips(300, n_classes, 1)
    trainer = svm.trainer(CONFIG)
    trainer.fit(train, None, tmp_path, seed=0)
    scores = trainer.load(tmp_path, n_classes)(Clips(test.x, test.lengths))
    voted = SVC(C=1.0).fit(train.x, train.y).predict(test.x)
    assert scores.shape == (300, n_classes)
    assert np.mean(scores.argmax(axis=1) == voted) >= 0.95  # cycles of votes are broken differently


def test_a_class_that_wins_all_its_pairs_clearly_scores_0() -> None:
    # pairs (0, 1), (0, 2), (1, 2): class 2 wins both of its own, class 0 the other
    scores = svm.class_scores(np.array([[40.0, -40.0, -40.0]]), 3)
    np.testing.assert_allclose(scores, [[-80.0, -160.0, 0.0]], atol=1e-6)


def test_it_trains_on_the_validation_speakers() -> None:
    assert svm.trainer(CONFIG).trains_on_validation
