from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from pydantic import ValidationError
from scipy.special import log_softmax

from stages.base.errors import InputError
from stages.base.files import PRETRAINED
from stages.base.params import Training
from stages.data import processor
from stages.learning.preprocessing import Partition
from stages.learning.record import RECORD
from stages.networks import checkpoint, network, precision, weights
from stages.networks.frames import FrameTrainer, FrameTraining, SpecAugment
from stages.networks.images import ImageAugment, ImageTrainer, ImageTraining, mixup
from stages.networks.network import NetworkTrainer

TRAINING = {
    "optimizer": "adam",
    "learning_rate": 0.01,
    "learning_rate_decay": 1.0,
    "precision": "float32",
    "clip_norm": None,
    "epochs": 6,
    "batch_size": 16,
    "class_weights": "balanced",
    "monitor": "loss",
    "patience_epochs": None,
    "plateau": {"patience_epochs": 1, "factor": 0.5, "min_learning_rate": 1e-5},
    "checkpoint_every_epochs": 1,
    "init_from": None,
}
CLASSES = ["anger", "fear", "sadness"]


def build(input_shape: tuple[int | None, ...], n_classes: int, n_hidden: int = 8) -> keras.Model:
    """Returns a network of anything: pooled over all axes but the last."""
    x = inputs = keras.Input(input_shape)
    x = keras.layers.BatchNormalization()(keras.layers.Dense(n_hidden, activation="relu")(x))
    if len(input_shape) > 1:
        x = keras.ops.mean(x, axis=tuple(range(1, len(input_shape))))
    return keras.Model(inputs, keras.layers.Dense(n_classes, dtype="float32")(keras.layers.Dropout(0.3)(x)))


def plain(function: weights.Build = build, **changes: Any) -> NetworkTrainer:
    return NetworkTrainer(function, Training(**TRAINING | changes))


def of_frames(function: weights.Build = build, **changes: Any) -> FrameTrainer:
    settings = TRAINING | {"length_buckets": 1, "spec_augment": None} | changes
    return FrameTrainer(function, FrameTraining(**settings))


def of_images(function: weights.Build = build, **changes: Any) -> ImageTrainer:
    settings = TRAINING | {"mixup_alpha": None, "image_augment": None, "resizing": []} | changes
    return ImageTrainer(function, ImageTraining(**settings))


def part(seed: int, n: int = 50) -> Partition:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    x = (rng.normal(size=(n, 4)) + y[:, None]).astype(np.float32)
    return Partition(x, np.ones(n, int), y, CLASSES)


def images(seed: int, n: int = 24) -> Partition:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    x = (rng.normal(size=(n, 12, 10, 1)) + y[:, None, None, None]).astype(np.float32)
    return Partition(x, np.full(n, 12), y, CLASSES)


