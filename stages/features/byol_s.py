"""BYOL-S: frames of a small convolutional network that was trained on speech without labels.

Scheidwasser-Clow, Kegler, Beckmann & Cernak 2022, "SERAB: A multi-lingual benchmark for speech emotion
recognition" (MIT licence): the encoder AudioNTT2020 with 512 dimensions, 0.6 M parameters. It is frozen
here, and computed in numpy: no TensorFlow, and with one thread the same bytes in every process.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from stages.audio import frozen
from stages.audio.frozen import Arrays, Config
from stages.audio.log_mel import STEP_FRAMES
from stages.audio.spectrum import Frames, Spectrum

OWN_FRAMES = True  # a step of 80 ms, not a frame of the shared spectrum
FILE = "weights"  # key of its block: what a bundle contains a copy of

LICENCE = "BYOL-S, MIT licence, Copyright (c) 2022 Neil Scheidwasser-Clow et al."

N_MELS = 64
BATCH_NORM_EPSILON = 1e-5
BLOCK_VALUES = 1 << 17  # of unfolded patches multiplied at a time: 512 KB, which a core's cache holds

# Columns of each layer in a step. Layers before `c3` have several frames in a step, one after the other.
WIDTHS = {"logmel": 8 * 64, "c1": 4 * 512, "c2": 2 * 512, "c3": 512, "f1": 512, "f2": 512}


def compute(spectrum: Spectrum, config: Config) -> Frames:
    """Returns float32 (n_steps, n_dims), a step of 80 ms: the layers side by side, their widths as in WIDTHS.

    `logmel` is the standardised input, eight frames of 64 bands. `c1`, `c2` and `c3` are the convolutions, of
    four, two and one frame, averaged over frequency into 8 groups of 64 channels; `f1` and `f2` are the dense
    layers.

    Raises:
        InputError: an unknown layer, or the weights are missing or are not those of the checksum.
    """
    return frozen.compute(spectrum, config, "byol_s", N_MELS, WIDTHS, load)


@dataclass(frozen=True)
class Network:
    """The encoder without its pooling over time, the batch normalisations folded into the convolutions.

    Attributes:
        kernels: of the three convolutions, float32 (9 n_in, 64), rows ordered by time, frequency, channel.
        biases: of the convolutions, float32 (64,).
        dense: weights (n_in, 512) and bias (512,) of the two dense layers.
    """

    kernels: tuple[Frames, ...]
    biases: tuple[Frames, ...]
    dense: tuple[tuple[Frames, Frames], ...]

    def __call__(self, log_mel: Frames) -> dict[str, Frames]:
        """Returns each layer, float32 (n_frames / 8, its width), of standardised log-mel (n_frames, 64)."""
        n_steps = len(log_mel) // STEP_FRAMES
        layers = {"logmel": log_mel.reshape(n_steps, -1)}
        x = log_mel[:, :, None]
        for number, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True), start=1):
            x = _convolved(x, kernel, bias)
            groups = x.reshape(len(x), 8, -1, x.shape[2]).mean(axis=2)  # 8 groups of bands, 64 channels
            layers[f"c{number}"] = groups.reshape(n_steps, -1)
        steps = x.reshape(n_steps, -1)
        for number, (weights, bias) in enumerate(self.dense, start=1):
            steps = np.maximum(steps @ weights + bias, 0)
            layers[f"f{number}"] = steps
        return layers


def _convolved(x: Frames, kernel: Frames, bias: Frames) -> Frames:
    """Returns the 3 x 3 convolution, ReLU and the maxima of each 2 x 2.

    The maxima are taken a few rows at a time, before bias and ReLU, which leave their order as it is.

    Args:
        x: (n_time, n_bands, n_in), the first two even.
        kernel: (9 n_in, 64).
        bias: (64,).

    Returns:
        (n_time / 2, n_bands / 2, 64).
    """
    n_time, n_bands, n_in = x.shape
    n_out = kernel.shape[1]
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    # (time, band, channel, 3, 3) -> (time, band, 3, 3, channel), unfolded a few rows at a time
    patches = sliding_window_view(padded, (3, 3), axis=(0, 1)).transpose(0, 1, 3, 4, 2)
    out = np.empty((n_time // 2, n_bands // 2, n_out), np.float32)
    rows = 2 * max(1, BLOCK_VALUES // (2 * n_bands * max(9 * n_in, n_out)))
    for start in range(0, n_time, rows):
        block = patches[start : start + rows]
        values = (block.reshape(-1, 9 * n_in) @ kernel).reshape(len(block), n_bands, n_out)
        in_time = np.maximum(values[0::2], values[1::2])
        halved = out[start // 2 : (start + len(block)) // 2]
        np.maximum(in_time[:, 0::2], in_time[:, 1::2], out=halved)
    out += bias
    return np.maximum(out, 0, out=out)


def load(weights: str, sha256: str) -> Network:
    """Returns the network of the published checkpoint's arrays: see `frozen.load`."""
    network: Network = frozen.load(weights, sha256, "byol_s", "BYOL-S", _network)
    return network


def _network(arrays: Arrays) -> Network:
    kernels, biases = [], []
    for first in (0, 4, 8):  # convolution, batch normalisation, ReLU, pooling
        norm = f"features.{first + 1}"
        scale = arrays[f"{norm}.weight"] / np.sqrt(arrays[f"{norm}.running_var"] + BATCH_NORM_EPSILON)
        kernel = arrays[f"features.{first}.weight"]  # (out, in, band, time)
        rows = kernel.transpose(3, 2, 1, 0).reshape(-1, len(kernel)) * scale
        bias = (arrays[f"features.{first}.bias"] - arrays[f"{norm}.running_mean"]) * scale + arrays[
            f"{norm}.bias"
        ]
        kernels.append(rows.astype(np.float32))
        biases.append(bias.astype(np.float32))
    dense = tuple(
        (arrays[f"fc.{number}.weight"].T.astype(np.float32), arrays[f"fc.{number}.bias"].astype(np.float32))
        for number in (0, 3)
    )
    return Network(tuple(kernels), tuple(biases), dense)
