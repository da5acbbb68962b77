"""What a fold's training clips were like, so that predict can compare a new recording with them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field, ValidationError

from stages.base.errors import InputError
from stages.base.files import write_json
from stages.base.params import Block, Predict

if TYPE_CHECKING:
    import pandas as pd

PROFILE = "profile.json"
COLUMNS = ["clip", "corpus", "duration_s", "level_dbfs", "active_s", "bandwidth_hz"]  # of the manifest
QUANTILES = (0.0, 0.01, 0.05, 0.5, 0.95, 0.99, 1.0)
LOW, HIGH = QUANTILES.index(0.01), QUANTILES.index(0.99)  # the range that a new recording is compared with

Quantiles = Annotated[list[float], Field(min_length=len(QUANTILES), max_length=len(QUANTILES))]


class Profile(Block):
    """Quantiles over the training clips.

    Attributes:
        corpora: the clips are from.
        quantiles: by name of `measures`, at QUANTILES; a measure that the manifest lacks is left out.
    """

    corpora: list[str]
    quantiles: dict[str, Quantiles]


def write(clips: pd.DataFrame, sample_rate_hz: int, path: Path) -> None:
    """Writes the profile of training clips.

    Args:
        clips: COLUMNS of the manifest.
        sample_rate_hz: that the model works at; half of it limits the bandwidth.
    """
    quantiles = {
        name: values.astype(float).quantile(list(QUANTILES)).tolist()
        for name, values in measures(clips, sample_rate_hz).items()
        if values.notna().any()
    }
    write_json(Profile(corpora=sorted(set(clips["corpus"])), quantiles=quantiles).model_dump(), path)


def read(path: Path) -> Profile:
    """Returns the profile at `path`.

    Raises:
        InputError: the file is missing or was not written by train.
    """
    try:
        return Profile.model_validate(json.loads(path.read_bytes()))
    except (OSError, ValueError, ValidationError, RecursionError) as error:
        raise InputError(f"{path}: not a profile written by train. Run `dvc repro train`.") from error


def unlike(measured: dict[str, float], profile: Profile, limits: Predict) -> list[str]:
    """Returns in which measures a recording is unlike the training clips, as sentences.

    Args:
        measured: as `measures` returns it.
        profile: of the training clips.
        limits: `params.predict`: by how much a value may leave the range from the 1st to the 99th percentile.

    Examples:
        >>> profile = Profile(corpora=["x"], quantiles={"bandwidth_hz": [7e3, 7e3, 7e3, 8e3, 8e3, 8e3, 8e3]})
        >>> limits = Predict(excluded="abstain", unlike="warn", level_db=3.0, duration_factor=1.25,
        ...                  bandwidth_factor=1.25, active_fraction=0.1, sure=0.5)
        >>> unlike({"bandwidth_hz": 4e3}, profile, limits)
        ['nothing above 4000 Hz, training clips reach 7000 to 8000 Hz']
    """
    found = []
    for name, value in measured.items():
        if name not in profile.quantiles:
            continue
        low, high = profile.quantiles[name][LOW], profile.quantiles[name][HIGH]
        allowed_low, allowed_high = _widened(name, low, high, limits)
        if not allowed_low <= value <= allowed_high:
            found.append(_SENTENCES[name].format(value=value, low=low, high=high))
    return found


_SENTENCES = {
    "level_dbfs": "level {value:.0f} dBFS, training clips have {low:.0f} to {high:.0f} dBFS",
    "duration_s": "{value:.1f} s long, training clips are {low:.1f} to {high:.1f} s",
    "bandwidth_hz": "nothing above {value:.0f} Hz, training clips reach {low:.0f} to {high:.0f} Hz",
    "active_fraction": "sound for {value:.0%} of the time, in training clips {low:.0%} to {high:.0%}",
}


def _widened(name: str, low: float, high: float, limits: Predict) -> tuple[float, float]:
    match name:
        case "level_dbfs":
            return low - limits.level_db, high + limits.level_db
        case "duration_s":
            return low / limits.duration_factor, high * limits.duration_factor
        case "bandwidth_hz":
            return low / limits.bandwidth_factor, math.inf  # the model's rate limits it
        case _:
            return low - limits.active_fraction, high + limits.active_fraction


def measures(probed: Any, sample_rate_hz: int) -> dict[str, Any]:
    """Returns each measure by name, of a usable recording or of several, which are a table's rows.

    Args:
        probed: duration_s, level_dbfs, active_s and bandwidth_hz.
        sample_rate_hz: see `write`.
    """
    return {
        "level_dbfs": probed["level_dbfs"],
        "duration_s": probed["duration_s"],
        "bandwidth_hz": np.minimum(probed["bandwidth_hz"], sample_rate_hz / 2),
        "active_fraction": probed["active_s"] / probed["duration_s"],
    }
