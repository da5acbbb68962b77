from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages import augment, featurize
from stages.audio import recording
from stages.audio.extractor import extractor
from stages.base import npz, params, registry
from stages.base.errors import InputError
from stages.base.files import AUGMENTED, FEATURES, RAW
from stages.data import shards, tables
from stages.learning import trained_fold
from tests.support.workspace import (
    ROOT,
    Workspace,
    contents,
    output,
    pretend_edit,
    pretend_edit_since_loaded,
    start,
    state,
)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    made = Workspace(tmp_path)
    made.set(augment__chain=["gain", "noise"])
    made.record(ada=3, bob=2)
    return made


def run() -> pd.DataFrame:
    augment.main()
    featurize.main()
    return tables.read(FEATURES / shards.INDEX, tables.FEATURES).set_index("clip")


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    """The last line printed."""
    return capsys.readouterr().out.splitlines()[-1]


def test_the_stored_features_are_those_of_the_extractor(workspace: Workspace) -> None:
    index = run().reset_index()
    assert index["clip"].tolist() == [
        f"demo/{clip}" for clip in ("ada_00", "ada_01", "ada_02", "bob_00", "bob_01")
    ]
    assert index["parent"].equals(index["clip"])
    assert index["speaker"].tolist() == ["demo/ada"] * 3 + ["demo/bob"] * 2
    settings = params.read()
    extract = extractor(settings, ["mfcc", "rms"], "test")
    stored = shards.read_features(index, ["mfcc", "rms"], FEATURES)
    for row in index.itertuples():
        features = extract(recording.load_listed(RAW / f"{row.clip}.wav", settings.audio.sample_rate_hz))
        expected = np.hstack([features["mfcc"], features["rms"]])
        assert row.n_frames == len(expected)
        np.testing.assert_allclose(stored[row.clip], expected, atol=1e-4)  # another number of threads


def test_the_index_says_what_the_copies_were_made_with_not_what_params_say_now(workspace: Workspace) -> None:
    workspace.set(augment__copies=1)
    run()
    workspace.set(augmentations__gain={"probability": 1.0, "gain_db": [1.0, 2.0]})
    featurize.main()  # augment is frozen
    index = tables.read(FEATURES / shards.INDEX, tables.FEATURES)
    with pytest.raises(InputError, match=r"^params\.augmentations\.gain\.probability: 1\.0, "):
        trained_fold.check_features(params.read(), ["mfcc"], index)
    run()
    trained_fold.check_features(
        params.read(), ["mfcc"], tables.read(FEATURES / shards.INDEX, tables.FEATURES)
    )


