"""An exported file gives the pipeline's probabilities, from samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.base import params
from stages.base.errors import InputError
from stages.inference import workspace
from tests.faults import trained
from tests.test_train import N_DIMS, RATE_HZ, syllables

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra `export`")
pytest.importorskip("tf2onnx", reason="needs the extra `export`")
AS_RECORDED: dict[str, Any] = {"audio__trim_db": None, "audio__level_db": None}
MOST = 1e-4  # that a probability may differ


def inputs(layout: str, **changes: Any) -> dict[str, Any]:
    return {"features": ["mfcc"], "layout": layout, "duration_s": 0.08, "frames_per_step": 1} | changes


MODELS: dict[str, dict[str, Any]] = {
    "svm": {},
    "mlp": {},
    "ann": {"models__ann__inputs": inputs("flat")},
    "cnn1d": {},
    "gru": {"models__gru__units": [4], "models__gru__dense": [4], "models__gru__inputs": inputs("frames")},
    "cnn2d": {
        "models__cnn2d__inputs": inputs("image", duration_s=0.4),
        "models__cnn2d__training__resizing": [{"from_epoch": 0, "pixels": 16}],
    },
}


@pytest.mark.parametrize(
    "name", [name if name == "svm" else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
)
def test_an_exported_file_gives_the_pipelines_probabilities(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.export import file

    monkeypatch.chdir(tmp_path)
    trained.leave(tmp_path, name, features__mfcc__n_mfcc=N_DIMS, **AS_RECORDED, **MODELS[name])
    file.write(params.read(), Path("whole.onnx"), None)
    session, model = onnxruntime.InferenceSession("whole.onnx"), workspace.bundle(params.read())
    assert session.get_modelmeta().custom_metadata_map == {
        "classes": "anger,fear,sadness",
        "sample_rate_hz": "16000",
    }
    for seconds in (0.1, 0.35, 1.0, 2.1):
        clip = syllables(seconds).astype(np.float32)
        (found,) = session.run(None, {"input": clip})
        expected = [*model.predict(clip, RATE_HZ).probabilities.values()]
        np.testing.assert_allclose(found, expected, atol=MOST)


def test_what_has_no_graph_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stages.export import file
    from stages.export.front_end import FrontEnd

    monkeypatch.chdir(tmp_path)
    trained.leave(tmp_path, "svm", features__mfcc__n_mfcc=N_DIMS)
    chosen = params.read()
    with pytest.raises(InputError, match=r"^--fold: no '7'"):
        file.write(chosen, Path("x.onnx"), 7)
    as_recorded = chosen.audio.model_copy(update={"trim_db": None, "level_db": None})
    with pytest.raises(InputError, match="'byol_s' has no graph, only chroma, logmel"):
        FrontEnd(as_recorded, chosen.spectrum, {"byol_s": None})
    with pytest.raises(InputError, match=r"^params\.audio\.level_db: has no graph"):
        FrontEnd(as_recorded.model_copy(update={"level_db": -20.0}), chosen.spectrum, {})


def test_every_feature_but_the_frozen_network_is_the_extractors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.audio import extractor
    from stages.export.front_end import COMPUTED, FrontEnd
    from tests.support.workspace import Workspace

    monkeypatch.chdir(tmp_path)
    Workspace(tmp_path).set(audio__pre_emphasis=0.97, **AS_RECORDED)
    chosen = params.read()
    clip = syllables(1.3).astype(np.float32)
    clip -= clip.mean()
    expected = extractor.extractor(chosen, sorted(COMPUTED), "params.featurize.features")(clip)
    for name, frames in expected.items():
        config = chosen.config("features", name, "params.featurize.features")
        found = FrontEnd(chosen.audio, chosen.spectrum, {name: config})(clip)
        np.testing.assert_allclose(found, frames, atol=2e-2 if name in ("logmel", "mfcc") else 1e-4)
