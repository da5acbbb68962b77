"""EfficientNet-Lite0 with ImageNet weights: frames of a network that was trained on photographs.

Tan & Le 2019, "EfficientNet: Rethinking model scaling for convolutional neural networks". It reads the
log-mel spectrogram as a grey image. It is frozen here, and computed in numpy up to its fifth stage: no
TensorFlow, and with one thread the same bytes in every process. The model of the same name is trained
instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from stages.audio import frozen
from stages.audio.frozen import Arrays, Config
from stages.audio.log_mel import STEP_FRAMES
from stages.audio.spectrum import Frames, Spectrum

OWN_FRAMES = True  # a step of 80 ms, not a frame of the shared spectrum
FILE = "weights"  # key of its block: what a bundle contains a copy of

LICENCE = "EfficientNet-Lite0, by Google, Apache License 2.0"

N_MELS = 128
COLOUR_STD = 0.45  # of ImageNet's colours, divided by 128 as the network reads them; that of our images is 1
BATCH_NORM_EPSILON = 1e-3
N_GROUPS = 4  # of neighbouring rows of a feature map, that is of frequencies, which are averaged

# Of each block in the order of the checkpoint: its stage, and the stride of its depthwise convolution.
BLOCKS = ((1, 1), (2, 2), (2, 1), (3, 2), (3, 1), (4, 2), (4, 1), (4, 1), (5, 1), (5, 1), (5, 1))

# Columns of each layer in a step: the stage's channels, for each group of rows. The last two have a frame
# every 160 ms, which is repeated.
WIDTHS = {"s3": 4 * 40, "s4": 4 * 80, "s5": 4 * 112}


def compute(spectrum: Spectrum, config: Config) -> Frames:
    """Returns float32 (n_steps, n_dims), a step of 80 ms: the layers side by side, their widths as in WIDTHS.

    The layers are the outputs of the stages 3, 4 and 5.

    Raises:
        InputError: an unknown layer, or the weights are missing or are not those of the checksum.
    """
    return frozen.compute(spectrum, config, "efficientnet_lite0", N_MELS, WIDTHS, load)


@dataclass(frozen=True)
class Convolution:
    """A convolution with its batch normalisation folded in.

    Attributes:
        kernel: float32, (n_in, n_out) of 1 x 1, (side, side, n_channels) of a depthwise convolution,
            (9, n_out) of the first.
        bias: float32 (n_out,).
    """

    kernel: Frames
    bias: Frames


@dataclass(frozen=True)
class InvertedResidual:
    """More channels, a depthwise convolution, fewer channels: Sandler et al. 2018, "MobileNetV2".

    Attributes:
        stage: its number, from 1.
        stride: of the depthwise convolution.
        expand, depthwise, project: its convolutions; the first stage's block does not expand.
    """

    stage: int
    stride: int
    expand: Convolution | None
    depthwise: Convolution
    project: Convolution

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns float32 (height / stride, width / stride, n_out) of (height, width, n_in)."""
        inner = relu6(pointwise(x, self.expand)) if self.expand else x
        inner = relu6(depthwise(inner, self.depthwise, self.stride))
        out = pointwise(inner, self.project)
        return x + out if x.shape == out.shape else out


@dataclass(frozen=True)
class Network:
    """The stages of the network that are used."""

    stem: Convolution
    blocks: tuple[InvertedResidual, ...]

    def __call__(self, log_mel: Frames) -> dict[str, Frames]:
        """Returns each layer, float32 (n_frames / 8, its width), of log-mel frames (n_frames, 128)."""
        n_steps = len(log_mel) // STEP_FRAMES
        x = relu6(first(np.ascontiguousarray(log_mel.T), self.stem))
        layers = {}
        for block in self.blocks:
            x = block(x)
            layers[f"s{block.stage}"] = x
        return {name: steps(layers[name], n_steps) for name in WIDTHS}


