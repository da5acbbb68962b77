"""Weights of a KerasHub preset, which the test creates: tests have no network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from stages.base.errors import InputError, disk_error
from stages.base.files import PRETRAINED
from stages.base.params import check
from stages.data import keys, tables
from stages.learning.record import RECORD, TRAINED_ON
from stages.models import efficientnet_lite0, resnet34
from stages.networks import weights
from stages.tools import convert
from tests.support import shipped
from tests.support.workspace import ROOT

keras_hub = pytest.importorskip("keras_hub", reason="needs KerasHub: pip install -e '.[pretrained]'")


def config(filters: list[int], blocks: list[int]) -> resnet34.Config:
    block = shipped.read().block("models", "resnet34") | {"filters": filters, "blocks": blocks}
    return check(resnet34.Config, block, "params.models.resnet34")


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with ResNet-34's parts: a stage without and one with a convolution as shortcut."""
    keras.utils.set_random_seed(5)
    backbone = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128],
        stackwise_num_blocks=[2, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
    )
    rng = np.random.default_rng(1)
    backbone.set_weights([rng.uniform(0.01, 0.2, value.shape) for value in backbone.get_weights()])
    folder = tmp_path_factory.mktemp("preset")
    backbone.save_to_preset(str(folder))
    return folder


@pytest.mark.slow
def test_the_network_computes_what_the_preset_does_on_grey_images(
    preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small = config([64, 128], [2, 1])
    convert.convert(str(preset), "resnet34", small, PRETRAINED / "grey")
    assert tables.read(PRETRAINED / "grey" / TRAINED_ON, tables.TRAINED_ON).empty
    record = json.loads((PRETRAINED / "grey" / RECORD).read_text())
    assert record["classes"] == []
    assert record["sha256"] == {
        name: keys.sha256(PRETRAINED / "grey" / name) for name in (TRAINED_ON, weights.FILE)
    }

    def build(shape: tuple[int | None, ...], n_classes: int) -> keras.Model:
        return resnet34.build(small, shape, n_classes)

    network = build((40, 48, 1), 3)
    weights.start(network, "grey", build, ["anger", "fear", "sadness"])
    x = np.random.default_rng(0).normal(size=(2, 40, 48, 1)).astype(np.float32)
    body = keras.Model(network.input, network.layers[-2].output)
    expected = keras_hub.models.ResNetBackbone.from_preset(str(preset))(np.repeat(x, 3, axis=3))
    pooled = keras.ops.convert_to_numpy(expected).mean(axis=(1, 2))
    np.testing.assert_allclose(body(x), pooled, rtol=2e-4)


@pytest.mark.slow
def test_a_full_disk_is_reported_and_leaves_nothing(
    preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small, folder = config([64, 128], [2, 1]), PRETRAINED / "grey"
    with monkeypatch.context() as patch:
        patch.setattr(weights.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
        with pytest.raises(OSError, match=r"model\.weights\.h5") as no_room:
            convert.convert(str(preset), "resnet34", small, folder)
    assert "the disk is full" in str(disk_error(no_room.value))
    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "save_weights", half_saved)
        with pytest.raises(OSError, match=r"model\.weights\.h5") as too_large:
            convert.convert(str(preset), "resnet34", small, folder)
    assert "larger than the file size limit" in str(disk_error(too_large.value))
    assert [*folder.iterdir()] == []


def half_saved(_: keras.Model, path: Path) -> None:
    """Writes half a file and fails as HDF5 does."""
    path.write_bytes(b"half")
    raise RuntimeError("Can't synchronously write data (file write failed: errno = 27, 'File too large')")


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "-x", "", "grün", "x\n", ".."])
def test_a_name_that_init_from_does_not_accept_is_rejected(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["convert", "--", "resnet_18_imagenet", name])
    with pytest.raises(InputError, match=r"^ser convert: NAME '"):
        convert.main()
    assert [*tmp_path.iterdir()] == []


