"""Frames of any frozen encoder, given as an ONNX file: wav2vec 2.0, HuBERT, WavLM or emotion2vec, exported.

The encoder takes a waveform and returns frames, at a rate of its own. Which weights, and under which licence,
is for the user to know: nothing is downloaded.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import soxr
from numpy.typing import NDArray
from pydantic import Field

from stages.audio.spectrum import Frames, Spectrum
from stages.base.errors import InputError, one_line
from stages.base.params import Block, Positive, Sha256
from stages.data import keys, onnx

OWN_FRAMES = True  # the encoder's, not those of the shared spectrum
FILE = "model"  # key of its block: what a bundle contains a copy of

PLACE = "params.features.onnx"
LEAST_STD = 1e-7  # of a waveform, which is divided by it


class Config(Block):
    """The encoder, and what it takes.

    Attributes:
        model: ONNX file with its weights inside. It has one input, the waveform, float32 (1, n_samples).
        sha256: of that file; null makes an error that says it.
        output: its output with the frames, float32 (1, n_frames, n_dims); null for the first.
        rate_hz: of the waveform.
        standardize: whether the waveform's mean is removed and its standard deviation made 1: `do_normalize`
            in the preprocessor_config.json of a Hugging Face model.
        shortest_s: shorter waveforms are padded with zeros, so that each gives a frame.
    """

    model: str
    sha256: Sha256 | None
    output: str | None
    rate_hz: Annotated[int, Field(ge=4000, le=192_000)]
    standardize: bool
    shortest_s: Positive


def compute(spectrum: Spectrum, config: Config) -> Frames:
    """Returns float32 (n_frames, n_dims), as many frames as the encoder makes.

    Raises:
        InputError: the file is missing, is not that of the checksum or is no such encoder, or onnxruntime is
            missing.
    """
    encoder = _load(config.model, config.sha256)
    signal = waveform(spectrum.signal, spectrum.sample_rate_hz, config)
    try:
        (taken,) = [each.name for each in encoder.get_inputs()]
        frames = encoder.run([config.output] if config.output else None, {taken: signal[None]})[0]
    except Exception as error:  # onnxruntime's errors share no other class
        raise InputError(f"{config.model}: cannot process a waveform ({one_line(error)}).") from error
    if frames.ndim != 3 or len(frames) != 1 or not frames.size or not np.isfinite(frames).all():
        raise InputError(
            f"{PLACE}.output: {config.model} returned {frames.shape} for {len(signal)} samples; "
            "finite numbers of shape (1, n_frames, n_dims) are needed."
        )
    return np.asarray(frames[0], np.float32)


def waveform(signal: NDArray[np.float32], sample_rate_hz: int, config: Config) -> NDArray[np.float32]:
    """Returns what the encoder takes, float32 (n_samples,) at `config.rate_hz`.

    Args:
        signal: float32 (n_samples,), full scale = 1.
        config: its rate, shortest length and whether to standardise.

    Examples:
        >>> config = Config(
        ...     model="m.onnx", sha256=None, output=None, rate_hz=8000, standardize=True, shortest_s=0.0005
        ... )
        >>> waveform(np.array([3, 5], np.float32), 8000, config)
        array([-1.,  1.,  0.,  0.], dtype=float32)
    """
    if sample_rate_hz != config.rate_hz:
        signal = soxr.resample(signal, sample_rate_hz, config.rate_hz, "HQ")
    if config.standardize and len(signal):
        signal = ((signal - signal.mean()) / max(signal.std(), LEAST_STD)).astype(np.float32)
    n_missing = round(config.shortest_s * config.rate_hz) - len(signal)
    return np.pad(signal, (0, max(0, n_missing)))


@cache
def _load(model: str, sha256: str | None) -> Any:
    path = Path(model)
    keys.check_weights(path, sha256, PLACE, "model")
    return onnx.session(path, PLACE)
