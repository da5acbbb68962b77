from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.base.errors import InputError
from stages.base.params import Predict
from stages.learning import profile

LIMITS = Predict(
    excluded="abstain", unlike="warn", level_db=3.0, duration_factor=2.0, bandwidth_factor=1.25,
    active_fraction=0.1, sure=0.5,
)  # fmt: skip
NAN, TEXT = (
    json.dumps({"corpora": [], "quantiles": {"level_dbfs": [value] * 7}}) for value in (float("nan"), "1.0")
)
N = 101  # so that the quantiles are values


@pytest.fixture
def clips() -> pd.DataFrame:
    """Clips whose levels are -60 to -10 dBFS, durations 1 to 3 s, active fractions 0.4 to 0.8."""
    steps = np.linspace(0, 1, N)
    duration_s = 1 + 2 * steps
    return pd.DataFrame(
        {
            "clip": [f"c/{i}" for i in range(N)],
            "corpus": ["d", "c"] * (N // 2) + ["d"],
            "duration_s": duration_s,
            "level_dbfs": -60 + 50 * steps,
            "active_s": duration_s * (0.4 + 0.4 * steps),
            "bandwidth_hz": 4000 + 8000 * steps,
        }
    )


def test_the_profile_has_the_quantiles_of_the_training_clips(clips: pd.DataFrame, tmp_path: Path) -> None:
    profile.write(clips, 16_000, tmp_path / "profile.json")
    found = profile.read(tmp_path / "profile.json")
    assert found.corpora == ["c", "d"]
    levels = found.quantiles["level_dbfs"]
    # 0, 1, 5, 50, 95, 99 and 100 %
    assert levels == pytest.approx([-60, -59.5, -57.5, -35, -12.5, -10.5, -10])
    assert found.quantiles["duration_s"] == pytest.approx([1, 1.02, 1.1, 2, 2.9, 2.98, 3])
    assert found.quantiles["active_fraction"] == pytest.approx([0.4, 0.404, 0.42, 0.6, 0.78, 0.796, 0.8])
    # a model at 16 kHz uses nothing above 8 kHz
    assert found.quantiles["bandwidth_hz"] == pytest.approx([4000, 4080, 4400, 8000, 8000, 8000, 8000])


def test_a_measure_that_no_clip_has_is_left_out(clips: pd.DataFrame, tmp_path: Path) -> None:
    profile.write(clips.assign(bandwidth_hz=np.nan), 16_000, tmp_path / "profile.json")
    found = profile.read(tmp_path / "profile.json")
    assert sorted(found.quantiles) == ["active_fraction", "duration_s", "level_dbfs"]
    assert profile.unlike({"bandwidth_hz": 1.0}, found, LIMITS) == []
    clips.loc[0, "bandwidth_hz"] = np.nan  # one clip without a measure leaves the others
    profile.write(clips, 16_000, tmp_path / "profile.json")
    assert profile.read(tmp_path / "profile.json").quantiles["bandwidth_hz"][-1] == 8000


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("level_dbfs", -59.5 - 3, -10.5 + 3),
        ("duration_s", 1.02 / 2, 2.98 * 2),
        ("bandwidth_hz", 4080 / 1.25, np.inf),
        ("active_fraction", 0.404 - 0.1, 0.796 + 0.1),
    ],
)
def test_a_recording_is_unlike_beyond_the_limits(
    clips: pd.DataFrame, tmp_path: Path, name: str, low: float, high: float
) -> None:
    profile.write(clips, 16_000, tmp_path / "profile.json")
    known = profile.read(tmp_path / "profile.json")
    step = 0.001 * abs(low)
    for value in (low + step, min(high - step, 1e9)):
        assert profile.unlike({name: value}, known, LIMITS) == []
    for value in (low - step, high + step):
        assert len(profile.unlike({name: value}, known, LIMITS)) == (np.isfinite(value))


def test_a_recording_is_measured_as_the_training_clips() -> None:
    probed = {"level_dbfs": -20.0, "duration_s": 4.0, "active_s": 1.0, "bandwidth_hz": 20_000.0}
    found = profile.measures(probed, 16_000)
    assert found == {"level_dbfs": -20, "duration_s": 4, "bandwidth_hz": 8000, "active_fraction": 0.25}


@pytest.mark.parametrize(
    "content", ["", "{}", '{"corpora": [], "quantiles": {"level_dbfs": [1.0]}}', "[" * 9999, NAN, TEXT]
)
def test_another_file_is_no_profile(tmp_path: Path, content: str) -> None:
    path = tmp_path / "profile.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"profile\.json"):
        profile.read(path)
    path.write_text(json.dumps({"corpora": ["c"], "quantiles": {}}))
    assert profile.read(path).corpora == ["c"]