def test_copies_have_their_own_shards(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    workspace.set(augment__copies=1)
    index = run()
    assert "4 shards, 0 kept, 4 computed" in printed(capsys)
    copy = index.loc["demo/bob_01#1"]
    assert (copy["parent"], copy["speaker"]) == ("demo/bob_01", "demo/bob")
    assert copy["shard"].startswith("demo_bob_aug1_000.")
    original = index.loc["demo/bob_01"]
    assert original["shard"].startswith("demo_bob_000.")
    assert copy["n_frames"] == original["n_frames"]  # neither gain nor noise changes the duration
    workspace.set(seed=5)
    run()
    assert "4 shards, 2 kept, 2 computed (demo_ada_aug1_000: 3 clips, demo_bob_aug1_000: 2 clips)" in printed(
        capsys
    )


def test_features_of_a_copy_are_those_of_its_samples(workspace: Workspace) -> None:
    workspace.set(augment__copies=1)
    run()
    copies = tables.read(AUGMENTED / shards.INDEX, tables.AUGMENTED)
    index = tables.read(FEATURES / shards.INDEX, tables.FEATURES)
    stored = shards.read_features(index, ["logmel"], FEATURES)
    extract = extractor(params.read(), ["logmel"], "test")
    shard = shards.read(AUGMENTED / copies.loc[0, "shard"], ["samples", "n_samples", "clips"])
    for clip, samples in zip(shard["clips"], shards.split(shard["samples"], shard["n_samples"]), strict=True):
        np.testing.assert_allclose(stored[str(clip)], extract(samples)["logmel"], atol=1e-4)


def test_one_more_speaker_computes_only_their_shard(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    before = state(FEATURES)
    workspace.record(ada=3, bob=2, eve=4)
    assert len(run()) == 9
    assert printed(capsys) == "featurize: 3 shards, 2 kept, 1 computed (demo_eve_000: 4 clips)"
    after = state(FEATURES)
    assert all(after[name] == before[name] for name in before if name != shards.INDEX)
    workspace.record(ada=3, bob=2)
    run()
    assert printed(capsys) == "featurize: 2 shards, 2 kept, 0 computed"
    assert contents(FEATURES) == {name: content for name, (_, content) in before.items()}


def test_a_second_run_changes_nothing(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    run()
    before = state(FEATURES)
    run()
    assert printed(capsys) == "featurize: 2 shards, 2 kept, 0 computed"
    after = state(FEATURES)
    assert after.pop(shards.INDEX)[1] == before.pop(shards.INDEX)[1]
    assert after == before


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_the_number_of_workers(workspace: Workspace) -> None:
    run()
    one = contents(FEATURES)
    for path in FEATURES.iterdir():
        path.unlink()
    workspace.set(compute__workers=2)
    assert "featurize: 2 shards, 0 kept, 2 computed" in output(start("featurize"))
    assert contents(FEATURES) == one


@pytest.mark.parametrize(
    ("changes", "n_computed"),
    [
        ({"model": "gru", "split__n_folds": 2, "manifest__longest_s": 30.0}, 0),
        ({"features__mfcc__n_mfcc": 13}, 2),
        ({"spectrum__top_db": 60.0}, 2),
        ({"audio__pre_emphasis": 0.97}, 2),
        ({"featurize__features": ["rms"]}, 2),
        ({"featurize__clips_per_shard": 2}, 2),  # ada's three clips become two shards, bob's two stay one
    ],
)
def test_shards_are_computed_again_if_their_content_changes(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], changes: dict[str, object], n_computed: int
) -> None:
    run()
    workspace.set(**changes)
    run()
    assert f"{n_computed} computed" in printed(capsys)


@pytest.mark.parametrize(
    ("edited", "n_computed"),
    [
        ("featurize.py", 2),
        ("audio/extractor.py", 2),
        ("audio/spectrum.py", 2),
        ("data/shards.py", 2),
        ("features/mfcc.py", 2),
        ("audio/vocoder.py", 0),
        ("compute/fill.py", 0),
        ("data/tables.py", 2),  # imported by the script
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
    assert f"featurize: 2 shards, {2 - n_computed} kept" in printed(capsys)


def test_a_changed_recording_is_computed_again(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    (RAW / "demo/bob_00.wav").write_bytes((RAW / "demo/bob_01.wav").read_bytes())
    workspace.record(ada=3, bob=2)
    run()
    assert printed(capsys) == "featurize: 2 shards, 1 kept, 1 computed (demo_bob_000: 2 clips)"


def test_a_usable_recording_that_cannot_be_decoded_is_named(workspace: Workspace) -> None:
    (RAW / "demo/bob_00.wav").write_bytes(b"")
    with pytest.raises(InputError, match=r"data/raw/demo/bob_00\.wav: empty: 0 bytes"):
        run()
    assert [path.name[:12] for path in FEATURES.iterdir()] == ["demo_ada_000"]


def test_copies_of_unlisted_recordings_are_an_error(workspace: Workspace) -> None:
    workspace.set(augment__copies=1)
    augment.main()
    workspace.record(ada=3)
    with pytest.raises(InputError, match=r"'demo/bob_00#1' "):
        featurize.main()


def test_a_damaged_shard_that_no_index_lists_is_computed_again(workspace: Workspace) -> None:
    index = run()
    before = contents(FEATURES)
    damaged(FEATURES / index.loc["demo/ada_00", "shard"])
    (FEATURES / shards.INDEX).unlink()
    assert run().equals(index)
    assert contents(FEATURES) == before


def flipped(path: Path) -> None:
    """Changes a bit of an array in place, which the list of arrays does not show."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def altered(path: Path) -> None:
    with np.load(path) as stored:
        arrays = dict(stored)
    kind = "samples" if "samples" in arrays else "mfcc"
    npz.write(path, **arrays | {kind: 2 * arrays[kind]})


@pytest.mark.parametrize("change", [damaged, flipped, altered])
@pytest.mark.parametrize("folder", [FEATURES, AUGMENTED])
def test_a_shard_that_was_changed_is_computed_again(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], change: Callable[[Path], None], folder: Path
) -> None:
    workspace.set(augment__copies=1)
    run()
    before = contents(folder)
    path = next(folder.glob("demo_ada*.npz"))
    change(path)
    capsys.readouterr()
    run()
    assert contents(folder) == before
    said = capsys.readouterr().out.splitlines()
    of_stage = [
        line for line in said if line.startswith(f"{'augment' if folder == AUGMENTED else 'featurize'}: ")
    ]
    assert ", 1 computed (demo_ada_" in of_stage[0]
    assert [line for line in said if path.name in line and "1 changed" in line]


def test_no_model_is_trained_on_or_tested_with_a_changed_shard(workspace: Workspace) -> None:
    """As with `dvc repro --single-item train`: featurize has not run since."""
    index = run()
    path = FEATURES / index.loc["demo/ada_00", "shard"]
    index = tables.read(FEATURES / shards.INDEX, tables.FEATURES)
    trained_fold.check_features(params.read(), ["mfcc"], index)
    altered(path)
    with pytest.raises(InputError, match=rf"^{path}: .*`dvc repro featurize`"):
        trained_fold.check_features(params.read(), ["mfcc"], index)


@pytest.mark.parametrize(("stage", "folder"), [(featurize, FEATURES), (augment, AUGMENTED)])
def test_nothing_is_computed_by_code_that_was_edited_since_it_was_loaded(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, stage: Any, folder: Path
) -> None:
    workspace.set(augment__copies=1)
    augment.main()
    shutil.rmtree(folder, ignore_errors=True)
    pretend_edit_since_loaded("stages/audio/extractor.py", monkeypatch)
    with pytest.raises(InputError, match=r"^stages/audio/extractor\.py: changed"):
        stage.main()
    assert not [*folder.glob("*.npz")]


@pytest.mark.parametrize(("stage", "folder"), [(featurize, FEATURES), (augment, AUGMENTED)])
def test_what_is_made_of_another_recording_is_not_stored(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, stage: Any, folder: Path
) -> None:
    """As if `dvc checkout` of another commit replaced it after manifest."""
    load = stage.load_listed

    def replaced(path: Path, rate_hz: int) -> Any:
        if path.name == "ada_01.wav":
            path.write_bytes((RAW / "demo/bob_00.wav").read_bytes())
        return load(path, rate_hz)

    workspace.set(augment__copies=int(stage is augment))
    monkeypatch.setattr(stage, "load_listed", replaced)
    with pytest.raises(InputError, match=r"^data/raw/demo/ada_01\.wav: "):
        run()
    assert not list(folder.glob("demo_ada*"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"featurize__features": ["mfc"]}, r"params\.featurize\.features: .*'mfc'.*'mfcc'"),
        (
            {"featurize__features": ["rms", "rms"]},
            r"params\.featurize\.features: 'rms'",
        ),
        ({"featurize__features": []}, r"params\.featurize\.features: \[\] "),
        (
            {"features__mfcc__n_mfcc": 200},
            r"params\.features\.mfcc\.n_mfcc: 200 .*128 mel bands",
        ),
        ({"features__mfcc__n_mfc": 20}, r"params\.features\.mfcc\.n_mfc: .*'n_mfcc'"),
        (
            {"spectrum__fmax_hz": 9000.0},
            r"params: spectrum\.fmax_hz 9000 .*audio\.sample_rate_hz",
        ),
        ({"spectrum__hop_length": 2000}, r"params\.spectrum: hop_length 2000 "),
        ({"spectrum__n_mels": 500}, r"params\.spectrum\.n_mels: .*500 bands"),
    ],
)
def test_invalid_parameters_are_an_error(
    workspace: Workspace, changes: dict[str, object], message: str
) -> None:
    augment.main()
    workspace.set(**changes)
    with pytest.raises(InputError, match=message):
        featurize.main()


def test_a_killed_run_is_resumed(workspace: Workspace) -> None:
    workspace.set(featurize__clips_per_shard=1)
    workspace.record(ada=120)
    augment.main()
    running = start("featurize")
    while len(list(FEATURES.glob("*.npz"))) < 20:
        assert running.poll() is None
        time.sleep(0.002)
    running.kill()
    running.communicate()
    left = sorted(FEATURES.glob("*.npz"))
    assert len(left) < 120
    for path in left:
        shards.read(path, ["logmel", "clips"])
    log = output(start("featurize"))
    assert f"featurize: 120 shards, {len(left)} kept, {120 - len(left)} computed" in log
    resumed = contents(FEATURES)
    for path in FEATURES.iterdir():
        path.unlink()
    featurize.main()
    assert contents(FEATURES) == resumed


def test_no_heavy_library_is_imported(workspace: Workspace) -> None:
    workspace.set(augment__copies=1, augment__chain=registry.names("augmentations"))
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from stages import augment, featurize;"
        "augment.main(); featurize.main();"
        "print('heavy:', {'librosa', 'numba', 'sklearn', 'tensorflow', 'matplotlib'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "heavy: set()"
