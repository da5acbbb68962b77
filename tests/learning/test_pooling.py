from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stages.base.errors import InputError
from stages.base.params import check
from stages.learning.pooling import (
    Covariances,
    FittedPooling,
    Pooling,
    Statistics,
    Stream,
    covariance,
    statistics,
)


def block(**changes: object) -> Pooling:
    covariances = {"streams": ["b"], "basis": "principal", "n_components": 2, "lags_frames": [0, 1]}
    return Pooling(
        streams=[
            Stream(name="a", feature="x", columns=4, frames=2),
            Stream(name="b", feature="y", columns=3, frames=1),
        ],
        blocks=[
            Statistics(streams=["a", "b"], statistics=["mean", "p90"], difference_frames=0, weight=0.4),
            Covariances(**covariances | {"difference_frames": 0, "weight": 0.3} | changes),
        ],
    )


@pytest.fixture
def clips() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.normal(3, 2, (n, 7)).astype(np.float32) for n in (7, 1, 12)]


def test_a_stream_with_two_frames_in_a_step_has_both_in_order(clips: list[np.ndarray]) -> None:
    pooled = FittedPooling.fit(block(), lambda: clips, "p")(clips[0])
    frames = clips[0][:, :4].reshape(14, 2)
    np.testing.assert_allclose(pooled[0, :2], frames.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(pooled[0, 2:4], np.percentile(frames, 90, axis=0), rtol=1e-5)


def test_covariances_equal_numpys(clips: list[np.ndarray]) -> None:
    expected = np.cov(clips[0].T, bias=True)[np.triu_indices(7)]
    np.testing.assert_allclose(covariance(clips[0], 0), expected, rtol=1e-4)
    centred = clips[0] - clips[0].mean(axis=0)
    lagged = sum(np.outer(centred[t], centred[t + 2]) for t in range(5)) / 5
    np.testing.assert_allclose(covariance(clips[0], 2).reshape(7, 7), lagged, rtol=1e-3, atol=1e-5)


def test_changes_of_a_ramp_by_hand() -> None:
    ramp = np.arange(5, dtype=np.float32)[:, None]
    assert statistics(ramp, ["mean", "std", "mean_abs"], difference_frames=4).tolist() == [4, 0, 4]


def test_principal_components_are_halfway_whitened(clips: list[np.ndarray]) -> None:
    basis = FittedPooling.fit(block(), lambda: clips, "p").bases["b"]
    frames = np.concatenate(clips)[:, 4:]
    projected = (frames - basis.mean) @ basis.components
    variances = np.linalg.eigvalsh(np.cov(frames.T, bias=True))[::-1][:2]
    np.testing.assert_allclose(np.cov(projected.T, bias=True), np.diag(np.sqrt(variances)), atol=1e-3)


def test_scales_give_each_block_its_weight(clips: list[np.ndarray]) -> None:
    fitted = FittedPooling.fit(block(), lambda: clips, "p")
    scales = fitted.scales
    assert len(scales) == fitted(clips[0]).shape[1] == 10 + 3 + 4
    np.testing.assert_allclose(
        [(part**2).sum() for part in np.split(scales, [10, 13])], [0.4, 0.3, 0.3], rtol=1e-5
    )


def test_a_saved_pooling_is_the_same(clips: list[np.ndarray], tmp_path: Path) -> None:
    fitted = FittedPooling.fit(block(), lambda: clips, "p")
    fitted.save(tmp_path / "pooling.npz")
    loaded = FittedPooling.load(block(), tmp_path / "pooling.npz")
    for clip in clips:
        assert np.array_equal(fitted(clip), loaded(clip)) and np.isfinite(loaded(clip)).all()
    with pytest.raises(InputError, match=r"pooling\.npz"):
        FittedPooling.load(block(n_components=3), tmp_path / "pooling.npz")
    with pytest.raises(InputError, match=r"missing\.npz"):
        FittedPooling.load(block(), tmp_path / "missing.npz")


def test_what_other_features_have_is_left_out(clips: list[np.ndarray]) -> None:
    assert block().of(["x", "y"]) == block()
    assert [each.name for each in block().of(["y", "x"]).streams] == ["b", "a"]  # the order of the columns
    alone = block().of(["x"])
    assert [each.name for each in alone.streams] == ["a"]
    assert [each.streams for each in alone.blocks] == [["a"]]
    pooled = FittedPooling.fit(alone, lambda: [clips[0][:, :4]], "p")(clips[0][:, :4])
    both = FittedPooling.fit(block(), lambda: clips, "p")(clips[0])
    assert np.array_equal(pooled[0], both[0, :4])
    with pytest.raises(InputError, match=r"p\.blocks.*'c'.*a"):  # a mistake is none of another feature's
        FittedPooling.fit(block(streams=["a", "c"]).of(["x"]), lambda: clips, "p")


def test_mistakes_are_named(clips: list[np.ndarray]) -> None:
    with pytest.raises(InputError, match=r"p\.blocks.*'c'.*a, b"):
        FittedPooling.fit(block(streams=["c"]), lambda: clips, "p")
    with pytest.raises(InputError, match=r"p\.b: n_components 9 .*3"):
        FittedPooling.fit(block(n_components=9), lambda: clips, "p")
    with pytest.raises(InputError, match=r"p\.streams.* 7 .* 5"):
        FittedPooling.fit(block(), lambda: [clips[0][:, :5]], "p")
    streams = [{"name": "a", "feature": "x", "columns": 4, "frames": 1}] * 2
    with pytest.raises(InputError, match=r"p\.streams.*'a'"):
        check(Pooling, {"streams": streams, "blocks": block().model_dump()["blocks"]}, "p")