def steps(image: NDArray[np.float32], n_steps: int) -> Frames:
    """Returns float32 (n_steps, N_GROUPS n_channels) of a feature map (n_rows, n_times, n_channels).

    Rows are averaged in groups. Where there are fewer times than steps, each is repeated.
    """
    n_rows, n_times, n_channels = image.shape
    groups = image.reshape(N_GROUPS, n_rows // N_GROUPS, n_times, n_channels).mean(axis=1)
    frames = groups.transpose(1, 0, 2).reshape(n_times, -1)
    return np.repeat(frames, -(-n_steps // n_times), axis=0)[:n_steps]


def relu6(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Clips to 0 to 6, in place."""
    return np.clip(x, 0, 6, out=x)


def pointwise(x: NDArray[np.float32], convolution: Convolution) -> NDArray[np.float32]:
    """Returns the convolution of 1 x 1."""
    return np.asarray(x @ convolution.kernel + convolution.bias)


def padding(size: int, side: int, stride: int) -> tuple[int, int]:
    """Returns the zeros before and after an axis, as TensorFlow's `same` padding.

    Examples:
        >>> padding(128, side=3, stride=2), padding(7, side=5, stride=1)
        ((0, 1), (2, 2))
    """
    total = max(0, (-(-size // stride) - 1) * stride + side - size)
    return total // 2, total - total // 2


def first(x: Frames, convolution: Convolution) -> NDArray[np.float32]:
    """Returns the convolution of 3 x 3 and stride 2 of one channel, (height / 2, width / 2, n_out)."""
    padded = np.pad(x, [padding(size, side=3, stride=2) for size in x.shape])
    patches = sliding_window_view(padded, (3, 3))[::2, ::2]
    return np.asarray(patches.reshape(*patches.shape[:2], 9) @ convolution.kernel + convolution.bias)


def depthwise(x: NDArray[np.float32], convolution: Convolution, stride: int) -> NDArray[np.float32]:
    """Returns each channel's own convolution, (height / stride, width / stride, n_channels).

    One row at a time, which a core's cache holds.
    """
    kernel, side = convolution.kernel, len(convolution.kernel)
    height, width = (-(-size // stride) for size in x.shape[:2])
    padded = np.pad(x, [*(padding(size, side, stride) for size in x.shape[:2]), (0, 0)])
    out = np.empty((height, width, x.shape[2]), np.float32)
    out[:] = convolution.bias
    product = np.empty_like(out[0])
    for i, row in enumerate(out):
        for above in range(side):
            line = padded[i * stride + above]
            for left in range(side):
                np.multiply(
                    line[left:][: (width - 1) * stride + 1 : stride], kernel[above, left], out=product
                )
                row += product
    return out


def load(weights: str, sha256: str) -> Network:
    """Returns the network of the published checkpoint's arrays: see `frozen.load`."""
    network: Network = frozen.load(weights, sha256, "efficientnet_lite0", "EfficientNet-Lite0", _network)
    return network


def _network(arrays: Arrays) -> Network:
    def folded(name: str, norm: str, axes: str) -> Convolution:
        """Returns a convolution; its kernel has these axes of (out, in, height, width), others are summed."""
        scale = arrays[f"{norm}.weight"] / np.sqrt(arrays[f"{norm}.running_var"] + BATCH_NORM_EPSILON)
        kernel = np.einsum(f"oihw,o->{axes}", arrays[f"{name}.weight"], scale)
        bias = arrays[f"{norm}.bias"] - arrays[f"{norm}.running_mean"] * scale
        return Convolution(np.ascontiguousarray(kernel, np.float32), bias.astype(np.float32))

    blocks = []
    for number, (stage, stride) in enumerate(BLOCKS):
        place = f"_blocks.{number}."
        expand = folded(f"{place}_expand_conv", f"{place}_bn0", "io") if stage > 1 else None
        depthwise_ = folded(f"{place}_depthwise_conv", f"{place}_bn1", "hwo")
        project = folded(f"{place}_project_conv", f"{place}_bn2", "io")
        blocks.append(InvertedResidual(stage, stride, expand, depthwise_, project))
    # In a grey image the three colours are equal, so their kernels can be added.
    stem = folded("_conv_stem", "_bn0", "hwo")
    kernel = np.float32(COLOUR_STD) * stem.kernel.reshape(9, -1)
    return Network(Convolution(kernel, stem.bias), tuple(blocks))
