from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from stages.base.errors import InputError
from stages.evaluation import metrics, paired
from tests.support.predictions import of_speakers, pairs, predictions, with_seeds

# anger 5 clips, fear 3, neutral 2; the second model gains c/1's last anger and loses both fears of c/2
TRUTH = ["anger"] * 5 + ["fear"] * 3 + ["neutral"] * 2
GUESS_A = ["anger"] * 4 + ["fear"] + ["fear"] * 3 + ["anger", "neutral"]
GUESS_B = ["anger"] * 5 + ["anger", "neutral", "fear"] + ["anger", "neutral"]
SPEAKER = ["c/1"] * 5 + ["c/2"] * 2 + ["c/3"] * 3
A = predictions(TRUTH, GUESS_A, speaker=SPEAKER)
B = predictions(TRUTH, GUESS_B, speaker=SPEAKER)
# right of 20 clips by 8 speakers
N_A = [8, 12, 10, 15, 9, 13, 11, 14]
N_B = [10, 13, 10, 18, 9, 16, 15, 14]


def test_values_match_metrics() -> None:
    found = paired.differences(A, B, 100, seed=0)
    for table, model in ((A, "a"), (B, "b")):
        expected = metrics.scores(table)
        for ranks in ("auc", "confidence_auc", "aurc"):  # of clips of different speakers
            del expected[ranks]
        assert {name: getattr(own, model) for name, own in found.items()} == pytest.approx(expected)


def test_values_match_values_computed_by_hand() -> None:
    found = paired.differences(A, B, 100, seed=0)
    assert found["uar"].difference == pytest.approx((1 + 1 / 3 + 1 / 2) / 3 - (4 / 5 + 1 + 1 / 2) / 3)
    # every clip has 0.7 for the guess and, where that is wrong, 0.2 for the truth: 2 wrong clips, then 3
    assert found["accuracy"].difference == pytest.approx(-1 / 10)
    assert found["log_loss"].difference == pytest.approx((np.log(0.7) - np.log(0.2)) / 10)
    assert found["ece"].difference == pytest.approx(abs(0.7 - 0.7) - abs(0.7 - 0.8))


def test_with_equal_speakers_it_is_the_sign_flip_test_and_students_t() -> None:
    interval = stats.ttest_rel(np.array(N_B) / 20, np.array(N_A) / 20).confidence_interval(0.95)
    changes = np.array(N_B) - np.array(N_A)
    signs = np.array(list(product((1, -1), repeat=8)))
    p_value = np.mean(np.abs(signs @ changes) >= changes.sum())
    found = paired.differences(of_speakers(N_A, 20), of_speakers(N_B, 20), 100_000, seed=0)
    for name in ("accuracy", "uar"):
        assert found[name].p_value == pytest.approx(p_value)
        assert found[name].smallest_p_value == pytest.approx(2 / 2**8)
        # p is above 5 %, so the interval contains 0, which Student's t alone would not
        assert found[name].low == pytest.approx(min(interval.low, 0), abs=0.002)
        assert found[name].high == pytest.approx(interval.high, abs=0.002)
    error = stats.sem((np.array(N_B) - np.array(N_A)) / 20)
    # t tables: 2.365 and 0.896 at 7 degrees of freedom
    assert found["uar"].detectable == pytest.approx((2.365 + 0.896) * error, rel=0.01)


def test_what_makes_a_speaker_hard_for_both_cancels() -> None:
    # each of 6 speakers gains one clip or two of 20, and they differ by far more
    a, b = of_speakers([1, 4, 7, 10, 13, 16], 20), of_speakers([2, 6, 8, 12, 14, 18], 20)
    found = paired.differences(a, b, 2000, seed=0)
    assert found["uar"].significant
    assert found["uar"].low > 0


def test_swapping_the_models_negates_the_difference() -> None:
    there, back = paired.differences(A, B, 200, seed=0), paired.differences(B, A, 200, seed=0)
    for name in there:
        one, other = there[name], back[name]
        assert (one.a, one.b) == (other.b, other.a)
        assert (one.difference, one.low, one.high) == pytest.approx(
            (-other.difference, -other.high, -other.low)
        )
        assert (one.p_value, one.detectable) == (pytest.approx(other.p_value), other.detectable)


def test_a_model_does_not_differ_from_itself() -> None:
    for found in paired.differences(A, A, 100, seed=0).values():
        assert (found.difference, found.low, found.high, found.p_value) == (0, 0, 0, 1)
        assert not found.significant
        assert found.detectable is None
    assert paired.mcnemar(A, A) == 1


