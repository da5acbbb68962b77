from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from stages.networks.layers import BatchNormalization, MaskedAverage, batch_normalized


@pytest.mark.parametrize("shape", [(6,), (5, 6), (4, 5, 6)])
def test_batch_normalisation_equals_keras_own(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    settings = {"momentum": 0.7, "epsilon": 1e-3}
    ours, theirs = BatchNormalization(**settings), keras.layers.BatchNormalization(**settings)
    for layer in (ours, theirs):
        layer.build((None, *shape))
        layer.set_weights([np.linspace(0.5, 2, 6), np.linspace(-1, 1, 6), np.zeros(6), np.ones(6)])
    for training in (True, True, False):
        x = rng.normal(3, 2, (7, *shape)).astype(np.float32)
        np.testing.assert_allclose(ours(x, training=training), theirs(x, training=training), atol=2e-5)
        for own, expected in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_allclose(own, expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(5, 6), (4, 5, 6)])
def test_batch_normalisation_learns_as_keras_own_and_shares_its_weights(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(3, 2, (16, *shape)).astype(np.float32), rng.normal(size=16).astype(np.float32)

    def trained(kind: type[keras.layers.Layer]) -> keras.Model:
        keras.backend.clear_session()
        keras.utils.set_random_seed(1)
        network = keras.Sequential([keras.Input(shape), kind(name="batch"), keras.layers.Flatten()])
        network.add(keras.layers.Dense(1))
        network.compile(keras.optimizers.SGD(0.01), "mse")
        for _ in range(5):
            network.train_on_batch(x, y)
        return network

    ours, theirs = trained(BatchNormalization), trained(keras.layers.BatchNormalization)
    for own, expected in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(own, expected, rtol=1e-3, atol=1e-4)
    ours.save_weights(tmp_path / "ours.weights.h5")
    theirs.load_weights(tmp_path / "ours.weights.h5")
    np.testing.assert_allclose(theirs.predict_on_batch(x), ours.predict_on_batch(x), atol=1e-4)


def test_batch_normalisation_keeps_half_precision_and_float32_statistics() -> None:
    layer = BatchNormalization(dtype="mixed_bfloat16")
    y = layer(np.random.default_rng(0).normal(size=(8, 3, 4)).astype(np.float32), training=True)
    assert y.dtype == "bfloat16"
    assert {weight.dtype for weight in layer.weights} == {"float32"}


def test_the_moving_statistics_follow_within_an_epoch_of_44_steps() -> None:
    inputs = keras.Input((5, 6))
    network = keras.Model(inputs, batch_normalized(inputs))
    x = np.random.default_rng(0).normal(3, 2, (32, 5, 6)).astype(np.float32)
    for _ in range(44):
        network(x, training=True)
    np.testing.assert_allclose(network(x), network(x, training=True), atol=0.1)


def test_the_average_of_a_clip_without_steps_is_finite_and_others_are_as_kerass() -> None:
    x = np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32)
    mask = np.array([[True, True, False, False], [False] * 4, [True] * 4])
    average = np.asarray(MaskedAverage()(x, mask=mask))
    np.testing.assert_allclose(average, [x[0, :2].mean(0), x[1].mean(0), x[2].mean(0)], rtol=1e-6)
    np.testing.assert_array_equal(MaskedAverage()(x), keras.layers.GlobalAveragePooling1D()(x))
