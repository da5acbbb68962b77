"""Frames of a small encoder that the test builds, against the same computed by hand, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.audio.spectrum import Spectrum
from stages.base.errors import InputError
from stages.data import keys
from stages.features import onnx
from tests.support import shipped

ROOT = Path(__file__).resolve().parents[2]
RATE_HZ, WINDOW, HOP, N_DIMS = 16_000, 400, 320, 5
KERNEL = np.random.default_rng(4).normal(0, 0.1, (N_DIMS, 1, WINDOW)).astype(np.float32)
SPECTRUM = shipped.read().spectrum


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A convolution with the window and hop of wav2vec 2.0; also its transpose, and the waveform."""
    helper = pytest.importorskip("onnx.helper")
    numpy_helper = pytest.importorskip("onnx.numpy_helper")
    pytest.importorskip("onnxruntime")
    wave = helper.make_tensor_value_info("wave", 1, [1, "n_samples"])
    outs = [helper.make_tensor_value_info(name, 1, [1, None, None]) for name in ("frames", "channels_first")]
    outs += [helper.make_tensor_value_info("flat", 1, [1, None])]
    axis = numpy_helper.from_array(np.array([1], np.int64), "axis")
    graph = helper.make_graph(
        [
            helper.make_node("Unsqueeze", ["wave", "axis"], ["channel"]),
            helper.make_node("Conv", ["channel", "kernel"], ["channels_first"], strides=[HOP]),
            helper.make_node("Transpose", ["channels_first"], ["frames"], perm=[0, 2, 1]),
            helper.make_node("Identity", ["wave"], ["flat"]),
        ],
        "encoder",
        [wave],
        outs,
        [axis, numpy_helper.from_array(KERNEL, "kernel")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path_factory.mktemp("encoder") / "encoder.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def config(encoder: Path, **changes: Any) -> onnx.Config:
    block = shipped.read().features["onnx"]
    return onnx.Config(**block | {"model": str(encoder), "sha256": keys.sha256(encoder)} | changes)


def speech(n_samples: int = RATE_HZ) -> np.ndarray:
    return np.random.default_rng(2).normal(0.05, 0.1, n_samples).astype(np.float32)


def by_hand(signal: np.ndarray) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(signal, WINDOW)[::HOP]
    return np.asarray(windows @ KERNEL[:, 0].T)


def test_frames_are_those_of_the_encoder_at_its_own_rate(encoder: Path) -> None:
    signal = speech()
    frames = onnx.compute(Spectrum(signal, RATE_HZ, SPECTRUM), config(encoder))
    assert frames.dtype == np.float32 and len(frames) == 1 + (RATE_HZ - WINDOW) // HOP
    np.testing.assert_allclose(frames, by_hand(signal), atol=1e-5)
    chosen = config(encoder, output="channels_first")
    np.testing.assert_allclose(onnx.compute(Spectrum(signal, RATE_HZ, SPECTRUM), chosen), frames.T, atol=1e-6)


def test_a_standardised_waveform_has_no_offset_and_no_level(encoder: Path) -> None:
    signal = speech()
    chosen = config(encoder, standardize=True)
    frames = onnx.compute(Spectrum(signal, RATE_HZ, SPECTRUM), chosen)
    louder = onnx.compute(Spectrum(3 * signal + np.float32(0.2), RATE_HZ, SPECTRUM), chosen)
    np.testing.assert_allclose(louder, frames, atol=1e-4)
    np.testing.assert_allclose(frames, by_hand((signal - signal.mean()) / signal.std()), atol=1e-4)


@pytest.mark.parametrize("n_samples", [0, 1, 399, 48_001])
def test_every_recording_has_a_frame_at_the_encoders_rate(encoder: Path, n_samples: int) -> None:
    frames = onnx.compute(Spectrum(speech(n_samples), 48_000, SPECTRUM), config(encoder))
    n_taken = max(round(n_samples / 3), round(0.1 * RATE_HZ))
    assert frames.shape == (1 + (n_taken - WINDOW) // HOP, N_DIMS) and np.isfinite(frames).all()


def test_another_file_than_the_checksums_is_an_error_that_says_its_own(encoder: Path) -> None:
    spectrum = Spectrum(speech(), RATE_HZ, SPECTRUM)
    for given in (None, "0" * 64):
        with pytest.raises(
            InputError, match=rf"params\.features\.onnx\.sha256: {given}.*{keys.sha256(encoder)}"
        ):
            onnx.compute(spectrum, config(encoder, sha256=given))
    with pytest.raises(InputError, match=r"params\.features\.onnx\.model: 'nowhere\.onnx'"):
        onnx.compute(spectrum, config(encoder, model="nowhere.onnx"))


def test_what_is_no_encoder_is_an_error(encoder: Path, tmp_path: Path) -> None:
    spectrum = Spectrum(speech(), RATE_HZ, SPECTRUM)
    with pytest.raises(InputError, match=r"encoder\.onnx.*'?nothing"):
        onnx.compute(spectrum, config(encoder, output="nothing"))
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(encoder.read_bytes()[:50])
    with pytest.raises(InputError, match=r"broken\.onnx"):
        onnx.compute(spectrum, config(broken))
    with pytest.raises(InputError, match=r"params\.features\.onnx\.output.*\(1, 16000\)"):
        onnx.compute(spectrum, config(encoder, output="flat"))
    with pytest.raises(InputError, match=r"encoder\.onnx"):
        onnx.compute(Spectrum(speech(10), RATE_HZ, SPECTRUM), config(encoder, shortest_s=0.0001))