def test_two_speakers_with_the_same_difference_are_not_significant() -> None:
    found = paired.differences(of_speakers([3, 7], 20), of_speakers([5, 9], 20), 500, seed=0)["accuracy"]
    assert found.difference == pytest.approx(0.1)
    # swapping both speakers is as extreme as swapping none: 2 of 4
    assert found.p_value == found.smallest_p_value == pytest.approx(0.5)
    assert found.low <= 0 < found.high
    assert found.detectable is None


def test_the_same_difference_for_each_of_many_speakers_is_significant() -> None:
    a, b = of_speakers([5] * 24, 20), of_speakers([20] * 24, 20)
    for other in (b, of_speakers([20] * 23 + [19], 20)):  # one clip less does not matter
        found = paired.differences(a, other, 2000, seed=0)["accuracy"]
        assert found.p_value == found.smallest_p_value == pytest.approx(1 / 2001)
        assert found.low > 0


@pytest.mark.parametrize(("n_speakers", "smallest"), [(5, 2 / 32), (6, 2 / 64)])
def test_fewer_than_six_speakers_find_no_difference_significant(n_speakers: int, smallest: float) -> None:
    a, b = of_speakers(list(range(n_speakers)), 20), of_speakers([18, 15, 19, 14, 17, 20][:n_speakers], 20)
    found = paired.differences(a, b, 2000, seed=0)["uar"]
    assert found.p_value == found.smallest_p_value == pytest.approx(smallest)
    assert found.significant == (n_speakers >= 6)
    assert (found.detectable is None) == (n_speakers < 6)


def test_one_speaker_has_no_interval() -> None:
    with pytest.raises(InputError, match=r"^c/s .*only test speaker"):
        paired.differences(predictions(TRUTH, GUESS_A), predictions(TRUTH, GUESS_B), 100, seed=0)


def test_resamples_depend_on_the_seed_only() -> None:
    assert paired.differences(A, B, 100, seed=1) == paired.differences(A, B, 100, seed=1)
    assert paired.differences(A, B, 100, seed=1) != paired.differences(A, B, 100, seed=2)


def test_mcnemar_is_the_sign_test_of_flipped_clips() -> None:
    # one clip is lost and five are won: 2 * (1 + 6) / 2^6
    truth = ["anger"] * 8
    before = predictions(truth, ["anger", "anger"] + ["fear"] * 6)
    after = predictions(truth, ["fear"] + ["anger"] * 6 + ["fear"])
    assert paired.mcnemar(before, after) == pytest.approx(14 / 64)


def test_flips_are_counted_and_the_largest_losses_come_first() -> None:
    by_label = paired.flips(A, B, "label")
    assert by_label.to_dict(orient="records") == [
        {"label": "fear", "clips": 3, "a": 1, "b": pytest.approx(1 / 3)}
        | {"right_to_wrong": 2, "wrong_to_right": 0},
        {"label": "neutral", "clips": 2, "a": 0.5, "b": 0.5, "right_to_wrong": 0, "wrong_to_right": 0},
        {"label": "anger", "clips": 5, "a": 0.8, "b": 1, "right_to_wrong": 0, "wrong_to_right": 1},
    ]
    assert list(paired.flips(A, B, "speaker")["speaker"]) == ["c/2", "c/3", "c/1"]


def test_equal_trainings_say_no_more_than_one() -> None:
    alone = paired.differences(A, B, 200, seed=0)
    for a, b in ((with_seeds(A, A), with_seeds(B, B, B)), (A, with_seeds(B, B))):
        for name, found in paired.differences(a, b, 200, seed=0).items():
            one = alone[name]
            for key in ("a", "b", "difference", "low", "high", "p_value", "speakers_error"):
                assert getattr(found, key) == pytest.approx(getattr(one, key)), (name, key)
            assert one.seeds_error is None
            assert found.seeds_error == pytest.approx(0, abs=1e-12)
    pd.testing.assert_frame_equal(
        paired.flips(with_seeds(A, A), with_seeds(B, B), "label"), paired.flips(A, B, "label")
    )
    assert paired.mcnemar(with_seeds(A, A), with_seeds(B, B)) == paired.mcnemar(A, B)


def test_speakers_and_trainings_both_add_to_the_uncertainty() -> None:
    # every speaker gains one to three clips of 20 in each training, and trainings differ by much more
    a = with_seeds(*(of_speakers([n - s for n in N_A], 20) for s in (0, 3, 6)))
    b = with_seeds(*(of_speakers([n + 2 - s for n in N_A], 20) for s in (0, 1, 2)))
    found = paired.differences(a, b, 2000, seed=0)["accuracy"]
    # accuracies of the trainings: 11.5 less 0, 3 and 6, and 13.5 less 0, 1 and 2, of 20
    assert (found.a, found.b) == (pytest.approx(8.5 / 20), pytest.approx(12.5 / 20))
    variance = (stats.sem([0, 3, 6]) ** 2 + stats.sem([0, 1, 2]) ** 2) / 20**2
    assert found.speakers_error == pytest.approx(0, abs=1e-9)  # each gains the same
    assert found.seeds_error == pytest.approx(variance**0.5)
    # where speakers do not differ, it is Welch's test of the trainings
    welch = stats.ttest_ind([13.5, 12.5, 11.5], [11.5, 8.5, 5.5], equal_var=False)
    assert found.p_value == pytest.approx(welch.pvalue)
    assert found.high == pytest.approx(welch.confidence_interval(0.95).high / 20)