def test_a_preset_of_another_network_is_rejected(preset: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"resnet34: \(3, 3, 64, 128\), not"):
        convert.convert(str(preset), "resnet34", config([64, 96], [2, 1]), tmp_path / "out")
    with pytest.raises(InputError, match=r"resnet34: \d+ arrays, not \d+"):
        convert.convert(str(preset), "resnet34", config([64, 128], [2, 2]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("fault", ["missing", "without weights"])
def test_a_preset_that_cannot_be_loaded_is_reported_with_the_choices(
    preset: Path, tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "preset"
    if fault == "without weights":
        folder.mkdir()
        for file in preset.iterdir():
            if file.suffix == ".json":
                (folder / file.name).write_bytes(file.read_bytes())
    with pytest.raises(InputError, match=r"preset: .*Give a name \(resnet_18"):
        convert.load(str(folder))


def test_without_keras_hub_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(InputError, match=r"\[pretrained\]"):
        convert.load("resnet_18_imagenet")


def test_an_unreachable_hub_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(keras_hub.models.ResNetBackbone, "from_preset", unreachable)
    with pytest.raises(InputError, match=r"resnet_18_imagenet: .*no route to host"):
        convert.load("resnet_18_imagenet")


@pytest.mark.slow
def test_arrays_of_efficientnet_become_initial_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lite = shipped.read().config("models", "efficientnet_lite0", "params.models")
    network = efficientnet_lite0.build(lite, (64, 64, 3), 1)
    rng = np.random.default_rng(3)
    arrays = {}
    for number, layer in enumerate(network.layers[:-1]):
        for weight in layer.weights:
            value = rng.uniform(0.01, 0.1, weight.shape).astype(np.float32)
            if value.ndim == 4:  # as PyTorch has them
                axes = (2, 3, 0, 1) if "depthwise" in layer.name else (3, 2, 0, 1)
                value = value.transpose(axes)
            kind = "_depthwise_conv" if "depthwise" in layer.name else "_conv"
            arrays[f"{number}.{kind}.{weight.name}"] = value
    np.savez("lite0.npz", **arrays, **{"_fc.weight": np.zeros((1000, 1280), np.float32)})
    convert.convert("lite0.npz", "efficientnet_lite0", lite, PRETRAINED / "lite0")

    def build(shape: tuple[int | None, ...], n_classes: int) -> keras.Model:
        return efficientnet_lite0.build(lite, shape, n_classes)

    started = build((64, 64, 1), 3)
    weights.start(started, "lite0", build, ["anger", "fear", "sadness"])
    kernels = [weight.numpy() for layer in started.layers[:-1] for weight in layer.weights]
    stem, depthwise = arrays["1._conv.kernel"], next(a for name, a in arrays.items() if "depthwise" in name)
    np.testing.assert_allclose(
        kernels[0][:, :, 0], convert.COLOUR_STD * stem.sum(axis=1).transpose(1, 2, 0), rtol=1e-5
    )
    np.testing.assert_array_equal(kernels[5], depthwise.transpose(2, 3, 0, 1))


@pytest.mark.parametrize("fault", ["missing", "no archive", "other arrays", "integers", "cut"])
def test_arrays_that_are_not_efficientnets_are_reported(
    tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("lite0.npz")
    if fault == "no archive":
        path.write_bytes(b"not an archive")
    elif fault != "missing":
        dtype = np.int8 if fault == "integers" else np.float32
        np.savez(path, **({"_conv_stem.weight": np.zeros((32, 3, 3, 3), dtype)}))
    if fault == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    lite = shipped.read().config("models", "efficientnet_lite0", "params.models")
    with pytest.raises(InputError, match=r"^lite0\.npz: "):
        convert.convert("lite0.npz", "efficientnet_lite0", lite, PRETRAINED / "lite0")
    assert not PRETRAINED.exists()


@pytest.mark.slow
def test_an_error_is_all_that_the_command_prints(tmp_path: Path) -> None:
    shipped.write(tmp_path)
    np.savez(tmp_path / "other.npz", kernel=np.zeros((8, 3, 3, 3), np.float32))
    command = [sys.executable, "-m", "stages.tools.convert", "other.npz", "name"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1 and not ended.stdout
    (line,) = ended.stderr.splitlines()  # TensorFlow logs when it is loaded
    assert line.startswith("error: other.npz: its SHA-256 is ")
    assert keys.sha256(tmp_path / "other.npz") in line
    assert not (tmp_path / "data").exists()
