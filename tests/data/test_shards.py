from __future__ import annotations

import os
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.base import registry
from stages.base.errors import InputError
from stages.base.params import Compute
from stages.compute.fill import fill
from stages.data import code, shards
from stages.data.shards import Shard


def arrays(n_clips: int, start: int = 0) -> dict[str, np.ndarray]:
    """A feature shard of clips c<start>, ...: clip i has i + 1 frames, all of value i, -i and 10 i."""
    numbers = np.arange(start, start + n_clips)
    frames = np.repeat(numbers, numbers + 1)[:, None].astype(np.float32)
    return {
        "rms": frames,
        "mfcc": np.hstack([-frames, 10 * frames]),
        "n_frames": numbers + 1,
        "clips": np.array([f"c{number}" for number in numbers]),
    }


def fail() -> dict[str, np.ndarray]:
    raise InputError("clip.wav: gone")


def die() -> dict[str, np.ndarray]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def planned(*stems: str) -> list[Shard]:
    return [Shard(stem, 2, "f00d", partial(arrays, 2, start)) for start, stem in enumerate(stems)]


def test_chunks_are_sorted_and_contain_one_speaker_each() -> None:
    clips = pd.DataFrame(
        {"clip": ["x/d", "x/a", "x/b", "x/c", "x/e"], "speaker": ["x/2", "x/1", "x/1", "x/1", "x/2"]}
    )
    found = [(stem, rows["clip"].tolist()) for stem, rows in shards.chunks(clips, 2, "_aug1")]
    assert found == [
        ("x_1_aug1_000", ["x/a", "x/b"]),
        ("x_1_aug1_001", ["x/c"]),
        ("x_2_aug1_000", ["x/d", "x/e"]),
    ]


def test_speakers_with_few_clips_share_shards_that_one_more_speaker_hardly_changes() -> None:
    def shards_of(n_speakers: int) -> list[tuple[str, ...]]:
        names = [f"x/{number}" for number in range(n_speakers)] + ["x/many"] * 30
        clips = pd.DataFrame({"clip": [f"x/c{number:04}" for number in range(len(names))], "speaker": names})
        rows = [own for _, own in shards.chunks(clips.sample(frac=1, random_state=1), 100)]
        assert sorted(pd.concat(rows)["clip"]) == clips["clip"].tolist()
        assert max(map(len, rows)) <= 100
        return [tuple(own["speaker"].tolist()) for own in rows]

    before, after = shards_of(1000), shards_of(1001)
    assert ("x/many",) * 30 in before
    assert len(before) < 30
    assert len({*after} - {*before}) == 1


def test_a_recipe_depends_on_settings_and_code() -> None:
    recording, spectrum = (registry.STAGES / "audio" / name for name in ("recording.py", "spectrum.py"))
    recipe = shards.recipe([recording], rate=1)
    assert recipe == shards.recipe([recording], rate=1)
    assert recipe != shards.recipe([recording], rate=2)
    assert recipe != shards.recipe([recording, spectrum], rate=1)


ONE, TWO = (Compute(engine="local", workers=n, scheduler=None) for n in (1, 2))


def test_missing_shards_are_computed_others_kept_and_stale_ones_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path, planned("a", "b"), ONE, "stage")
    kept = (tmp_path / "a.f00d.npz").stat().st_mtime_ns
    (tmp_path / ".c.f00d.npz.123.part").write_text("half")
    (tmp_path / "index.parquet").write_text("the table")
    fill(tmp_path, planned("a", "x", "c"), ONE, "stage")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.f00d.npz",
        "c.f00d.npz",
        "index.parquet",
        "x.f00d.npz",
    ]
    assert (tmp_path / "a.f00d.npz").stat().st_mtime_ns == kept
    assert capsys.readouterr().out.splitlines() == [
        "stage: 2 shards, 0 kept, 2 computed (a: 2 clips, b: 2 clips)",
        "stage: 3 shards, 1 kept, 2 computed (x: 2 clips, c: 2 clips)",
    ]


def test_many_shards_are_not_all_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path, planned(*"abcdefg"), ONE, "stage")
    assert (
        "(a: 2 clips, b: 2 clips, c: 2 clips, d: 2 clips, e: 2 clips and 2 more)" in capsys.readouterr().out
    )
    fill(tmp_path, [], ONE, "stage")
    assert capsys.readouterr().out == "stage: 0 shards, 0 kept, 0 computed\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("compute", [ONE, pytest.param(TWO, marks=pytest.mark.slow)])
