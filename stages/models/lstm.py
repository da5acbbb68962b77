"""LSTM layers over the frames, one or both directions (Hochreiter & Schmidhuber 1997)."""

from __future__ import annotations

import keras

from stages.networks import network as TRAINER
from stages.networks.layers import RecurrentConfig as Config
from stages.networks.layers import recurrent

__all__ = ["LAYOUTS", "TRAINER", "Config", "build"]

LAYOUTS = ("frames",)


def build(config: Config, input_shape: tuple[int | None, ...], n_classes: int) -> keras.Model:
    """Returns the network for inputs (n_frames, n_dims)."""
    return recurrent(config, input_shape, n_classes, keras.layers.LSTM)
