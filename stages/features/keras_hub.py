"""Frames of the frozen encoder of a KerasHub preset: Whisper's or Moonshine's.

The preset is a folder, as KerasHub's `save_to_preset` writes it: nothing is downloaded here, and no pickle is
read. Which weights, and under which licence, is for the user to know.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from stages.audio.spectrum import Frames, Spectrum
from stages.base.errors import InputError, extra, one_line
from stages.base.params import Block, Sha256
from stages.compute import hardware
from stages.data import keys
from stages.data.shards import N_THREADS

OWN_FRAMES = True  # the encoder's, not those of the shared spectrum
FILE = "preset"  # key of its block: what a bundle contains a copy of, the FILES of a folder

PLACE = "params.features.keras_hub"
FILES = ("config.json", "audio_converter.json", "model.weights.h5")  # of a preset: they determine the frames
FRAMES = "encoder_sequence_output"  # the backbone's output
LONGEST_S = 30.0  # that an encoder gets at once: Whisper's length, about half of Moonshine's longest
SHORTEST_S = 0.1  # Moonshine's shortest; what is shorter is padded with zeros


class Config(Block):
    """The encoder.

    Attributes:
        preset: the folder of the preset.
        sha256: of its FILES, one after the other; null makes an error that says it.
    """

    preset: str
    sha256: Sha256 | None


def compute(spectrum: Spectrum, config: Config) -> Frames:
    """Returns float32 (n_frames, n_dims), as many frames as the encoder makes.

    A recording longer than LONGEST_S is encoded in separate stretches of that length.

    Raises:
        InputError: a file is missing, the files are not those of the checksum or not of such an encoder, or
            KerasHub is missing.
    """
    encoder, converter = _load(config.preset, config.sha256)
    rate_hz = converter.sampling_rate
    signal = spectrum.signal
    if spectrum.sample_rate_hz != rate_hz:
        signal = soxr.resample(signal, spectrum.sample_rate_hz, rate_hz, "HQ")
    longest = getattr(converter, "num_samples", round(LONGEST_S * rate_hz))
    starts = range(0, max(1, len(signal)), longest)
    return np.concatenate([_encode(encoder, converter, signal[at : at + longest]) for at in starts])


def _encode(encoder: Any, converter: Any, signal: NDArray[np.float32]) -> Frames:
    """Returns the frames of at most LONGEST_S, without those of Whisper's padding to 30 s."""
    signal = np.pad(signal, (0, max(0, round(SHORTEST_S * converter.sampling_rate) - len(signal))))
    taken = np.asarray(converter(signal[None]))
    inputs = [taken, np.ones(taken.shape[:2], bool)][: len(encoder.inputs)]
    frames = np.asarray(encoder(inputs, training=False)[0], np.float32)
    padded = getattr(converter, "num_samples", len(signal))
    return frames[: -(-len(signal) * len(frames) // padded)]


@cache
def _load(preset: str, sha256: str | None) -> tuple[Any, Any]:
    """Returns a preset's encoder, and what makes its input of a waveform."""
    keys.check_weights(Path(preset), sha256, PLACE, "preset", FILES)
    hardware.limit(N_THREADS)  # as for shards, also where TensorFlow is not loaded by a shard's task
    with extra("pretrained", PLACE), extra("cpu", PLACE, "tensorflow"), hardware.quiet():
        import keras
        import keras_hub
    try:
        backbone = keras_hub.models.Backbone.from_preset(preset)
        converter = keras_hub.layers.AudioConverter.from_preset(preset)
        inputs = [each for each in backbone.inputs if each.name.startswith("encoder_")]
        return keras.Model(inputs, backbone.output[FRAMES]), converter
    except Exception as error:  # KerasHub's errors share no other class
        raise InputError(f"{preset}: not a preset of a speech encoder ({one_line(error)}).") from error
