"""A trained fold: what train leaves in data/model and what evaluate and predict apply."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stages.base import registry
from stages.base.errors import InputError
from stages.base.files import MODEL
from stages.base.params import Params, Positive
from stages.data import keys, tables
from stages.data.vocabulary import Emotion
from stages.learning import calibration
from stages.learning.preprocessing import Frames, Preprocessor

RECORD = "fold.json"  # settings, classes, temperature and counts; train writes it last
PREPROCESSOR = "preprocessor.npz"
TRAINED_ON = "heard.parquet"  # the recordings that the weights have learnt from or been chosen by


def folder_name(fold: int) -> str:
    """Returns the name of a fold's folder in data/model."""
    return f"fold_{fold:02d}"


class Record(BaseModel):
    """What evaluate and predict need of a fold's facts."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

    model: str
    classes: Annotated[list[Emotion], Field(min_length=1)]
    temperature: Positive
    normalize: Literal["global", "speaker"]
    made_with: dict[str, Any]
    sha256: dict[str, str]


@dataclass(frozen=True)
class TrainedFold:
    """One fold's model, ready to be applied.

    Attributes:
        number: of the fold, as in the splits.
        config: the model's block of params.yaml.
        facts: what train noted of it: `made_with`, `classes`, `temperature`, counts.
        preprocessor: scales and lays out clips.
        folder: where its weights are.
    """

    number: int
    config: Any
    facts: dict[str, Any]
    preprocessor: Preprocessor
    folder: Path

    def probabilities(self, clips: Sequence[Frames]) -> pd.DataFrame:
        """Returns a row per clip and a column `p_<emotion>` per class, rows summing to one.

        Args:
            clips: float32 (n_frames, n_dims) each, the config's features side by side.

        Raises:
            InputError: the model is not the one that train wrote.
        """
        entry = registry.load("models", self.facts["model"], "params.model")
        build = partial(entry.build, self.config)
        x, n_classes = self.preprocessor.transform(clips), len(self.facts["classes"])
        scores: NDArray[np.float64] = entry.TRAINER.scores(build, self.config, self.folder, x, n_classes)
        if scores.shape != (len(x), n_classes) or not np.isfinite(scores).all():
            raise InputError(
                f"{self.folder}: its model does not give {n_classes} finite scores a clip, so it is not the "
                "one that train wrote. Run `dvc repro train`."
            )
        columns = [f"p_{emotion}" for emotion in self.facts["classes"]]
        return pd.DataFrame(calibration.probabilities(scores, self.facts["temperature"]), columns=columns)


def trained(params: Params) -> list[TrainedFold]:
    """Returns the folds that train finished.

    Raises:
        InputError: there is none, or they are of another model than `params.model`.
    """
    config = params.config("models", params.model, "params.model")
    folds = []
    for folder in sorted(MODEL.glob("fold_*")):
        number, facts = _number(folder), read_record(folder / RECORD)
        if facts["model"] != params.model:
            raise InputError(
                f"params.model: '{params.model}', but {MODEL} holds a trained '{facts['model']}'. "
                "Run `dvc repro train`, or choose that one."
            )
        for name, written in facts["sha256"].items():
            path = folder / Path(name).name
            if not path.is_file() or keys.sha256(path) != written:
                raise InputError(f"{path}: missing, or not the file that train wrote. Run `dvc repro train`.")
        folds.append(TrainedFold(number, config, facts, Preprocessor.load(folder / PREPROCESSOR), folder))
    if not folds:
        raise InputError(f"{MODEL}: holds no trained fold. Run `dvc repro train`.")
    return folds


def read_record(path: Path) -> dict[str, Any]:
    """Returns what train noted of a fold.

    Raises:
        InputError: the file is missing, or is none that train wrote.
    """
    facts = tables.read_scalars(path)
    try:
        Record.model_validate(facts)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"]))
        raise InputError(
            f"{path}: no facts that train wrote ({key}: {fault['msg']}). Run `dvc repro train`."
        ) from error
    return facts


def made_with(params: Params, config: Any) -> dict[str, Any]:
    """Returns what decides how the model takes a recording, by keys of params.yaml: `audio.pre_emphasis`.

    Lists of plain values are values; in other blocks and lists every value has its own key. The model's block
    is there as a whole, and comes first.

    Args:
        config: the model's block.
    """
    used = {name: params.features[name] for name in config.inputs.features if name in params.features}
    blocks = {
        "models": {params.model: config.model_dump(mode="json")},
        "features": used,
        "audio": params.audio.model_dump(),
        "spectrum": params.spectrum.model_dump(),
    }
    return dict(_leaves("", blocks))


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        value = dict(enumerate(value))
    if isinstance(value, dict) and value:
        for name, below in value.items():
            yield from _leaves(f"{key}.{name}" if key else str(name), below)
    else:
        yield key, value


def _number(folder: Path) -> int:
    match = re.fullmatch(r"fold_(\d+)", folder.name)
    if not match:
        raise InputError(f"{folder}: no fold that train wrote. Run `dvc repro train`.")
    return int(match[1])
