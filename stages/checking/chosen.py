"""The checks of what params.yaml chooses, which take importing it: blocks of entries, inputs and split."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd

from stages.audio.extractor import extractor
from stages.base import registry
from stages.base.errors import InputError, first_of, listed, shown
from stages.base.params import Params
from stages.checking.split import check_split
from stages.compute import hardware
from stages.data import keys
from stages.learning import training

PLACE = "params.featurize.features"

logger = logging.getLogger(__name__)


def check_chosen(params: Params) -> pd.DataFrame | None:
    """Checks what is chosen, before any recording is read; returns what `check_split` does.

    Raises:
        InputError: see `check_blocks`, `check_inputs` and `check_split`.
    """
    check_blocks(params)
    check_inputs(params)
    return check_split(params)


def check_blocks(params: Params) -> None:
    """Checks the blocks of the chosen model and features.

    Raises:
        InputError: a value is wrong, a feature does not fit the block `spectrum`, or its weights have another
            checksum. Missing ones are a warning: stored features can be used without them.
    """
    with hardware.quiet():  # this may import TensorFlow
        training.selected(params)
    modules = {name: registry.load("features", name, PLACE) for name in params.featurize.features}
    extractor(params, [name for name in modules if not registry.has_own_frames(name, PLACE)], PLACE)
    for name, module in modules.items():
        if hasattr(module, "FILE"):
            path, sha256 = (params.block("features", name)[key] for key in (module.FILE, "sha256"))
            names, place = getattr(module, "FILES", ()), f"params.features.{name}"
            missing = [str(file) for file in keys.weight_files(Path(path), names) if not file.is_file()]
            if missing:
                logger.warning(
                    "%s.%s: %s missing, so it cannot be computed anew",
                    place,
                    module.FILE,
                    first_of(missing),
                )
            else:
                keys.check_weights(Path(path), sha256, place, module.FILE, names)


def check_inputs(params: Params) -> None:
    """Checks that the model's features are among those that are computed.

    Raises:
        InputError: a feature is not in `featurize.features`.
    """
    match params.block("models", params.model):
        case {"inputs": {"features": [*features]}}:
            computed = params.featurize.features
            for feature in features:
                if feature not in computed:
                    raise InputError(
                        f"params.models.{params.model}.inputs.features: {shown(feature)} is not in "
                        f"params.featurize.features, {listed(computed)}. Add it there, or remove it here."
                    )
