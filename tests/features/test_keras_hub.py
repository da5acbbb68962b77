"""Frames of small encoders that the test saves, against the whole networks, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.audio.spectrum import Spectrum
from stages.base.errors import InputError
from stages.features import keras_hub
from tests.support import shipped
from tests.support.workspace import Workspace, contents, output, start

RATE_HZ = 16_000
SPECTRUM = shipped.read().spectrum
KINDS = ("whisper", "moonshine")


@pytest.fixture(scope="module")
def presets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Presets of small networks with random weights, each with its own converter."""
    hub = pytest.importorskip("keras_hub")
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(3)
    folder = tmp_path_factory.mktemp("presets")
    small = {"vocabulary_size": 20, "hidden_dim": 16, "intermediate_dim": 32}
    whisper = hub.models.WhisperBackbone(num_layers=2, num_heads=2, **small)
    moonshine = hub.models.MoonshineBackbone(
        filter_dim=16,
        encoder_num_layers=2,
        decoder_num_layers=1,
        encoder_num_heads=2,
        decoder_num_heads=2,
        **small,
    )
    for name, backbone, converter in (
        ("whisper", whisper, hub.layers.WhisperAudioConverter()),
        ("moonshine", moonshine, hub.layers.MoonshineAudioConverter()),
    ):
        backbone.save_to_preset(str(folder / name))
        converter.save_to_preset(str(folder / name))
    return folder


def config(preset: Path) -> keras_hub.Config:
    """Returns the config of a preset, with the checksum that the error states."""
    with pytest.raises(InputError, match=r"params\.features\.keras_hub\.sha256: None") as error:
        keras_hub.compute(spectrum(10), keras_hub.Config(preset=str(preset), sha256=None))
    found = re.search(r"has ([0-9a-f]{64})", str(error.value))
    assert found is not None
    return keras_hub.Config(preset=str(preset), sha256=found[1])


def spectrum(n_samples: int, rate_hz: int = RATE_HZ) -> Spectrum:
    signal = np.random.default_rng(2).normal(0, 0.1, n_samples).astype(np.float32)
    return Spectrum(signal, rate_hz, SPECTRUM)


def whole(preset: Path, signal: np.ndarray) -> np.ndarray:
    """Returns the encoder's output of the whole network, decoder included, as KerasHub computes it."""
    import keras_hub as hub

    backbone = hub.models.Backbone.from_preset(str(preset))
    taken = np.asarray(hub.layers.AudioConverter.from_preset(str(preset))(signal[None]))
    inputs = {"decoder_token_ids": np.ones((1, 3), int), "decoder_padding_mask": np.ones((1, 3), int)}
    if "encoder_features" in backbone.input:
        inputs["encoder_features"] = taken
    else:
        inputs |= {"encoder_input_values": taken, "encoder_padding_mask": np.ones(taken.shape[:2], bool)}
    return np.asarray(backbone(inputs)["encoder_sequence_output"][0])


@pytest.mark.parametrize("kind", KINDS)
def test_frames_are_those_of_the_whole_network(presets: Path, kind: str) -> None:
    clip = spectrum(RATE_HZ)
    frames = keras_hub.compute(clip, config(presets / kind))
    expected = whole(presets / kind, clip.signal)
    np.testing.assert_allclose(frames, expected[: len(frames)], atol=1e-5)
    assert frames.std() > 0.1  # not the same in every frame


