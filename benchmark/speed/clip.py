"""One clip on one core, from samples to probabilities: frozen networks and `ridge`, against plain Keras.

python -m benchmark.speed.clip

Needs the weights of BYOL-S and EfficientNet-Lite0: data/pretrained/README.md.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.speed import measure, record, recordings
from benchmark.speed.record import Row
from stages.audio.extractor import extractor
from stages.audio.log_mel import STEP_FRAMES, log_mel
from stages.audio.recording import Samples
from stages.audio.speech import speech
from stages.base import params, registry
from stages.base.errors import run_without_arguments
from stages.compute import hardware
from stages.features import byol_s, efficientnet_lite0
from stages.learning import calibration
from stages.learning.pooling import FittedPooling
from stages.learning.preprocessing import Clips, Frames, Partition, Preprocessor
from stages.tools import convert

FEATURES = ["byol_s", "efficientnet_lite0"]
N_CLIPS, N_CLASSES = 64, 8
LIBRARIES = ("keras", "numpy", "scipy", "tensorflow")

Probabilities = Callable[[Frames], NDArray[np.float64]]  # of the layers of a clip


def main() -> None:
    hardware.limit(1)
    settings = params.read()
    _, signals, data = recordings.some(N_CLIPS, settings.audio.sample_rate_hz)
    extract = extractor(settings, FEATURES, "features")

    def layers(signal: Samples) -> Frames:
        return np.concatenate([*extract(signal).values()], axis=1)

    frames = [layers(signal) for signal in signals]
    classify = classifier(settings, frames)
    paths = [settings.config("features", name, "features").weights for name in FEATURES]
    lite0 = lite0_network(paths[1], settings)  # first, because it sets TensorFlow's threads
    networks = byol_s_network(np.load(paths[0], allow_pickle=False)), lite0
    sides = {
        "ours": lambda: [classify(layers(signal)) for signal in signals],
        "theirs": lambda: [classify(_of_keras(*networks, signal, settings)) for signal in signals],
    }
    seconds = measure.alternate(sides)
    what = "one clip to probabilities: `byol_s`, `efficientnet_lite0`, pooling and `ridge`"
    against = "the same with the networks in `keras.Model.predict`, clip by clip"
    row = Row.per_clip(what, against, seconds, len(signals), "here at most 15 ms")
    parts = {
        "frames": lambda: [extract(signal) for signal in signals],
        "pooling_and_classifier": lambda: [classify(each) for each in frames],
    }
    cpu_ms = {name: 1000 * median(each) / len(signals) for name, each in measure.alternate(parts).items()}
    record.write("clip", data, [row], LIBRARIES, cpu_ms_of_parts=cpu_ms)


def classifier(settings: params.Params, frames: list[Frames]) -> Probabilities:
    """Returns `ridge` as params.yaml has it, trained on these clips with made-up labels and speakers.

    The time does not depend on the values.
    """
    config = settings.config("models", "ridge", "models")
    trainer = registry.load("models", "ridge", "models").trainer(config)
    pooling = FittedPooling.fit(config.pooling, lambda: frames, "models.ridge.pooling")
    vectors = [pooling(each) for each in frames]
    preprocessor = Preprocessor.fit(vectors, config.inputs, 1.0)

    def prepared(some: list[Frames]) -> Clips:
        return pooling.weigh(preprocessor.transform(some))

    number = np.arange(len(frames))
    train = prepared(vectors)
    names = [str(i) for i in range(N_CLASSES)]
    labelled = Partition(train.x, train.lengths, number % N_CLASSES, names, number // N_CLASSES)
    folder = Path(tempfile.mkdtemp())
    trainer.fit(labelled, None, folder, 0)
    model = trainer.load(folder, N_CLASSES)

    def probabilities(layers: Frames) -> NDArray[np.float64]:
        return calibration.probabilities(model(prepared([pooling(layers)])), 0.1)

    return probabilities


def byol_s_network(stored: Any) -> Any:
    """Returns BYOL-S layer by layer as a Keras model, which returns all layers that `byol_s` stores.

    Args:
        stored: the arrays of the published checkpoint, by name.
    """
    import keras

    x = inputs = keras.Input((None, 64, 1))  # time, bands, channel
    outputs = []
    for _ in range(3):
        x = keras.layers.Conv2D(64, 3, padding="same")(x)
        x = keras.layers.BatchNormalization(epsilon=1e-5)(x)
        x = keras.layers.MaxPooling2D(2)(keras.layers.ReLU()(x))
        outputs.append(x)
    x = keras.layers.Reshape((-1, 512))(x)
    for _ in range(2):
        x = keras.layers.Dense(512, activation="relu")(x)
        outputs.append(x)
    model = keras.Model(inputs, outputs)
    values = []
    for first in (0, 4, 8):
        values += [stored[f"features.{first}.weight"].transpose(3, 2, 1, 0), stored[f"features.{first}.bias"]]
        norm = ("weight", "bias", "running_mean", "running_var")
        values += [stored[f"features.{first + 1}.{name}"] for name in norm]
    for layer in ("fc.0", "fc.3"):
        values += [stored[f"{layer}.weight"].T, stored[f"{layer}.bias"]]
    model.set_weights(values)
    return model


def lite0_network(path: str, settings: params.Params) -> Any:
    """Returns EfficientNet-Lite0 as a Keras model of (1, 128 bands, n_frames, 1), with the stages 3, 4 and 5.

    Args:
        path: npz file with the arrays of the published checkpoint.
        settings: params.yaml.
    """
    import keras

    entry = registry.load("models", "efficientnet_lite0", "models")
    config = settings.config("models", "efficientnet_lite0", "models")
    network = entry.build(config, (efficientnet_lite0.N_MELS, None, 1), 1)
    convert.fill(network, convert.efficientnet(path), path, "efficientnet_lite0")
    ends = {layer.output.shape[1::2]: layer.output for layer in network.layers}  # rows and channels
    return keras.Model(network.input, [ends[16, 40], ends[8, 80], ends[8, 112]])


def _of_keras(byol_s_: Any, lite0: Any, signal: Samples, settings: params.Params) -> Frames:
    """Returns the columns of FEATURES, by the Keras models."""
    rate_hz = settings.audio.sample_rate_hz
    used = speech(signal, rate_hz, settings.audio)
    taken = log_mel(used, rate_hz, byol_s.N_MELS)
    *convolved, first, second = byol_s_.predict(taken[None, :, :, None], verbose=0)
    n_steps = len(taken) // STEP_FRAMES
    parts = [taken.reshape(n_steps, -1)]
    for each in convolved:
        groups = each[0].reshape(each.shape[1], 8, -1, each.shape[3]).mean(axis=2)
        parts.append(groups.reshape(n_steps, -1))
    parts += [first[0], second[0]]
    image = log_mel(used, rate_hz, efficientnet_lite0.N_MELS).T
    maps = lite0.predict(image[None, :, :, None], verbose=0)
    parts += [efficientnet_lite0.steps(each[0], n_steps) for each in maps]
    return np.concatenate(parts, axis=1)


if __name__ == "__main__":
    run_without_arguments(main)
