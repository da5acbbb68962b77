"""Which settings in a network's block of params.yaml can be combined."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.base import registry
from stages.base.errors import InputError
from stages.base.params import Params, check
from stages.learning.preprocessing import Partition
from tests.support import shipped

MASKS = {"n_time_masks": 1, "max_time_fraction": 0.1, "n_frequency_masks": 1, "max_frequency_fraction": 0.1}
FLAT = {"features": ["mfcc"], "layout": "flat", "duration_s": 1.0, "frames_per_step": 1}
TWO_SIZES = [{"from_epoch": 0, "pixels": 16}, {"from_epoch": 1, "pixels": 32}]


@pytest.fixture(scope="module")
def params() -> Params:
    return shipped.read()


def config(params: Params, model: str, training: dict[str, Any], **changes: Any) -> Any:
    """Returns the model's checked block with keys of `training` and of its own changed."""
    block = params.block("models", model)
    block = block | changes | {"training": block["training"] | training}
    return check(registry.load("models", model, "test").Config, block, f"params.models.{model}")


@pytest.mark.parametrize(
    ("model", "training", "changes", "message"),
    [
        (
            "cnn1d",
            {"length_buckets": 2},
            {"inputs": FLAT},
            r"length_buckets.*`inputs\.layout` is flat",
        ),
        (
            "cnn1d",
            {"spec_augment": MASKS},
            {"inputs": FLAT},
            r"length_buckets.*`inputs\.layout` is flat",
        ),
        ("cnn1d", {"length_buckets": 2}, {"summary": "flatten"}, r"summary: flatten.*length_buckets"),
        ("cnn2d", {"resizing": TWO_SIZES}, {"summary": "flatten"}, r"summary: flatten.*resizing"),
        ("cnn2d", {"spec_augment": MASKS}, {}, r"training\.spec_augment: unknown key"),
        ("gru", {"mixup_alpha": 0.2}, {}, r"training\.mixup_alpha: unknown key"),
        ("gru", {"learning_rate_decay": 1.5}, {}, r"training\.learning_rate_decay: 1\.5"),
        ("ann", {"init_from": "../elsewhere"}, {}, r"training\.init_from: '\.\./elsewhere'"),
        ("cnn2d", {"precision": "float16"}, {}, r"training\.precision: 'float16'"),
    ],
)
def test_settings_that_conflict_are_rejected(
    params: Params, model: str, training: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        config(params, model, training, **changes)


@pytest.mark.parametrize(
    ("model", "shape"), [("cnn1d", (7, 42)), ("cnn_lstm", (7, 128)), ("cnn2d", (40, 7, 1))]
)
def test_inputs_too_short_for_the_pooling_are_rejected(
    params: Params, model: str, shape: tuple[int, ...]
) -> None:
    with pytest.raises(InputError, match=r"model: .* by 8"):
        registry.load("models", model, "test").build(config(params, model, {}), shape, 4)


@pytest.mark.parametrize("model", ["cnn1d", "cnn_lstm", "gru", "lstm"])
def test_frame_networks_take_clips_of_any_length(params: Params, model: str) -> None:
    network = registry.load("models", model, "test").build(config(params, model, {}), (None, 42), 4)
    assert network.input_shape == (None, None, 42)
    assert network.output_shape == (None, 4)


@pytest.mark.parametrize("layout", ["flat", pytest.param("mean", marks=pytest.mark.slow)])
def test_convolutions_over_time_train_on_values_in_a_row(params: Params, tmp_path: Path, layout: str) -> None:
    inputs = FLAT | {"layout": layout}
    training = {"epochs": 1, "precision": "float32", "length_buckets": 1, "spec_augment": None}
    chosen = config(params, "cnn1d", training, inputs=inputs)
    entry = registry.load("models", "cnn1d", "test")
    x = np.random.default_rng(0).normal(size=(8, 40)).astype(np.float32)
    data = Partition(x, np.ones(8, int), np.arange(8) % 2, ["anger", "fear"])
    trainer = entry.trainer(chosen)
    curve, _ = trainer.fit(data, data, tmp_path, seed=0)
    assert len(curve) == 1
    assert trainer.load(tmp_path, 2)(data).shape == (8, 2)