def test_a_failure_keeps_what_is_finished(tmp_path: Path, compute: Compute) -> None:
    done = planned("a")
    fill(tmp_path, done, ONE, "stage")
    with pytest.raises(InputError, match=r"clip\.wav: gone"):
        fill(tmp_path, [*done, Shard("b", 1, "f00d", fail), Shard("c", 1, "f00d", fail)], compute, "stage")
    assert [path.name for path in tmp_path.iterdir()] == ["a.f00d.npz"]


def test_a_shard_of_edited_code_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "STAGES", tmp_path / "stages")
    source = tmp_path / "stages" / "rms.py"
    source.parent.mkdir()
    source.write_text("")
    before = source.stat().st_mtime_ns
    folder = tmp_path / "shards"
    shard = replace(planned("a")[0], stamps={source: before})
    fill(folder, [shard], ONE, "stage")
    (folder / shard.name).unlink()
    os.utime(source, ns=(before + 1, before + 1))  # an edit that was undone leaves another time
    with pytest.raises(InputError, match=r"^stages/rms\.py: edited"):
        fill(folder, [shard], ONE, "stage")
    assert not list(folder.iterdir())
    source.unlink()
    with pytest.raises(InputError, match=r"^stages/rms\.py: edited"):
        fill(folder, [shard], ONE, "stage")


def process_id() -> dict[str, np.ndarray]:
    return {"pid": np.array(os.getpid())}


def test_for_a_single_shard_no_process_is_started(tmp_path: Path) -> None:
    fill(tmp_path, [Shard("a", 1, "f00d", process_id)], TWO, "stage")
    assert np.load(tmp_path / "a.f00d.npz")["pid"] == os.getpid()


def test_a_killed_worker_is_an_input_error(tmp_path: Path) -> None:
    doomed = [Shard("a", 1, "f00d", process_id), Shard("b", 1, "f00d", die)]  # the first is of this process
    with pytest.raises(InputError, match=r"worker.* params\.compute\.workers \(2\)"):
        fill(tmp_path, doomed, TWO, "stage")


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    np.savez(tmp_path / "one.npz", **arrays(3))
    np.savez(tmp_path / "two.npz", **arrays(2, start=3))
    return tmp_path


def index(*clips: str) -> pd.DataFrame:
    return pd.DataFrame({"clip": clips, "shard": ["one.npz" if clip < "c3" else "two.npz" for clip in clips]})


def test_features_are_joined_in_the_requested_order(stored: Path) -> None:
    features = shards.read_features(index("c4", "c2"), ["mfcc", "rms"], stored)
    assert sorted(features) == ["c2", "c4"]
    np.testing.assert_array_equal(features["c2"], np.tile(np.float32([-2, 20, 2]), (3, 1)))
    np.testing.assert_array_equal(features["c4"], np.tile(np.float32([-4, 40, 4]), (5, 1)))
    assert features["c2"].dtype == np.float32
    only = shards.read_features(index("c0"), ["rms"], stored)
    np.testing.assert_array_equal(only["c0"], [[0]])


def test_a_feature_that_is_not_stored_is_named(stored: Path) -> None:
    with pytest.raises(
        InputError,
        match=r"one\.npz: .*mfcc, rms, .*'zcr'.* params\.featurize\.features",
    ):
        shards.read_features(index("c0"), ["rms", "zcr"], stored)


def test_a_missing_shard_is_named(stored: Path) -> None:
    (stored / "one.npz").unlink()
    with pytest.raises(InputError, match=r"one\.npz: missing"):
        shards.read_features(index("c0"), ["rms"], stored)


@pytest.mark.parametrize("how", ["half", "empty", "text", "flipped"])
def test_a_damaged_shard_is_named(stored: Path, how: str) -> None:
    path = stored / "one.npz"
    content = bytearray(path.read_bytes())
    content[content.index(b"\x93NUMPY") + 130] ^= 1  # in the samples of the first array, `rms`
    path.write_bytes(
        {"half": content[:300], "empty": b"", "text": b"not a shard", "flipped": bytes(content)}[how]
    )
    with pytest.raises(InputError, match=r"one\.npz: damaged "):
        shards.read_features(index("c0"), ["rms"], stored)


def test_only_the_requested_arrays_are_read(stored: Path) -> None:
    test_a_damaged_shard_is_named(stored, "flipped")
    assert shards.read_features(index("c1"), ["mfcc"], stored)["c1"].shape == (2, 2)
