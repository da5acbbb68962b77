"""EfficientNet-Lite0 against the same network in Keras, and mistakes in its settings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import stages.networks.network  # noqa: F401  sets TensorFlow's threads, before a test starts it
from benchmark.speed.clip import lite0_network
from stages.audio.log_mel import log_mel
from stages.audio.spectrum import Spectrum
from stages.base.errors import InputError
from stages.data import keys
from stages.features import efficientnet_lite0
from stages.features.efficientnet_lite0 import N_MELS, WIDTHS, Config, Network
from tests.support import shipped
from tests.support.signals import RATE_HZ, speechlike

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT.parent / "shared" / "weights" / "efficientnet_lite0.npz"
SHIPPED = shipped.read()
SHA256 = SHIPPED.features["efficientnet_lite0"]["sha256"]


@pytest.fixture(scope="module")
def network() -> Network:
    if not WEIGHTS.is_file():
        pytest.skip("needs EfficientNet-Lite0's weights in ../shared/weights, which are not here")
    return efficientnet_lite0.load(str(WEIGHTS), SHA256)


def test_the_layers_equal_those_of_keras(network: Network) -> None:
    taken = log_mel(speechlike(), RATE_HZ, N_MELS)
    layers = network(taken)
    assert {name: frames.shape for name, frames in layers.items()} == {
        name: (13, width) for name, width in WIDTHS.items()
    }
    maps = lite0_network(str(WEIGHTS), SHIPPED)(taken.T[None, :, :, None])
    for name, expected in zip(WIDTHS, maps, strict=True):
        of_keras = np.asarray(expected)[0]
        n_rows, n_times, n_channels = of_keras.shape
        groups = of_keras.reshape(4, n_rows // 4, n_times, n_channels).mean(axis=1)
        by_time = groups.transpose(1, 0, 2).reshape(n_times, -1)
        own = layers[name] if n_times == 13 else layers[name][::2]
        np.testing.assert_allclose(own, by_time, atol=2e-4)
    assert np.array_equal(layers["s5"][0], layers["s5"][1])  # its step is 160 ms


@pytest.mark.parametrize("n_samples", [1, 16_000, 50_001])
def test_its_steps_are_those_of_byol_s(network: Network, n_samples: int) -> None:
    signal = speechlike(n_samples)
    n_steps = len(log_mel(signal, RATE_HZ, n_mels=64)) // 8
    layers = network(log_mel(signal, RATE_HZ, N_MELS))
    assert {len(frames) for frames in layers.values()} == {n_steps}
    assert all(np.isfinite(frames).all() for frames in layers.values())


def test_layers_are_side_by_side(network: Network) -> None:
    spectrum = Spectrum(speechlike(), RATE_HZ, SHIPPED.spectrum)
    config = Config(weights=str(WEIGHTS), sha256=SHA256, layers=["s5", "s3"])
    layers = network(log_mel(speechlike(), RATE_HZ, N_MELS))
    expected = np.concatenate([layers["s5"], layers["s3"]], axis=1)
    assert np.array_equal(efficientnet_lite0.compute(spectrum, config), expected)
    with pytest.raises(InputError, match=r"params\.features\.efficientnet_lite0\.layers: .*'s6'.*s5"):
        efficientnet_lite0.compute(spectrum, config.model_copy(update={"layers": ["s6"]}))


def test_other_weights_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    np.savez(path, a=np.zeros(3))
    with pytest.raises(
        InputError, match=r"params\.features\.efficientnet_lite0\.sha256: 0{64}.*weights\.npz"
    ):
        efficientnet_lite0.load(str(path), "0" * 64)
    sha256 = keys.sha256(path)
    with pytest.raises(InputError, match=r"weights\.npz: not the arrays of EfficientNet-Lite0"):
        efficientnet_lite0.load(str(path), sha256)
