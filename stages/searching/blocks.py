"""The check of the chosen model's and features' blocks of params.yaml, which takes importing them."""

from __future__ import annotations

from stages.audio.extractor import extractor
from stages.base import registry
from stages.base.params import Params
from stages.learning import training

PLACE = "params.featurize.features"


def check_blocks(params: Params) -> None:
    """Checks the blocks of the chosen model and features.

    Raises:
        InputError: a value is wrong, or a feature does not fit the block `spectrum`.
    """
    training.selected(params)
    modules = {name: registry.load("features", name, PLACE) for name in params.featurize.features}
    extractor(params, [name for name, module in modules.items() if not hasattr(module, "OWN_FRAMES")], PLACE)
