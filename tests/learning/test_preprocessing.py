from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.base.errors import InputError
from stages.learning.preprocessing import MOST_STEPS, Inputs, Preprocessor, moments, pool


@pytest.fixture
def clips() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.normal(3, 2, (n, 4)).astype(np.float32) for n in (7, 3, 12)]


def inputs(layout: str, duration_s: float | None = None, frames_per_step: int = 1) -> Inputs:
    return Inputs(features=["mfcc"], layout=layout, duration_s=duration_s, frames_per_step=frames_per_step)


def test_moments_equal_those_of_all_frames_at_once(clips: list[np.ndarray]) -> None:
    mean, std = moments(clips)
    together = np.concatenate(clips).astype(np.float64)
    np.testing.assert_allclose(mean, together.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(std, together.std(axis=0), rtol=1e-12)


def test_moments_leave_a_constant_dimension_undivided() -> None:
    assert moments([np.full((5, 1), 7.0, np.float32)])[1] == 1


def test_stats_of_a_ramp_by_hand() -> None:
    ramp = np.arange(11, dtype=np.float32)[:, None]  # 0..10: mean 5, variance 10, p10 1, p90 9, steps all 1
    np.testing.assert_allclose(pool(ramp, "stats"), [[5, np.sqrt(10), 1, 9, 0]], rtol=1e-6)


def test_percentiles_equal_numpys(clips: list[np.ndarray]) -> None:
    for frames in clips:
        low, high = pool(frames, "stats").reshape(5, -1)[2:4]
        np.testing.assert_allclose([low, high], np.percentile(frames, (10, 90), axis=0), rtol=1e-5)


def test_stats_of_one_frame_are_finite() -> None:
    assert np.isfinite(pool(np.ones((1, 3), np.float32), "stats")).all()


@pytest.mark.parametrize(
    ("layout", "shape"),
    [("mean", (4,)), ("stats", (20,)), ("frames", (12, 4)), ("image", (12, 4, 1)), ("flat", (48,))],
)
def test_shape_of_each_layout(clips: list[np.ndarray], layout: str, shape: tuple[int, ...]) -> None:
    pooled = [pool(frames, layout) for frames in clips]
    preprocessor = Preprocessor.fit(pooled, inputs(layout), frames_per_second=10)
    assert preprocessor.shape == shape
    assert preprocessor.transform(pooled).x.shape == (3, *shape)


def test_padding_is_zero_and_a_longer_clip_is_cropped(clips: list[np.ndarray]) -> None:
    preprocessor = Preprocessor.fit(clips, inputs("frames", duration_s=0.5), frames_per_second=10)
    padded = preprocessor.transform(clips)
    x = padded.x
    assert x.shape == (3, 5, 4)
    assert padded.lengths.tolist() == [5, 3, 5]
    assert (x[1, 3:] == 0).all()
    assert (x[1, :3] != 0).all()
    np.testing.assert_allclose(x[0], (clips[0][:5] - preprocessor.mean) / preprocessor.std, rtol=1e-5)


def test_frames_are_averaged_into_steps_and_the_last_may_be_short() -> None:
    ramp = np.arange(5, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(pool(ramp, "frames", frames_per_step=2), [[0.5], [2.5], [4]])
    preprocessor = Preprocessor.fit(
        [pool(ramp, "frames", 2)], inputs("frames", duration_s=1.2, frames_per_step=2), frames_per_second=10
    )
    assert preprocessor.shape == (6, 1)


def test_preprocessed_training_clips_have_mean_0_and_std_1(clips: list[np.ndarray]) -> None:
    pooled = [pool(frames, "mean") for frames in clips]
    x = Preprocessor.fit(pooled, inputs("mean"), frames_per_second=10).transform(pooled).x
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(x.std(axis=0), 1, atol=1e-5)


def test_saved_preprocessor_is_the_same_and_has_the_same_bytes(
    clips: list[np.ndarray], tmp_path: Path
) -> None:
    preprocessor = Preprocessor.fit(clips, inputs("frames"), frames_per_second=10)
    for name in ("a.npz", "b.npz"):
        preprocessor.save(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    np.testing.assert_array_equal(
        Preprocessor.load(tmp_path / "a.npz").transform(clips).x, preprocessor.transform(clips).x
    )


def test_a_file_that_is_not_a_preprocessor_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "preprocessor.npz").write_text("no")
    with pytest.raises(InputError, match=r"preprocessor\.npz: .*`dvc repro train`"):
        Preprocessor.load(tmp_path / "preprocessor.npz")


@pytest.mark.parametrize(
    "changes",
    [
        {"layout": "stat"},
        {"n_steps": 1.0},
        {"frames_per_step": 0},
        {"n_steps": MOST_STEPS + 1},
        {"mean": np.zeros(2, np.float32)},
        {"std": np.ones(2, np.float32)},
        {"std": np.ones(3)},
        {"mean": np.zeros((1, 2)), "std": np.ones((1, 2))},
        {"mean": np.array([0.0, np.nan])},
        {"std": np.array([1.0, np.inf])},
        {"std": np.array([1.0, 0.0])},
    ],
    ids=str,
)
def test_each_value_that_fit_cannot_return_is_rejected(changes: dict[str, Any], tmp_path: Path) -> None:
    good = {"layout": "mean", "frames_per_step": 1, "n_steps": 1, "mean": np.zeros(2), "std": np.ones(2)}
    path = tmp_path / "preprocessor.npz"
    np.savez(path, **good)
    Preprocessor.load(path)
    np.savez(path, **good | changes)
    with pytest.raises(InputError, match=re.escape(str(path))):
        Preprocessor.load(path)
