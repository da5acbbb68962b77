from __future__ import annotations

import keras
import numpy as np
import pytest

from stages.base.errors import InputError
from stages.base.params import Params, check
from stages.models import resnet34
from tests.support import shipped


@pytest.fixture(scope="module")
def params() -> Params:
    return shipped.read()


def config(params: Params, **changes: object) -> resnet34.Config:
    return check(resnet34.Config, params.block("models", "resnet34") | changes, "params.models.resnet34")


def test_resnet34_has_the_published_number_of_parameters(params: Params) -> None:
    network = resnet34.build(config(params), (64, 64, 1), 1000)
    # torchvision's resnet34 has 21,797,672, with a stem that reads three colours.
    in_three_colours = 7 * 7 * 2 * 64
    trained = sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)
    assert trained + in_three_colours == 21_797_672


def test_an_image_is_halved_five_times(params: Params) -> None:
    network = resnet34.build(config(params), (64, 96, 1), 8)
    pooled = next(layer for layer in network.layers if isinstance(layer, keras.layers.GlobalAveragePooling2D))
    assert pooled.input.shape == (None, 2, 3, 512)
    assert network.output_shape == (None, 8)


def test_an_image_too_small_for_the_strides_is_rejected(params: Params) -> None:
    with pytest.raises(InputError, match=r"model: .*31 x 40 by 32"):
        resnet34.build(config(params), (31, 40, 1), 8)


def test_stages_without_blocks_are_rejected(params: Params) -> None:
    with pytest.raises(InputError, match=r"`blocks` has 2 stages and `filters` 4"):
        config(params, blocks=[1, 1])
