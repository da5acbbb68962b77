"""EfficientNet-Lite0: its size, and that published weights compute what they were trained for."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.datasets import load_sample_image

from stages.base.errors import InputError
from stages.base.params import Params, check
from stages.models import efficientnet_lite0
from stages.tools import convert
from tests.support import shipped
from tests.support.workspace import ROOT

WEIGHTS = ROOT.parent / "shared" / "weights" / "efficientnet_lite0.npz"


@pytest.fixture(scope="module")
def params() -> Params:
    return shipped.read()


@pytest.fixture
def published() -> Path:
    if not WEIGHTS.is_file():
        pytest.skip("needs the ImageNet weights in ../shared/weights, which are not here")
    return WEIGHTS


def config(params: Params) -> efficientnet_lite0.Config:
    return check(
        efficientnet_lite0.Config,
        params.block("models", "efficientnet_lite0"),
        "params.models.efficientnet_lite0",
    )


def test_it_has_the_published_number_of_parameters(params: Params) -> None:
    network = efficientnet_lite0.build(config(params), (64, 64, 1), 1000)
    in_three_colours = 3 * 3 * 2 * 32
    trained = sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)
    assert trained + in_three_colours == 4_652_008  # as timm counts


def test_an_image_too_small_for_the_strides_is_rejected(params: Params) -> None:
    with pytest.raises(InputError, match=r"model: .*31 x 40 by 32"):
        efficientnet_lite0.build(config(params), (31, 40, 1), 8)


@pytest.mark.slow
def test_published_weights_recognise_photographs(params: Params, published: Path) -> None:
    network = efficientnet_lite0.build(config(params), (224, 224, 3), 1000)
    values = convert.efficientnet(str(published))
    values[0] /= convert.COLOUR_STD
    with np.load(published, allow_pickle=False) as arrays:
        network.set_weights([*values, arrays["_fc.weight"].T, arrays["_fc.bias"]])
    found = [int(np.argmax(network(photograph(name))[0])) for name in ("china.jpg", "flower.jpg")]
    assert found == [698, 985]  # palace, daisy


def photograph(name: str) -> np.ndarray:
    """Returns the centre square of a photograph, as the network was trained on: (1, 224, 224, 3)."""
    image = load_sample_image(name)
    side = min(image.shape[:2])
    top, left = ((size - side) // 2 for size in image.shape[:2])
    square = image[top : top + side, left : left + side].astype(np.float32)
    resized = keras.ops.image.resize(square, (224, 224), antialias=True)
    return ((keras.ops.convert_to_numpy(resized) - 127) / 128)[np.newaxis]
