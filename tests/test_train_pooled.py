"""ridge on second-order pooling through train and evaluate."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages import evaluate, train
from stages.base import params
from stages.base.errors import InputError
from stages.base.files import FEATURES, METRICS, MODEL
from stages.learning import trained_fold
from stages.learning.preprocessing import Preprocessor
from stages.learning.training import selected
from tests.support import long_splits, shipped
from tests.support.workspace import Workspace
from tests.test_train import N_DIMS, model_bytes, workspace

__all__ = ["workspace"]


@pytest.fixture
def pooled(workspace: Workspace) -> Workspace:
    covariances = {"streams": ["mfcc"], "basis": "principal", "n_components": 2, "lags_frames": [0, 1]}
    statistics = {"streams": ["mfcc"], "statistics": ["mean", "std"]}
    workspace.set(
        model="ridge",
        train__fold=0,
        models__ridge__inputs__features=["mfcc"],
        models__ridge__pooling={
            "streams": [{"name": "mfcc", "feature": "mfcc", "columns": N_DIMS, "frames": 1}],
            "blocks": [
                block | {"difference_frames": 0, "weight": 0.5} for block in (statistics, covariances)
            ],
        },
    )
    return workspace


@pytest.mark.parametrize(
    ("normalize", "statistics"),
    [
        ("global", "none"),
        ("corpus", "corpus"),
        ("speaker", "speaker"),
        ("enrol", "enrol 5"),
        ("cluster", "cluster 2"),
    ],
)
def test_ridge_is_trained_on_all_but_test_speakers_and_measured(
    pooled: Workspace, normalize: str, statistics: str
) -> None:
    pooled.set(train__normalize=normalize, train__enrolled_clips=5, train__clusters=2)
    train.main()
    evaluate.main()
    record = json.loads((MODEL / "fold_00/fold.json").read_text())
    assert record["n_train"] == 48  # the clips of 4 of 6 speakers
    assert record["n_validation"] == 48  # no copy validates
    assert 0.6 < record["val_uar"] <= 1
    measured = json.loads((METRICS / "test.json").read_text())
    assert measured["statistics"] == record["statistics"] == statistics
    assert json.loads((METRICS / "train.json").read_text())["statistics"] == statistics
    assert measured["uar"] > 0.6  # chance is 1 / 3


@pytest.mark.parametrize("normalize", ["enrol", "cluster"])
def test_means_of_test_speakers_make_their_offsets_harmless(pooled: Workspace, normalize: str) -> None:
    uars = {}
    pooled.set(train__enrolled_clips=100, train__clusters=2)
    for way in ("global", normalize):
        pooled.set(train__normalize=way)
        train.main()
        evaluate.main()
        uars[way] = json.loads((METRICS / "test.json").read_text())["uar"]
    assert uars[normalize] > uars["global"] - 0.05


def test_the_enrolment_curve_ends_at_all_clips(pooled: Workspace) -> None:
    pooled.set(train__normalize="enrol", train__enrolled_clips=32)
    train.main()
    evaluate.main()
    curve = pd.read_csv(METRICS / "enrolment.csv").set_index("clips")["uar"]
    assert curve.index.tolist() == [*evaluate.ENROLLED]
    assert curve[32] == pytest.approx(json.loads((METRICS / "test.json").read_text())["uar"], abs=1e-5)


def test_a_time_axis_and_speakers_means_exclude_each_other(pooled: Workspace) -> None:
    pooled.set(model="gru", train__normalize="enrol")
    with pytest.raises(InputError, match=r"params\.train\.normalize: 'enrol' .*models\.gru\.inputs\.layout"):
        train.main()


def test_speaker_statistics_make_an_offset_of_the_test_speakers_harmless(pooled: Workspace) -> None:
    uars = []
    for offset in (0, 50):
        pooled.set(train__normalize="speaker")
        change_test_clips(lambda frames, offset=offset: frames + offset)
        train.main()
        evaluate.main()
        uars.append(json.loads((METRICS / "test.json").read_text())["uar"])
    assert uars[0] == pytest.approx(uars[1], abs=0.05)


def test_test_clips_change_no_byte_of_the_model(pooled: Workspace) -> None:
    train.main()
    before = model_bytes()
    change_test_clips(lambda frames: 3 - 5 * frames[::-1])
    train.main()
    assert model_bytes() == before
    assert Preprocessor.load(MODEL / "fold_00/preprocessor.npz").shape == (2 * N_DIMS + 3 + 4,)


def test_streams_of_features_that_are_not_inputs_change_nothing(pooled: Workspace) -> None:
    train.main()
    before = model_bytes()["fold_00/ridge.npz"]
    block = pooled.params["models"]["ridge"]["pooling"]
    bands = {"name": "bands", "feature": "logmel", "columns": 64, "frames": 1}
    block["streams"] = [bands, *block["streams"]]
    block["blocks"][0]["streams"].append("bands")
    pooled.set(models__ridge__pooling=block)
    train.main()
    assert model_bytes()["fold_00/ridge.npz"] == before


def test_a_model_is_refused_if_its_streams_have_another_order(pooled: Workspace) -> None:
    block = pooled.params["models"]["ridge"]["pooling"]
    halves = [{"name": name, "feature": "mfcc", "columns": N_DIMS // 2, "frames": 1} for name in ("a", "b")]
    blocks = [each | {"streams": ["a"]} for each in block["blocks"]]
    pooled.set(models__ridge__pooling={"streams": halves, "blocks": blocks})
    train.main()
    assert trained_fold.trained(params.read())
    pooled.set(models__ridge__pooling={"streams": halves[::-1], "blocks": blocks})
    with pytest.raises(InputError, match=r"models.*ridge"):
        trained_fold.trained(params.read())


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("layers", ["f2", "c1", "c2", "c3", "f1", "logmel"], r"byol_s.layers are f2 \(512 columns\), c1"),
        ("layers", ["logmel", "c1"], r"byol_s\.layers are logmel \(512 columns\), c1 \(2048 columns\)\."),
        ("columns", 256, r"byol_s are logmel \(256 columns\)"),
    ],
)
def test_the_streams_of_a_network_are_its_layers(key: str, value: Any, named: str) -> None:
    values = shipped.values() | {"model": "ridge"}
    selected(params.checked(values))
    changed = (
        values["features"]["byol_s"]
        if key == "layers"
        else values["models"]["ridge"]["pooling"]["streams"][0]
    )
    changed[key] = value
    with pytest.raises(InputError, match=rf"params\.models\.ridge\.pooling\.streams: .*{named}"):
        selected(params.checked(values))


def test_a_duration_is_refused_for_frames_of_another_rate() -> None:
    values = shipped.values() | {"model": "gru"}
    inputs = values["models"]["gru"]["inputs"]
    inputs["features"] = ["byol_s"]
    with pytest.raises(InputError, match=r"^params\.models\.gru\.inputs\.duration_s: .*byol_s"):
        selected(params.checked(values))
    inputs["duration_s"] = None
    selected(params.checked(values))


def change_test_clips(change: object) -> None:
    """Applies `change` to the stored frames of fold 0's test clips and of their copies."""
    splits = long_splits.read()
    tested = set(splits.loc[(splits["fold"] == 0) & (splits["role"] == "test"), "clip"])
    stored = dict(np.load(FEATURES / "all.npz"))
    frames = np.split(stored["mfcc"], np.cumsum(stored["n_frames"])[:-1])
    changed = [
        change(each) if str(name).split("#")[0] in tested else each
        for name, each in zip(stored["clips"], frames, strict=True)
    ]
    np.savez(FEATURES / "all.npz", **stored | {"mfcc": np.concatenate(changed).astype(np.float32)})


def test_the_layout_without_its_block_is_an_error(pooled: Workspace) -> None:
    pooled.set(models__ridge__pooling=None)
    with pytest.raises(InputError, match=r"params\.models\.ridge\.pooling: "):
        train.main()
