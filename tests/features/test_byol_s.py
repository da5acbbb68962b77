"""BYOL-S against the same network in Keras, and what must not change its frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmark.speed.clip import byol_s_network
from stages.audio.log_mel import log_mel
from stages.audio.spectrum import Spectrum
from stages.base import params
from stages.base.errors import InputError
from stages.features import byol_s
from tests.support import shipped
from tests.support.signals import RATE_HZ, speechlike

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT.parent / "shared" / "weights" / "byol_s.npz"
SHA256 = shipped.read().features["byol_s"]["sha256"]


@pytest.fixture(scope="module")
def network() -> byol_s.Network:
    if not WEIGHTS.is_file():
        pytest.skip("needs BYOL-S's weights in ../shared/weights, which are not here")
    return byol_s.load(str(WEIGHTS), SHA256)


def of_keras(log_mel: np.ndarray) -> np.ndarray:
    """The published network layer by layer: returns `f2`, (n_steps, 512)."""
    model = byol_s_network(np.load(WEIGHTS, allow_pickle=False))
    return np.asarray(model(log_mel[None, :, :, None])[-1])[0]


def test_the_layers_equal_those_of_keras(network: byol_s.Network) -> None:
    taken = log_mel(speechlike(), RATE_HZ, byol_s.N_MELS)
    layers = network(taken)
    np.testing.assert_allclose(layers["f2"], of_keras(taken), atol=1e-4)
    assert {name: frames.shape for name, frames in layers.items()} == {
        name: (len(taken) // 8, width) for name, width in byol_s.WIDTHS.items()
    }


def test_weights_with_another_checksum_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    np.savez(path, a=np.zeros(3))
    with pytest.raises(InputError, match=r"params\.features\.byol_s\.sha256: 0{64}.*weights\.npz"):
        byol_s.load(str(path), "0" * 64)
    with pytest.raises(InputError, match=r"params\.features\.byol_s\.weights: 'nowhere\.npz'"):
        byol_s.load("nowhere.npz", "0" * 64)


def test_an_unknown_layer_is_an_error(network: byol_s.Network) -> None:
    settings = params.Spectrum(
        n_fft=1024, hop_length=256, n_mels=64, fmin_hz=0.0, fmax_hz=8000.0, top_db=80.0
    )
    config = byol_s.Config(weights=str(WEIGHTS), sha256=SHA256, layers=["f3"])
    with pytest.raises(InputError, match=r"params\.features\.byol_s\.layers: .*'f3'.*f2"):
        byol_s.compute(Spectrum(speechlike(), RATE_HZ, settings), config)