def clips(seed: int, n: int = 40, n_steps: int = 20) -> Partition:
    """Returns clips of 4 to 20 steps, padded with zeros."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    x = (rng.normal(size=(n, n_steps, 5)) + y[:, None, None]).astype(np.float32)
    lengths = rng.integers(4, n_steps + 1, n)
    for row, length in zip(x, lengths, strict=True):
        row[length:] = 0
    return Partition(x, lengths, y, CLASSES)


def select(data: Partition, used: slice) -> Partition:
    return Partition(data.x[used], data.lengths[used], data.y[used], data.classes)


def train(folder: Path, seed: int = 1, **changes: Any) -> bytes:
    folder.mkdir(exist_ok=True)
    plain(**changes).fit(part(0), part(1), folder, seed)
    return (folder / network.FILE).read_bytes()


def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path: Path) -> None:
    first = train(tmp_path / "a")
    assert train(tmp_path / "b") == first
    assert train(tmp_path / "c", seed=2) != first


def test_the_learning_curve_can_be_followed_epoch_by_epoch(tmp_path: Path) -> None:
    curves: list[pd.DataFrame] = []
    whole, _ = plain(epochs=3).fit(part(0), part(1), tmp_path, 1, curves.append)
    assert [len(curve) for curve in curves] == [1, 2, 3]
    pd.testing.assert_frame_equal(curves[-1], whole)


WAYS = {
    "dense": (plain(), part),
    "continued": (plain(init_from="before"), part),
    "frames": (
        of_frames(
            length_buckets=4,
            spec_augment={
                "n_time_masks": 1,
                "max_time_fraction": 0.3,
                "n_frequency_masks": 1,
                "max_frequency_fraction": 0.3,
            },
        ),
        clips,
    ),
    "images": (
        of_images(
            mixup_alpha=0.4,
            image_augment={"rotation_deg": 5.0, "zoom": 0.1, "brightness": 0.5},
            resizing=[{"from_epoch": 0, "pixels": 8}, {"from_epoch": 3, "pixels": 12}],
        ),
        images,
    ),
}


@pytest.mark.parametrize(
    "way", [way if way == "frames" else pytest.param(way, marks=pytest.mark.slow) for way in WAYS]
)
def test_a_run_killed_in_the_middle_of_two_epochs_ends_with_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.chdir(tmp_path)
    trainer, make = WAYS[way]
    if trainer.started_from is not None:
        pretrained(PRETRAINED / trainer.started_from, CLASSES)

    def fit(folder: str) -> bytes:
        Path(folder).mkdir(exist_ok=True)
        trainer.fit(make(0), make(1), Path(folder), 1)
        return (Path(folder) / network.FILE).read_bytes()

    undisturbed = fit("a")
    real = NetworkTrainer.batches
    for stop_in in (1, 4):

        def killed(self: NetworkTrainer, train: Partition, epoch: int, *args: Any) -> Iterator[Any]:
            yield from itertools.islice(real(self, train, epoch, *args), 1 if epoch == stop_in else None)  # noqa: B023
            if epoch == stop_in:  # noqa: B023
                raise KeyboardInterrupt

        monkeypatch.setattr(NetworkTrainer, "batches", killed)
        with pytest.raises(KeyboardInterrupt):
            fit("b")
        assert checkpoint.read_progress(Path("b", checkpoint.FILE)).epoch == stop_in
    monkeypatch.setattr(NetworkTrainer, "batches", real)
    seconds = checkpoint.read_progress(Path("b", checkpoint.FILE)).seconds
    _, facts = trainer.fit(make(0), make(1), Path("b"), 1)
    assert facts["earlier_s"] == seconds > 0
    assert Path("b", network.FILE).read_bytes() == undisturbed
    assert not Path("b", checkpoint.FILE).exists()


@cache
def weights_of_other_clips() -> bytes:
    """Returns the file of weights trained on other clips, of three classes of any name."""
    with TemporaryDirectory() as folder:
        plain().fit(part(7), None, Path(folder), 9)
        return Path(folder, network.FILE).read_bytes()


def pretrained(folder: Path, classes: list[str]) -> Path:
    """Leaves `folder` as a training on other clips would."""
    folder.mkdir(parents=True)
    (folder / network.FILE).write_bytes(weights_of_other_clips())
    (folder / RECORD).write_text(json.dumps({"classes": classes}))
    return folder


def test_training_starts_from_given_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pretrained(PRETRAINED / "before", CLASSES)
    still = plain(init_from="before", optimizer="sgd", learning_rate=1e-30, epochs=1)
    still.fit(part(0), None, tmp_path, 1)
    before = plain().load(PRETRAINED / "before", 3)(part(1))
    after = plain().load(tmp_path, 3)(part(1))
    # The statistics of batch normalisation move in an epoch, the weights do not.
    assert (before.argmax(axis=1) == after.argmax(axis=1)).mean() > 0.8


def test_a_linked_folder_of_initial_weights_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    elsewhere = pretrained(tmp_path / "elsewhere", CLASSES)
    PRETRAINED.mkdir(parents=True)
    (PRETRAINED / "before").symlink_to(elsewhere)
    with pytest.raises(InputError, match=r"^data/pretrained/before: a link"):
        plain(init_from="before").fit(part(0), None, tmp_path, 1)


def test_initial_weights_of_other_labels_give_those_of_shared_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = pretrained(PRETRAINED / "before", ["calm", "fear", "sadness"])
    fresh, source = build((4,), 3), build((4,), 3)
    source.load_weights(folder / network.FILE)
    random = [np.array(value) for value in fresh.layers[-1].get_weights()]
    weights.start(fresh, "before", build, CLASSES)
    for ours, theirs in zip(fresh.layers[:-1], source.layers[:-1], strict=True):
        for value, expected in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_array_equal(value, expected)
    for value, expected, new in zip(
        fresh.layers[-1].get_weights(), source.layers[-1].get_weights(), random, strict=True
    ):
        np.testing.assert_array_equal(value[..., 1:], expected[..., 1:])
        np.testing.assert_array_equal(value[..., 0], new[..., 0])


@pytest.mark.parametrize(
    ("classes", "changes", "message"),
    [
        (
            ["calm", "disgust", "surprise"],
            {},
            r"before: .*calm, disgust, surprise, .*anger, fear",
        ),
        (CLASSES, {"n_hidden": 9}, r"before/model\.weights\.h5: "),
        (
            None,
            {},
            r"init_from: data/pretrained/before .*\.h5",
        ),
    ],
)
def test_initial_weights_that_do_not_fit_are_rejected(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    classes: list[str] | None,
    changes: dict[str, int],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if classes is not None:
        pretrained(PRETRAINED / "before", classes)
    with pytest.raises(InputError, match=message):
        plain(partial(build, **changes), init_from="before").fit(part(0), None, tmp_path, 1)
    assert not (tmp_path / network.FILE).exists()


def test_the_learning_rate_decays_with_every_epoch(tmp_path: Path) -> None:
    curve, _ = plain(learning_rate_decay=0.9, plateau=None).fit(part(0), part(1), tmp_path, 1)
    assert curve["learning_rate"].to_list() == pytest.approx([0.01 * 0.9**i for i in range(6)])


def test_scores_of_a_clip_do_not_depend_on_its_batch(tmp_path: Path) -> None:
    trainer = of_frames(length_buckets=4)
    trainer.fit(clips(0), clips(1), tmp_path, 1)
    model = trainer.load(tmp_path, 3)
    together = model(clips(2))
    (tmp_path / network.FILE).unlink()  # it was read
    alone = [model(select(clips(2), slice(i, i + 1))) for i in range(9)]
    np.testing.assert_allclose(together[:9], np.concatenate(alone), rtol=1e-5)


def test_folds_are_applied_without_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path / "fold", epochs=1)
    monkeypatch.setattr(tf.get_logger(), "propagate", True)
    for _ in range(7):  # from the fifth on, TensorFlow took them for one function that is traced too often
        plain().load(tmp_path / "fold", n_classes=3)(part(0))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_buckets_hold_every_clip_once_and_cut_only_padding() -> None:
    data = clips(3)
    trainer = of_frames(length_buckets=4)
    groups = trainer.groups(data)
    assert sorted(np.concatenate(groups)) == [*range(len(data))]
    assert [trainer.batch(data, group, 0).shape[1] for group in groups] == [5, 10, 15, 20]
    for n_steps, group in zip([5, 10, 15, 20], groups, strict=True):
        assert (data.x[group, n_steps:] == 0).all()
        assert n_steps - 5 < data.lengths[group].max() <= n_steps


def test_batches_are_full_and_hold_whole_clips_of_similar_length() -> None:
    data = clips(3, n=70)
    trainer = of_frames(length_buckets=4)
    batches = list(trainer.batches(data, 0, np.random.default_rng(0)))
    assert sorted(len(x) for x, _, _ in batches) == [6, 16, 16, 16, 16]
    trained = {row[row.any(axis=1)].tobytes() for x, _, _ in batches for row in x}
    assert trained == {row[row.any(axis=1)].tobytes() for row in data.x}
    read, longest = sum(x.shape[0] * x.shape[1] for x, _, _ in batches), data.x.shape[1]
    assert trainer.padded_lengths(data).sum() <= read < 0.9 * longest * len(data)


def test_masks_cover_whole_spans_of_the_right_length_and_nothing_else() -> None:
    masks = SpecAugment(
        n_time_masks=1, max_time_fraction=0.3, n_frequency_masks=1, max_frequency_fraction=0.4
    )
    x = np.ones((200, 20, 10), np.float32)
    masked = masks(x, np.random.default_rng(0))
    assert (x == 1).all()
    for axis, longest in ((1, 6), (2, 4)):
        hidden = (masked == 0).all(axis=3 - axis)
        lengths = hidden.sum(axis=1)
        assert set(lengths) == {*range(longest + 1)}
        assert (np.abs(np.diff(hidden.astype(int), prepend=0, append=0, axis=1)).sum(axis=1) <= 2).all()
    rows, columns = (masked == 0).all(axis=2), (masked == 0).all(axis=1)
    np.testing.assert_array_equal(masked == 0, rows[:, :, None] | columns[:, None, :])


def test_mixup_mixes_clips_and_labels_with_the_same_weight() -> None:
    x = np.eye(3, dtype=np.float32)[np.array([0, 1, 2] * 5)][:, None, :, None]
    y = np.eye(3, dtype=np.float32)[np.array([0, 1, 2] * 5)]
    mixed, shares = mixup(x, y, 1.0, np.random.default_rng(3))
    np.testing.assert_allclose(mixed[:, 0, :, 0], shares)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    assert ((shares > 0) & (shares < 1)).any()


@pytest.mark.parametrize("alpha", [None, 0.2, 1.0])
def test_balanced_classes_count_alike_also_when_mixed(alpha: float | None) -> None:
    y = np.repeat([0, 1], [90, 10])
    data = Partition(np.zeros((100, 4, 4, 1), np.float32), np.full(100, 4), y, ["a", "b"])
    trainer = of_images(mixup_alpha=alpha, class_weights="balanced")
    total = np.zeros(2)
    for epoch in range(20):
        for _, target, weight in trainer.batches(data, epoch, np.random.default_rng(epoch)):
            np.testing.assert_allclose(target.sum(axis=1), 1, rtol=1e-5)
            total += (weight[:, None] * target).sum(axis=0)
    assert total[0] == pytest.approx(total[1], rel=1e-4)


def test_images_grow_and_keep_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []

    def noting(input_shape: tuple[int | None, ...], n_classes: int) -> keras.Model:
        built.append(input_shape)
        return build(input_shape, n_classes)

    sizes = [{"from_epoch": 0, "pixels": 8}, {"from_epoch": 5, "pixels": 16}]
    trainer = of_images(noting, resizing=sizes, plateau=None, epochs=12, learning_rate=0.03)
    curve, _ = trainer.fit(images(0), images(1), tmp_path, 1)
    assert built == [(8, 8, 1), (16, 16, 1)]
    assert curve["loss"][5] < curve["loss"][0] * 0.8
    best = curve["val_loss"][5:].min()
    logits = trainer.load(tmp_path, 3)(images(1))
    assert built[-1] == (16, 16, 1)
    loss = -log_softmax(logits, axis=1)[np.arange(24), images(1).y].mean()
    assert loss == pytest.approx(best, rel=1e-4)


def test_random_layers_change_images_in_training_and_leave_their_size() -> None:
    augment = ImageAugment(rotation_deg=10.0, zoom=0.2, brightness=1.0)
    x = images(0).x
    for layer in augment.layers():
        changed = keras.ops.convert_to_numpy(layer(x, training=True))
        assert changed.shape == x.shape
        assert not np.allclose(changed, x)
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(x, training=False)), x)


@pytest.mark.parametrize(
    ("starts", "message"), [([1], "epochs 1;"), ([0, 6], "`epochs`, 6"), ([0, 0], "rise")]
)
def test_sizes_must_start_at_the_first_epoch_and_rise(starts: list[int], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        of_images(resizing=[{"from_epoch": start, "pixels": 8} for start in starts])


@pytest.mark.parametrize(
    ("flags", "resolved"), [("fpu avx512_bf16", "bfloat16"), ("fpu avx2", "float32"), (None, "float32")]
)
def test_bfloat16_is_chosen_where_the_processor_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str | None, resolved: str
) -> None:
    if flags:
        (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n")
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    assert precision.resolved("auto") == resolved
    assert precision.resolved("float32") == "float32"


def test_bfloat16_trains_float32_weights_to_the_same_bytes(tmp_path: Path) -> None:
    trainer = of_images(precision="bfloat16")
    contents = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        curve, noted = trainer.fit(images(0), images(1), tmp_path / name, 1)
        contents.append((tmp_path / name / network.FILE).read_bytes())
    assert contents[0] == contents[1]
    assert noted["precision"] == "bfloat16"
    assert curve["loss"].iloc[-1] < curve["loss"].iloc[0]
    single = of_images().load(tmp_path / "a", 3)(images(1))
    assert np.array_equal(trainer.load(tmp_path / "a", 3)(images(1)), single)
    assert keras.config.dtype_policy().name == "float32"


def test_early_stopping_keeps_the_weights_of_the_best_epoch(tmp_path: Path) -> None:
    # A rate this high learns at once and then only gets worse.
    trainer = plain(learning_rate=0.5, epochs=40, patience_epochs=3, plateau=None)
    curve, _ = trainer.fit(part(0), part(1), tmp_path, 1)
    best = curve["val_loss"].idxmin()
    assert len(curve) == best + 4 < 40
    logits = plain().load(tmp_path, 3)(part(1))
    loss = -log_softmax(logits, axis=1)[np.arange(50), part(1).y].mean()
    assert loss == pytest.approx(curve["val_loss"][best])
    assert logits.shape == (50, 3)


def test_early_stopping_waits_for_epochs_at_the_last_size(tmp_path: Path) -> None:
    sizes = [{"from_epoch": 0, "pixels": 8}, {"from_epoch": 4, "pixels": 16}]
    still = {"learning_rate": 1e-12, "epochs": 12, "patience_epochs": 2, "monitor": "uar"}
    curve, _ = of_images(resizing=sizes, **still).fit(images(0), images(1), tmp_path, 1)
    assert len(curve) == 4 + 3  # the first at the new size is its best


def test_plateau_lowers_the_learning_rate_to_its_minimum(tmp_path: Path) -> None:
    plateau = {"patience_epochs": 1, "factor": 0.1, "min_learning_rate": 0.005}
    trainer = plain(learning_rate=0.5, epochs=15, plateau=plateau)
    curve, _ = trainer.fit(part(0), part(1), tmp_path, 1)
    assert curve["learning_rate"].iloc[0] == 0.5
    assert curve["learning_rate"].iloc[-1] == pytest.approx(0.005)


def test_plateau_never_raises_the_learning_rate(tmp_path: Path) -> None:
    plateau = {"patience_epochs": 1, "factor": 0.5, "min_learning_rate": 0.1}
    curve, _ = plain(learning_rate=1e-6, epochs=8, plateau=plateau).fit(part(0), part(1), tmp_path, 1)
    assert (curve["learning_rate"] == curve["learning_rate"].iloc[0]).all()


def test_without_validation_all_epochs_run_and_the_last_weights_are_kept(tmp_path: Path) -> None:
    curve, _ = plain(patience_epochs=1).fit(part(0), None, tmp_path, 1)
    assert len(curve) == TRAINING["epochs"]
    assert "val_uar" not in curve


@pytest.mark.parametrize("validation", [part(1), None])
def test_a_diverging_loss_is_reported_with_its_epoch(tmp_path: Path, validation: Partition | None) -> None:
    diverging = plain(learning_rate=1e30, optimizer="sgd")
    with pytest.raises(InputError, match=r"diverged, .* epoch [12] .*`training\.learning_rate`"):
        diverging.fit(part(0), validation, tmp_path, 1)
    assert not (tmp_path / network.FILE).exists()


def test_weights_that_are_not_finite_are_reported_though_the_loss_is(tmp_path: Path) -> None:
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(3, activation="relu", name="hidden")
    unused = keras.Model(inputs, hidden(inputs))
    hidden.set_weights([np.full((4, 3), np.nan), np.zeros(3)])
    with pytest.raises(InputError, match=r"^fold_03: .*hidden/kernel .*epoch 6.*`training\.learning_rate`"):
        network._check_finite({"epoch": 5, "loss": 1.5}, unused, "fold_03")
    hidden.set_weights([np.ones((4, 3)), np.zeros(3)])
    network._check_finite({"epoch": 5, "loss": 1.5}, unused, "fold_03")


def test_weights_of_another_network_are_rejected(tmp_path: Path) -> None:
    train(tmp_path, epochs=1)

    with pytest.raises(InputError, match=r"model\.weights\.h5: "):
        plain(partial(build, n_hidden=99)).load(tmp_path, 3)(part(1))
