"""What features of a frozen network share: their settings, their log-mel input, and how weights are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stages.audio.log_mel import log_mel
from stages.audio.spectrum import Frames, Spectrum
from stages.base import npz, params
from stages.base.errors import InputError, unknown
from stages.base.params import Block, Sha256
from stages.data import keys

Network = Callable[[Frames], dict[str, Frames]]  # log-mel (n_frames, n_mels) to layers (n_steps, width)
Arrays = dict[str, NDArray[np.float64]]


class Config(Block):
    """The weights, and what is computed with them.

    Attributes:
        weights: npz file with the published checkpoint's arrays, under the same names.
        sha256: of that file.
        layers: stored, side by side, in this order: names in the feature's WIDTHS.
    """

    weights: str
    sha256: Sha256
    layers: Annotated[params.Names, Field(min_length=1)]


def compute(
    spectrum: Spectrum,
    config: Config,
    name: str,
    n_mels: int,
    widths: Mapping[str, int],
    load: Callable[[str, str], Network],
) -> Frames:
    """Returns the chosen layers side by side, float32 (n_steps, the sum of their widths), a step of 80 ms.

    Args:
        n_mels: bands of the network's input.
        widths: by layer, its columns.
        load: returns the network of weights and their checksum.

    Raises:
        InputError: an unknown layer, or see `load`.
    """
    for layer in config.layers:
        if layer not in widths:
            raise unknown(f"params.features.{name}.layers", layer, widths)
    layers = load(config.weights, config.sha256)(log_mel(spectrum.signal, spectrum.sample_rate_hz, n_mels))
    return np.concatenate([layers[layer] for layer in config.layers], axis=1)


@cache
def load(weights: str, sha256: str, name: str, title: str, build: Callable[[Arrays], Any]) -> Any:
    """Returns the network that `build` makes of the published checkpoint's arrays; nothing is unpickled.

    Args:
        weights: npz file.
        sha256: of that file.
        title: of the network, for errors.
        build: of the arrays by name.

    Raises:
        InputError: the file is missing, has another checksum, or lacks an array.
    """
    path = Path(weights)
    keys.check_weights(path, sha256, f"params.features.{name}", "weights")
    try:
        with npz.zipped(path) as stored:
            return build(
                {each: np.asarray(stored[each], np.float64) for each in stored.files if stored[each].ndim}
            )
    except npz.UNREADABLE as error:
        raise InputError(f"{weights}: not the arrays of {title} ({error}).") from error
