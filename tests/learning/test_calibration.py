from __future__ import annotations

import numpy as np
import pytest

from stages.learning import calibration


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 4.0])
def test_temperature_recovers_the_one_that_made_the_labels(true_temperature: float) -> None:
    rng = np.random.default_rng(3)
    scores = rng.normal(0, 3, (40_000, 5))
    gumbel = rng.gumbel(size=scores.shape)  # argmax(s / T + Gumbel) is a draw from softmax(s / T)
    labels = (scores / true_temperature + gumbel).argmax(axis=1)
    assert calibration.temperature(scores, labels) == pytest.approx(true_temperature, rel=0.03)


def test_probabilities_are_the_softmax_of_scores_divided_by_the_temperature() -> None:
    # e^(2/2) : e^(0/2) = e : 1
    p = calibration.probabilities(np.array([[2.0, 0.0]]), 2.0)
    np.testing.assert_allclose(p, [[np.e / (np.e + 1), 1 / (np.e + 1)]])


def test_scores_that_separate_nothing_or_everything_lead_to_a_bound() -> None:
    labels = np.arange(60) % 3
    right = np.eye(3)[labels]
    for scores, bound in ((0.05 * right, 0.01), (-right, 100.0)):
        temperature = calibration.temperature(scores, labels)
        assert temperature == pytest.approx(bound, rel=0.01)
        assert calibration.at_bound(temperature)
    noisy = right + np.random.default_rng(0).normal(0, 1, right.shape)
    assert not calibration.at_bound(calibration.temperature(noisy, labels))


def test_temperature_moves_no_decision() -> None:
    scores = np.random.default_rng(0).normal(size=(50, 4))
    p = calibration.probabilities(scores, 3.0)
    np.testing.assert_array_equal(p.argmax(axis=1), scores.argmax(axis=1))
    np.testing.assert_allclose(p.sum(axis=1), 1)


def test_reliability_counts_clips_and_right_answers_by_confidence() -> None:
    probabilities = np.array([[1.0, 0.0, 0.0], [0.0, 0.26, 0.74], [0.26, 0.0, 0.74], [0.33, 0.34, 0.33]])
    found = calibration.reliability(probabilities, np.array([0, 2, 0, 1]))
    assert {name: len(counts) for name, counts in found.items()} == {"n": 20, "n_right": 20}
    assert {bin_: n for bin_, n in enumerate(found["n"]) if n} == {6: 1, 14: 2, 19: 1}
    assert {bin_: n for bin_, n in enumerate(found["n_right"]) if n} == {6: 1, 14: 1, 19: 1}


def test_scores_that_separate_all_clips_lead_to_the_bound() -> None:
    labels = np.repeat(np.arange(2), 8)
    scores = np.eye(2)[labels] * np.linspace(0.1, 1, 16)[:, None]
    assert calibration.at_bound(calibration.temperature(scores, labels))
    assert calibration.at_bound(0.01022)  # where the minimiser once stopped
