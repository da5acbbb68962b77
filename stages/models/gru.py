"""GRU layers over the frames, one or both directions (Cho et al. 2014)."""

from __future__ import annotations

from functools import partial

import keras

from stages.networks.frames import FrameTrainer
from stages.networks.layers import RecurrentConfig, recurrent

Config = RecurrentConfig
LAYOUTS = ("frames",)


def build(config: Config, input_shape: tuple[int | None, ...], n_classes: int) -> keras.Model:
    """Returns the network for inputs (n_frames, n_dims)."""
    return recurrent(config, input_shape, n_classes, keras.layers.GRU)


def trainer(config: Config) -> FrameTrainer:
    return FrameTrainer(partial(build, config), config.training)
