"""An exported file gives the pipeline's probabilities, from samples."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.audio import speech
from stages.base import params
from stages.base.errors import InputError
from stages.inference import workspace
from tests.faults import trained
from tests.test_train import N_DIMS, RATE_HZ, syllables

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra `export`")
pytest.importorskip("tf2onnx", reason="needs the extra `export`")
ROOT = Path(__file__).resolve().parents[2]
MOST = 1e-4  # that a probability may differ
FACTS = {"classes": "anger\nfear\nsadness", "sample_rate_hz": "16000"}  # a label may have a comma


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


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns the folder of a model's run, which is trained once."""

    @cache
    def run(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            trained.leave(folder, name, features__mfcc__n_mfcc=N_DIMS, **MODELS[name])
        return folder

    return run


@pytest.mark.parametrize(
    "name", [name if name == "svm" else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
)
def test_an_exported_file_gives_the_pipelines_probabilities(
    name: str, finished: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.export import file

    monkeypatch.chdir(finished(name))
    file.write(params.read(), Path("whole.onnx"), None)
    session = onnxruntime.InferenceSession("whole.onnx")
    assert session.get_modelmeta().custom_metadata_map == FACTS
    check_equal(lambda clip: session.run(None, {"input": clip})[0])


@pytest.mark.parametrize(
    "name", [name if name == "svm" else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
)
def test_so_does_a_litert_file(
    name: str, finished: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="needs the extra `dev`")
    from stages.export import file

    monkeypatch.chdir(finished(name))
    out = Path("whole.tflite")
    if name == "gru":
        with pytest.raises(InputError, match="recurrent layers"):
            file.write(params.read(), out, None, "litert")
        assert not out.exists()
        return
    file.write(params.read(), out, None, "litert")
    with zipfile.ZipFile(out) as archive:
        assert {name: archive.read(name).decode() for name in archive.namelist()} == FACTS
    run = interpreter.Interpreter(str(out)).get_signature_runner()
    check_equal(lambda clip: run(input=clip)["output"])


# Runs differ in the order of Python's sets, which their hash seeds decide.
EXPORT = "from pathlib import Path; from stages.base.params import read; from stages.export import file;"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["svm", "cnn1d", "gru", "cnn2d"])
def test_another_run_writes_the_same_bytes(
    name: str, finished: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished(name))
    for seed in ("1", "2", "3"):
        command = [sys.executable, "-c", f"{EXPORT} file.write(read(), Path('{seed}.onnx'), None)"]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed}
        subprocess.run(command, env=environment, check=True, capture_output=True)
    assert len({Path(f"{seed}.onnx").read_bytes() for seed in (1, 2, 3)}) == 1


RESIZED = """
import hashlib, sys
from pathlib import Path
import tensorflow as tf
import numpy as np, onnxruntime
from stages.export import graph, onnx
x = np.random.default_rng(0).normal(size=(3, 25, 40, 1)).astype(np.float32)
onnx.convert(graph.resizing(25, 40, 16), (None, None, 40, 1), Path(sys.argv[1]))
(ours,) = onnxruntime.InferenceSession(sys.argv[1]).run(None, {"input": x})
theirs = tf.image.resize(x, (16, 16), antialias=True)
np.testing.assert_allclose(ours, theirs, atol=1e-5)
print(hashlib.sha256(Path(sys.argv[1]).read_bytes()).hexdigest())
"""


@pytest.mark.slow
def test_an_image_is_resized_as_in_training_with_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    hashes = set()
    for seed in ("0", "1", "5"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", RESIZED, str(tmp_path / f"{seed}.onnx")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        hashes.add(done.stdout)
    assert len(hashes) == 1


@pytest.mark.slow
def test_renaming_a_graph_changes_no_score(
    finished: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.export import canonical, file

    monkeypatch.chdir(finished("svm"))
    clip = quiet_around(syllables(1.0))
    scores = []
    for number, rename in enumerate((canonical.rename, lambda _: None)):
        monkeypatch.setattr(canonical, "rename", rename)
        file.write(params.read(), Path(f"{number}.onnx"), None)
        scores.append(onnxruntime.InferenceSession(f"{number}.onnx").run(None, {"input": clip})[0])
    np.testing.assert_array_equal(*scores)


def check_equal(answer: Callable[[np.ndarray], np.ndarray]) -> None:
    """Checks the answers to clips of several lengths against the workspace's."""
    model = workspace.bundle(params.read())
    for seconds in (0.1, 0.35, 1.0, 2.1):
        clip = quiet_around(syllables(seconds))
        expected = [*model.predict(clip, RATE_HZ).probabilities.values()]
        np.testing.assert_allclose(answer(clip), expected, atol=MOST)


def test_what_has_no_graph_is_refused(
    finished: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.export import file
    from stages.export.front_end import FrontEnd

    monkeypatch.chdir(finished("svm"))
    chosen = params.read()
    with pytest.raises(InputError, match=r"^--fold: no '7'"):
        file.write(chosen, Path("x.onnx"), 7)
    with pytest.raises(InputError, match="'byol_s' has no graph, only chroma, logmel"):
        FrontEnd(chosen.audio, chosen.spectrum, {"byol_s": None})


@pytest.mark.parametrize(
    ("name", "to", "message"),
    [
        ("params.yaml", "onnx", r"^params\.yaml: not a name for 'onnx'. Choose one that ends in \.onnx"),
        ("new", "onnx", "^new: not a name for 'onnx'"),
        ("mine.onnx", "litert", r"^mine\.onnx: not a name for 'litert'. Choose one that ends in \.tflite"),
        ("mine.onnx", "onnx", r"^mine\.onnx: exists and was not written by `ser export`"),
        ("mine.tflite", "litert", r"^mine\.tflite: exists and was not written by `ser export`"),
    ],
)
def test_no_file_but_an_earlier_export_is_replaced(
    name: str, to: str, message: str, finished: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.export import file

    monkeypatch.chdir(finished("svm"))
    for mine in ("mine.onnx", "mine.tflite"):
        Path(mine).write_bytes(b"an encoder")
    before = {path: path.read_bytes() for path in Path.cwd().iterdir() if path.is_file()}
    with pytest.raises(InputError, match=message):
        file.write(params.read(), Path(name), None, to)
    assert {path: path.read_bytes() for path in Path.cwd().iterdir() if path.is_file()} == before


@pytest.mark.parametrize(("name", "to"), [("again.onnx", "onnx"), ("again.tflite", "litert")])
def test_an_earlier_export_is_replaced(
    name: str, to: str, finished: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the same bytes, if it is ONNX; that another process writes them too is a slow test."""
    from stages.export import file

    monkeypatch.chdir(finished("svm"))
    exported = []
    for _ in range(2):
        before = Path(name).stat().st_ino if Path(name).exists() else None
        file.write(params.read(), Path(name), None, to)
        exported.append(Path(name).read_bytes())
    assert Path(name).stat().st_ino != before
    if to == "onnx":
        assert exported[0] == exported[1]
        session = onnxruntime.InferenceSession(name)
        assert [each.name for each in (*session.get_inputs(), *session.get_outputs())] == ["input", "output"]


def test_a_model_that_needs_other_recordings_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.export import file

    monkeypatch.chdir(tmp_path)
    trained.leave(tmp_path, "svm", features__mfcc__n_mfcc=N_DIMS, train__normalize="speaker")
    with pytest.raises(InputError, match=r"^params\.train\.normalize: 'speaker'"):
        file.write(params.read(), Path("x.onnx"), None)
    assert not Path("x.onnx").exists()


@pytest.mark.parametrize(("trim_db", "level_db"), [(30.0, -20.0), (30.0, None), (None, -20.0), (None, None)])
def test_every_feature_but_the_frozen_network_is_the_extractors(
    trim_db: float | None, level_db: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.audio import extractor
    from stages.export.front_end import COMPUTED, FrontEnd
    from tests.support.workspace import Workspace

    monkeypatch.chdir(tmp_path)
    Workspace(tmp_path).set(audio__pre_emphasis=0.97, audio__trim_db=trim_db, audio__level_db=level_db)
    chosen = params.read()
    clip = quiet_around(syllables(1.3))
    clip -= clip.mean()
    expected = extractor.extractor(chosen, sorted(COMPUTED), "params.featurize.features")(clip)
    for name, frames in expected.items():
        config = chosen.config("features", name, "params.featurize.features")
        found = FrontEnd(chosen.audio, chosen.spectrum, {name: config})(clip)
        np.testing.assert_allclose(found, frames, atol=2e-2 if name in ("logmel", "mfcc") else 1e-4)


@pytest.mark.parametrize("n_samples", [1, 100, 320, 641, 1000, 1280, 1600, 1919, 4801, 20_011])
def test_short_recordings_and_silence_are_trimmed_and_levelled_as_in_the_pipeline(n_samples: int) -> None:
    from stages.export import front_end

    audio = params.Audio(sample_rate_hz=RATE_HZ, trim_db=30.0, level_db=-20.0, pre_emphasis=0.0)
    noise = np.random.default_rng(n_samples).normal(0, 1e-4, n_samples)
    fading = noise + syllables(1.3)[-n_samples:] * np.linspace(0, 1, n_samples) ** 4
    for clip in (fading.astype(np.float32), np.zeros(n_samples, np.float32)):
        np.testing.assert_allclose(
            front_end.speech_of(clip, audio), speech.speech(clip, RATE_HZ, audio), rtol=1e-6
        )


def quiet_around(samples: np.ndarray) -> np.ndarray:
    """Returns the samples, float32, between half a second of faint noise and three quarters of one."""
    padded = np.pad(samples, (RATE_HZ // 2 + 5, RATE_HZ * 3 // 4))
    return (padded + np.random.default_rng(4).normal(0, 1e-4, len(padded))).astype(np.float32)
