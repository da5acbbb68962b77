"""What the tool `robustness` measured, for the report and the model card."""

from __future__ import annotations

from typing import Any

from stages.base.files import METRICS
from stages.base.params import Params
from stages.base.registry import STAGES
from stages.data import code, keys, tables

FILE = METRICS / "robustness.json"
DEGRADE = ("codec", "gain", "noise", "reverberation")  # the augmentations that the tool applies
CODE = [STAGES / "tools" / "robustness.py", *(STAGES / "augmentations" / f"{name}.py" for name in DEGRADE)]


def made_from(origin: dict[Any, Any], params: Params) -> str:
    """Returns the fingerprint of what is measured, of the limits of predict, and of the tool's code.

    Args:
        origin: what the predictions are made from, `trained_fold.origin` or the table's `attrs`.
        params: `manifest` and `predict` decide about warnings and abstentions.
    """
    measured = {name: value for name, value in origin.items() if name != "sha256"}
    limits = [params.manifest.model_dump(), params.predict.model_dump()]
    return keys.fingerprint(measured, limits, code.hashes(CODE))


def read(origin: dict[Any, Any], params: Params) -> dict[str, Any] | None:
    """Returns what the tool measured of these folds; None if it measured something else, or nothing.

    Args:
        origin: see `made_from`.
        params: see `made_from`.

    Raises:
        InputError: the file is damaged.
    """
    if not FILE.is_file():
        return None
    measured = tables.read_scalars(FILE, ("made_from", "n_clips", "n_speakers", "conditions"))
    return measured if measured["made_from"] == made_from(origin, params) else None
