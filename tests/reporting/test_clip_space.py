"""What separates clips: effect sizes against scipy, neighbours against a case worked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from stages.reporting import clip_space


def test_eta_squared_is_that_of_the_analysis_of_variance() -> None:
    rng = np.random.default_rng(0)
    groups = pd.Series(rng.choice(list("abc"), 60))
    values = pd.Series(rng.normal(size=60) + (groups == "a"))
    f = stats.f_oneway(*(values[groups == group] for group in "abc")).statistic
    assert clip_space.eta_squared(values, groups) == pytest.approx(f * 2 / (f * 2 + 57))


def test_eta_squared_of_a_constant_is_zero() -> None:
    assert clip_space.eta_squared(pd.Series([1.0, 1.0]), pd.Series(["a", "b"])) == 0


def test_the_label_s_effect_within_speakers_leaves_the_speakers_out() -> None:
    labels, speakers = pd.Series(list("xyxy")), pd.Series(list("aabb"))
    measures = pd.DataFrame({"level_dbfs": [0.0, 1, 10, 11], "zcr": [np.nan, 1, 2, 3]})
    effects = clip_space.effects(measures, labels, speakers)
    level = effects.loc["level_dbfs"]
    assert level["label within speakers"] == 1
    assert level["speaker"] == pytest.approx(100 / 101)  # 4 * 25 of 101
    assert level["label"] == pytest.approx(1 / 101)  # 4 * 0.25 of 101


def test_neighbours_by_hand() -> None:
    """On a line: clips a0 a1 of speaker a, b0 b1 of b; each speaker's two are close, labels alternate."""
    points = np.array([[0], [1], [10], [11.5]], dtype=np.float32)
    labels, speakers = pd.Series(list("xyxy")), pd.Series(list("aabb"))
    found = clip_space.neighbours(points, labels, speakers)
    assert found["same speaker"] == (1.0, pytest.approx(1 / 3))
    assert found["same label"] == (0.0, pytest.approx(1 / 3))
    # among the other speaker's clips, the nearest of a0 and a1 is b0; of b0 and b1 it is a1
    assert found["same label, other speaker"] == (0.5, 0.5)


def test_one_speaker_has_no_neighbours_of_other_speakers() -> None:
    points = np.array([[0], [1], [2]], dtype=np.float32)
    found = clip_space.neighbours(points, pd.Series(list("xyx")), pd.Series(list("aaa")))
    assert set(found) == {"same speaker", "same label"}


def test_clips_are_drawn_by_name_not_by_place() -> None:
    clips = pd.DataFrame({"clip": [f"c/{number}" for number in range(50)]})
    chosen = clip_space.drawn(clips, seed=20, most=10)
    again = clip_space.drawn(clips[::-1], seed=20, most=10)
    assert len(chosen) == 10
    assert set(again["clip"]) == set(chosen["clip"])
    assert set(clip_space.drawn(clips, seed=21, most=10)["clip"]) != set(chosen["clip"])


def test_groups_that_are_apart_stay_apart_in_the_plane_with_the_same_bytes() -> None:
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1], 20)
    points = (rng.normal(size=(40, 6)) + 30 * group[:, None]).astype(np.float32)
    places = clip_space.plane(points, seed=20)
    assert places.tobytes() == clip_space.plane(points, seed=20).tobytes()
    centres = [places[group == each].mean(axis=0) for each in (0, 1)]
    spread = max(np.linalg.norm(places[group == each] - centres[each], axis=1).max() for each in (0, 1))
    assert np.linalg.norm(centres[0] - centres[1]) > spread