@pytest.mark.parametrize(
    ("kind", "n_samples", "n_frames"),
    [
        ("whisper", 0, 5),  # 50 a second, at least a tenth of a second
        ("whisper", 1, 5),
        ("whisper", RATE_HZ, 50),
        ("whisper", 16_001, 51),  # of 1500 for 30 s, those with a sample of the clip
        ("whisper", 31 * RATE_HZ, 1550),
        ("moonshine", 0, 2),
        ("moonshine", RATE_HZ, 40),  # ((16000 - 127) // 64 + 1 - 7) // 3 + 1 - 3) // 2 + 1
        ("moonshine", 31 * RATE_HZ, 1248 + 40),
    ],
)
def test_a_clip_has_the_encoders_frames_without_padding(
    presets: Path, kind: str, n_samples: int, n_frames: int
) -> None:
    frames = keras_hub.compute(spectrum(n_samples), config(presets / kind))
    assert frames.shape == (n_frames, 16) and frames.dtype == np.float32 and np.isfinite(frames).all()


@pytest.mark.parametrize("kind", KINDS)
def test_what_follows_the_longest_stretch_changes_nothing_in_it(presets: Path, kind: str) -> None:
    longer, shorter = spectrum(31 * RATE_HZ), spectrum(30 * RATE_HZ)
    assert np.array_equal(longer.signal[: 30 * RATE_HZ], shorter.signal)
    first, second = (keras_hub.compute(each, config(presets / kind)) for each in (longer, shorter))
    np.testing.assert_array_equal(first[: len(second)], second)


def test_a_recording_at_another_rate_is_resampled(presets: Path) -> None:
    assert len(keras_hub.compute(spectrum(48_000, 48_000), config(presets / "moonshine"))) == 40


@pytest.mark.parametrize("name", keras_hub.FILES)
def test_a_changed_or_missing_file_is_an_error(presets: Path, tmp_path: Path, name: str) -> None:
    copy = Path(shutil.copytree(presets / "whisper", tmp_path / "copy"))
    chosen = config(copy)
    (copy / name).write_bytes((copy / name).read_bytes() + b" ")
    with pytest.raises(
        InputError, match=rf"keras_hub\.sha256: {chosen.sha256}, but .*copy has [0-9a-f]{{64}}"
    ):
        keras_hub.compute(spectrum(10), chosen)
    (copy / name).unlink()
    with pytest.raises(
        InputError, match=rf"params\.features\.keras_hub\.preset: '.*copy/{name}' does not exist"
    ):
        keras_hub.compute(spectrum(10), chosen)


@pytest.mark.parametrize(
    "changes",
    [
        {"class_name": "Lambda", "registered_name": "Lambda"},
        {"module": "os", "class_name": "system", "config": "touch ran", "registered_name": "os>system"},
        {"class_name": "ResNetBackbone", "registered_name": "keras_hub>ResNetBackbone"},
        {"config": {}},
    ],
)
def test_a_preset_of_anything_else_is_an_error(
    presets: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    preset = Path(shutil.copytree(presets / "whisper", tmp_path / "preset"))
    stored = json.loads((preset / "config.json").read_text())
    (preset / "config.json").write_text(json.dumps(stored | changes))
    with pytest.raises(InputError, match="preset: not a preset of a speech encoder"):
        keras_hub.compute(spectrum(10), config(preset))
    assert not Path("ran").exists()


def test_without_keras_hub_the_error_says_what_to_install(
    presets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = config(presets / "whisper")
    keras_hub._load.cache_clear()
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(InputError, match=r"params\.features\.keras_hub: needs the extra .*\[pretrained\]"):
        keras_hub.compute(spectrum(10), chosen)


@pytest.mark.slow
def test_shards_have_the_same_bytes_with_any_number_of_workers(
    presets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    workspace = Workspace(tmp_path)
    workspace.record(ada=3, bo=2)
    chosen = config(presets / "whisper").model_dump()
    workspace.set(featurize__features=["keras_hub"], features__keras_hub=chosen)
    output(start("augment"))
    found = []
    for workers in (1, 2):
        workspace.set(compute__workers=workers)
        shutil.rmtree("data/features", ignore_errors=True)
        output(start("featurize"))
        found.append(contents(tmp_path / "data" / "features"))
    assert found[0] == found[1]
    assert len(found[0]) == 3  # two speakers and the index