def test_one_training_of_one_model_leaves_its_variance_out() -> None:
    several = with_seeds(*(of_speakers([n + 2 - s for n in N_A], 20) for s in (0, 1, 2)))
    found = paired.differences(of_speakers(N_A, 20), several, 2000, seed=0)["accuracy"]
    assert found.seeds_error == pytest.approx(stats.sem([0, 1, 2]) / 20)


def test_a_clip_counts_as_right_if_most_trainings_are() -> None:
    right, wrong = of_speakers([1], 1), of_speakers([0], 1)
    a, b = with_seeds(right, right, wrong), with_seeds(right, wrong, wrong)
    (row,) = paired.flips(a, b, "label").to_dict(orient="records")
    assert (row["a"], row["b"]) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert (row["clips"], row["right_to_wrong"], row["wrong_to_right"]) == (1, 1, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_speakers", "n_clips", "n_draws"),
    [(4, 120, 60), (8, 120, 600), (24, 60, 600)],  # of four speakers, none differs: no rate is estimated
)
def test_equal_models_differ_significantly_one_time_in_twenty(
    n_speakers: int, n_clips: int, n_draws: int
) -> None:
    found = [paired.differences(a, b, 400, seed=0) for a, b in pairs(n_speakers, n_clips, n_draws)]
    for name in ("uar", "accuracy", "macro_f1", "log_loss", "brier", "ece"):
        alarms = np.mean([one[name].significant for one in found])
        assert (alarms == 0) if n_speakers < 6 else (0.03 <= alarms <= 0.07), name
        assert np.mean([one[name].low > 0 or one[name].high < 0 for one in found]) <= alarms


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_speakers", "n_clips", "seed_effect"), [(24, 60, 0.05), (24, 60, 0.15), (8, 120, 0.1)]
)
def test_with_three_seeds_equal_models_differ_significantly_at_most_one_time_in_twenty(
    n_speakers: int, n_clips: int, seed_effect: float
) -> None:
    drawn = pairs(n_speakers, n_clips, 200, n_seeds=3, seed_effect=seed_effect)
    found = [paired.differences(a, b, 400, seed=0)["uar"] for a, b in drawn]
    assert 0.005 <= np.mean([one.significant for one in found]) <= 0.07
    assert 0.93 <= np.mean([one.low <= 0 <= one.high for one in found]) <= 0.995
    # both standard errors together are that of the difference
    error = np.sqrt(np.mean([one.speakers_error**2 + (one.seeds_error or 0) ** 2 for one in found]))
    assert error == pytest.approx(np.std([one.difference for one in found]), rel=0.2)


@pytest.mark.slow
def test_one_training_of_each_model_finds_too_many_differences_where_trainings_differ() -> None:
    drawn = pairs(24, 60, 150, seed_effect=0.15)
    assert np.mean([paired.differences(a, b, 400, seed=0)["uar"].significant for a, b in drawn]) > 0.2


@pytest.mark.slow
def test_mcnemar_finds_too_many_differences_because_clips_of_a_speaker_are_alike() -> None:
    assert np.mean([paired.mcnemar(a, b) < 0.05 for a, b in pairs(4, 120, n_draws=300)]) > 0.1


@pytest.mark.slow
def test_the_detectable_difference_is_detected_with_80_percent_power() -> None:
    detectable = np.mean([paired.differences(a, b, 400, 0)["uar"].detectable for a, b in pairs(24, 60, 100)])
    gains = np.linspace(0.05, 0.4, 8)
    worth = [mean_difference(gain) for gain in gains]
    gain = float(np.interp(detectable, worth, gains))
    found = [paired.differences(a, b, 400, seed=0)["uar"] for a, b in pairs(24, 60, 500, gain)]
    assert np.mean([one.significant for one in found]) == pytest.approx(0.8, abs=0.06)
    assert 0.92 <= np.mean([one.low <= detectable <= one.high for one in found]) <= 0.98


def mean_difference(gain: float) -> float:
    """Returns how much UAR a gain is worth, over many speakers."""
    a, b = next(pairs(3000, 60, 1, gain))
    return float(metrics.headline(b.assign(clip=0))["uar"] - metrics.headline(a.assign(clip=0))["uar"])
