from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages import augment
from stages.base.errors import InputError
from stages.base.files import AUGMENTED
from stages.data import shards, tables
from tests.support.workspace import RATE_HZ, Workspace, contents, output, pretend_edit, start, state, voice


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    made = Workspace(tmp_path)
    made.set(augment__copies=1, augment__chain=["gain", "speed", "noise"], featurize__clips_per_shard=2)
    made.record(ada=3, bob=1)
    return made


def run() -> pd.DataFrame:
    augment.main()
    return tables.read(AUGMENTED / shards.INDEX, tables.AUGMENTED).set_index("clip")


def samples_of(index: pd.DataFrame, clip: str) -> np.ndarray:
    stored = shards.read(AUGMENTED / index.loc[clip, "shard"], ["samples", "n_samples", "clips"])
    parts = shards.split(stored["samples"], stored["n_samples"])
    return parts[stored["clips"].tolist().index(clip)]


def test_every_clip_has_its_copies(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    workspace.set(augment__copies=2)
    index = run()
    expected = [f"demo/{clip}#{copy}" for clip in ("ada_00", "ada_01", "ada_02", "bob_00") for copy in (1, 2)]
    assert index.index.tolist() == expected
    assert index.loc["demo/ada_01#2", ["parent", "copy"]].tolist() == ["demo/ada_01", 2]
    assert "augment: 6 shards, 0 kept, 6 computed (demo_ada_aug1_000: 2 clips" in capsys.readouterr().out
    for clip, row in index.iterrows():
        assert row["duration_s"] == len(samples_of(index, str(clip))) / RATE_HZ
        assert row["shard"].startswith(f"demo_{str(clip)[5:8]}_aug{row['copy']}_00")


def test_the_index_has_the_drawn_parameters(workspace: Workspace) -> None:
    workspace.set(augment__chain=["gain"], augmentations__gain={"probability": 1.0, "gain_db": [-6.0, 6.0]})
    index = run()
    for number in range(3):
        clip = f"demo/ada_{number:02}#1"
        gain_db = json.loads(index.loc[clip, "drawn"])["gain"]["gain_db"]
        vowel = voice("ada", number)
        expected = (vowel - vowel.mean()) * 10 ** (gain_db / 20)
        np.testing.assert_allclose(samples_of(index, clip), expected, atol=2**-14)


def test_probability_decides_which_clips_are_augmented(workspace: Workspace) -> None:
    workspace.record(ada=60)
    workspace.set(
        augment__chain=["gain", "noise"],
        augmentations__gain={"probability": 0.5, "gain_db": [1.0, 2.0]},
        augmentations__noise={"probability": 0.0, "snr_db": [10.0, 20.0]},
    )
    drawn = [json.loads(text) for text in run()["drawn"]]
    assert 15 < sum("gain" in parameters for parameters in drawn) < 45
    assert not any("noise" in parameters for parameters in drawn)


def test_no_copies_leave_an_empty_index(workspace: Workspace) -> None:
    run()
    workspace.set(augment__copies=0)
    assert run().empty
    assert [path.name for path in AUGMENTED.iterdir()] == [shards.INDEX]


def test_a_second_run_computes_nothing(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    run()
    before = state(AUGMENTED)
    run()
    assert capsys.readouterr().out.splitlines()[-1] == "augment: 3 shards, 3 kept, 0 computed"
    after = state(AUGMENTED)
    assert {name: content for name, (_, content) in after.items()} == {n: c for n, (_, c) in before.items()}
    assert {n: t for n, (t, _) in after.items() if n != shards.INDEX} == {
        n: t for n, (t, _) in before.items() if n != shards.INDEX
    }


def test_the_bytes_do_not_depend_on_the_number_of_workers(workspace: Workspace) -> None:
    run()
    one = contents(AUGMENTED)
    for path in AUGMENTED.iterdir():
        path.unlink()
    workspace.set(compute__workers=2)
    assert "augment: 3 shards, 0 kept, 3 computed" in output(start("augment"))
    assert contents(AUGMENTED) == one


def test_a_copy_depends_only_on_seed_clip_and_number(workspace: Workspace) -> None:
    drawn = run()["drawn"]
    workspace.record(ada=3, bob=1, eve=2)
    workspace.set(augment__copies=2, featurize__clips_per_shard=1)
    more = run()["drawn"]
    assert more[drawn.index].equals(drawn)
    workspace.set(seed=21)
    assert (run()["drawn"][drawn.index] != drawn).all()


def test_another_chain_keeps_the_parameters_of_the_remaining_augmentations(workspace: Workspace) -> None:
    for name in ("gain", "speed", "noise"):
        workspace.params["augmentations"][name]["probability"] = 1.0
    workspace.set()
    before = [json.loads(text) for text in run()["drawn"]]
    workspace.set(augment__chain=["noise", "gain"])
    after = [json.loads(text) for text in run()["drawn"]]
    assert [d["noise"] for d in after] == [d["noise"] for d in before]


def test_one_more_copy_keeps_the_first_ones(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    run()
    workspace.set(augment__copies=2)
    run()
    assert "augment: 6 shards, 3 kept, 3 computed (demo_ada_aug2_000" in capsys.readouterr().out


def test_clips_with_a_problem_get_no_copies(workspace: Workspace) -> None:
    manifest = pd.read_parquet("data/manifest.parquet")
    manifest.loc[manifest["clip"] == "demo/ada_01", "problem"] = "silent: peak -inf dBFS"
    manifest.to_parquet("data/manifest.parquet")
    assert "demo/ada_01" not in run()["parent"].tolist()


@pytest.mark.parametrize(
    ("edited", "n_computed"),
    [
        ("augment.py", 3),
        ("audio/recording.py", 3),
        ("augmentations/gain.py", 3),
        ("data/keys.py", 3),
        ("data/shards.py", 3),
        ("augmentations/stretch.py", 0),  # not in the chain
        ("audio/spectrum.py", 0),
        ("compute/fill.py", 0),
    ],
)
def test_shards_are_computed_again_if_code_that_determines_them_changes(
    workspace: Workspace,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    edited: str,
    n_computed: int,
) -> None:
    run()
    pretend_edit(edited, monkeypatch)
    run()
    assert f"augment: 3 shards, {3 - n_computed} kept" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"augment__chain": ["gain", "gain"]}, r"params\.augment\.chain: 'gain'"),
        ({"augment__chain": ["nose"]}, r"params\.augment\.chain: .*'nose'.*'noise'"),
        ({"augment__chain": []}, r"params\.augment: .*chain"),
        ({"augment__copies": -1}, r"params\.augment\.copies: -1 "),
    ],
)
def test_invalid_parameters_are_an_error(
    workspace: Workspace, changes: dict[str, object], message: str
) -> None:
    workspace.set(**changes)
    with pytest.raises(InputError, match=message):
        augment.main()
