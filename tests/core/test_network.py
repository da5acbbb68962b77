from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from stages.core import network
from stages.core.errors import InputError
from stages.core.inputs import Part

TRAINING = {
    "optimizer": "adam",
    "learning_rate": 0.01,
    "clip_norm": None,
    "epochs": 6,
    "batch_size": 16,
    "class_weights": "balanced",
    "monitor": "loss",
    "patience_epochs": None,
    "plateau": {"patience_epochs": 1, "factor": 0.5, "min_learning_rate": 1e-5},
    "checkpoint_every_epochs": 1,
}


def build() -> keras.Model:
    inputs = keras.Input((4,))
    x = keras.layers.BatchNormalization()(keras.layers.Dense(8, activation="relu")(inputs))
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Dropout(0.3)(x)))


def config(**changes: Any) -> SimpleNamespace:
    return SimpleNamespace(training=network.Training(**TRAINING | changes))


def part(seed: int, n: int = 50) -> Part:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    return Part((rng.normal(size=(n, 4)) + y[:, None]).astype(np.float32), y)


def train(folder: Path, seed: int = 1, **changes: Any) -> bytes:
    folder.mkdir(exist_ok=True)
    network.fit(build, config(**changes), part(0), part(1), folder, seed)
    return (folder / network.FILE).read_bytes()


def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path: Path) -> None:
    first = train(tmp_path / "a")
    assert train(tmp_path / "b") == first
    assert train(tmp_path / "c", seed=2) != first


@pytest.mark.parametrize("stop_before", [1, 3, 5])
def test_a_run_killed_in_an_epoch_ends_with_the_weights_of_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_before: int
) -> None:
    undisturbed = train(tmp_path / "a")
    real_epoch = network._epoch

    def killed(*args: Any) -> dict[str, float]:
        if args[-1] == stop_before:
            raise KeyboardInterrupt
        return real_epoch(*args)

    monkeypatch.setattr(network, "_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "b")
    monkeypatch.setattr(network, "_epoch", real_epoch)
    assert train(tmp_path / "b") == undisturbed
    assert not (tmp_path / "b" / network.CHECKPOINT).exists()


def test_early_stopping_keeps_the_weights_of_the_best_epoch(tmp_path: Path) -> None:
    # A rate this high learns at once and then only gets worse.
    curve = network.fit(
        build,
        config(learning_rate=0.5, epochs=40, patience_epochs=3, plateau=None),
        part(0),
        part(1),
        tmp_path,
        1,
    )
    best = curve["val_loss"].idxmin()
    assert len(curve) == best + 4 < 40
    logits = network.scores(build, None, tmp_path, part(1).x)
    assert network._validate(network._load(build, tmp_path), part(1))["val_loss"] == curve["val_loss"][best]
    assert logits.shape == (50, 3)


def test_plateau_lowers_the_learning_rate_to_its_minimum(tmp_path: Path) -> None:
    plateau = {"patience_epochs": 1, "factor": 0.1, "min_learning_rate": 0.005}
    curve = network.fit(
        build, config(learning_rate=0.5, epochs=15, plateau=plateau), part(0), part(1), tmp_path, 1
    )
    assert curve["learning_rate"].iloc[0] == 0.5
    assert curve["learning_rate"].iloc[-1] == pytest.approx(0.005)


def test_without_validation_all_epochs_run_and_the_last_weights_stay(tmp_path: Path) -> None:
    curve = network.fit(build, config(patience_epochs=1), part(0), None, tmp_path, 1)
    assert len(curve) == TRAINING["epochs"]
    assert "val_uar" not in curve


@pytest.mark.parametrize("validation", [part(1), None])
def test_a_diverging_loss_is_told_with_its_epoch(tmp_path: Path, validation: Part | None) -> None:
    diverging = config(learning_rate=1e30, optimizer="sgd")
    with pytest.raises(InputError, match=r"training diverged, the loss of epoch [12] is not finite\. Lower"):
        network.fit(build, diverging, part(0), validation, tmp_path, 1)
    assert not (tmp_path / network.FILE).exists()


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    train(tmp_path, epochs=1)

    def wider() -> keras.Model:
        inputs = keras.Input((4,))
        return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Dense(99)(inputs)))

    with pytest.raises(InputError, match=r"model\.weights\.h5: no weights of this network"):
        network.scores(partial(wider), None, tmp_path, part(1).x)
