"""Points lost with new speakers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmark.published import lost
from tests.support.predictions import of_speakers, pairs, with_seeds

N_RESAMPLES = 4000


def test_each_accuracy_is_that_of_its_own_clips() -> None:
    both = of_speakers([6, 8, 7, 9], 10), of_speakers([3, 4, 5, 4], 10)
    held_out = both[0][both[0].index % 2 == 1]
    accuracy = (held_out["label"] == held_out["predicted"]).mean()
    found = lost.points("lost", held_out, both[1], N_RESAMPLES, seed=20)
    assert found["lost"] == pytest.approx(accuracy - 0.4)


def test_the_interval_of_equal_speakers_is_students_t() -> None:
    right = np.array([[9, 8, 10, 7, 9, 8, 6, 9, 10, 8], [5, 6, 4, 7, 3, 5, 2, 6, 4, 5]])
    found = lost.points("lost", *(of_speakers(list(row), 10) for row in right), N_RESAMPLES, seed=20)
    expected = stats.ttest_1samp((right[0] - right[1]) / 10, 0).confidence_interval()
    assert found["lost_low"] == pytest.approx(expected.low, abs=0.01)
    assert found["lost_high"] == pytest.approx(expected.high, abs=0.01)


def test_differences_between_seeds_widen_the_interval() -> None:
    def width(*right: list[int]) -> float:
        better = with_seeds(*(of_speakers(each, 10) for each in right))
        worse = with_seeds(*(of_speakers([5, 4, 6, 5, 4, 6], 10) for _ in right))
        found = lost.points("lost", better, worse, N_RESAMPLES, seed=20)
        assert found["lost"] == pytest.approx(0.3)
        return found["lost_high"] - found["lost_low"]

    same = [8, 7, 9, 8, 7, 9]
    assert width([n - 1 for n in same], same, [n + 1 for n in same]) > 1.5 * width(same, same, same)


def test_differences_between_seeds_do_not_narrow_the_interval_of_two_speakers() -> None:
    def width(*right: list[int]) -> float:
        better = with_seeds(*(of_speakers(each, 100) for each in right))
        worse = with_seeds(*(of_speakers([50, 50], 100) for _ in right))
        found = lost.points("lost", better, worse, N_RESAMPLES, seed=20)
        return found["lost_high"] - found["lost_low"]

    assert width([61, 65], [62, 66], [63, 67]) >= width([62, 66]) - 1e-9


def test_one_speaker_has_no_interval() -> None:
    assert lost.points("lost", of_speakers([8], 10), of_speakers([5], 10), N_RESAMPLES, seed=20) == {
        "lost": pytest.approx(0.3)
    }


def test_a_speaker_whom_the_hold_out_does_not_test_counts_on_the_other_side() -> None:
    held_out = of_speakers([9, 8, 9, 9], 10)
    held_out = held_out[held_out["speaker"] != "c/03"]
    found = lost.points("lost", held_out, of_speakers([5, 5, 5, 1], 10), N_RESAMPLES, seed=20)
    assert found["lost"] == pytest.approx(26 / 30 - 0.4)
    assert np.isfinite([*found.values()]).all()


@pytest.mark.slow
def test_the_interval_covers_the_true_difference() -> None:
    n_draws, gain = 300, 0.5
    draws = [*pairs(24, 20, n_draws, gain=gain, n_seeds=3, seed_effect=0.1)]
    accuracy = [[np.mean(right(each)) for each in draw] for draw in draws]
    truth = float(np.mean([better - worse for worse, better in accuracy]))
    ends = [lost.points("lost", better, worse, 500, seed=20) for worse, better in draws]
    covered = np.mean([each["lost_low"] <= truth <= each["lost_high"] for each in ends])
    assert 0.92 <= covered <= 0.995


def right(predictions: pd.DataFrame) -> pd.Series:
    """Returns whether the most probable class is the true one."""
    probabilities = predictions.filter(regex="^p_")
    return probabilities.idxmax(axis=1).str.removeprefix("p_") == predictions["label"]
