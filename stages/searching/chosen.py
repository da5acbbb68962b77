"""The check of the chosen model's and features' blocks, which takes importing them."""

from __future__ import annotations

from typing import Any

from stages.audio.extractor import extractor
from stages.base import registry
from stages.base.params import Params
from stages.learning import training

PLACE = "params.featurize.features"


def check(params: Params) -> None:
    """Checks the blocks of the chosen model and features.

    Raises:
        InputError: a value is wrong, or a feature does not fit the block `spectrum`.
    """
    training.selected(params)
    networks = [name for name in params.featurize.features if hasattr(_feature(name), "OWN_FRAMES")]
    extractor(params, [name for name in params.featurize.features if name not in networks], PLACE)


def _feature(name: str) -> Any:
    return registry.load("features", name, PLACE)
