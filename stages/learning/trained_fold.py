"""A trained fold: train writes it to data/model, evaluate and predict apply it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.base import registry
from stages.base.errors import InputError
from stages.base.files import MODEL
from stages.base.params import Params
from stages.data import keys
from stages.learning import calibration
from stages.learning.pooling import FittedPooling
from stages.learning.preprocessing import Frames, Preprocessor, pool, standardize_speakers
from stages.learning.record import POOLING, PREPROCESSOR, RECORD, read_record


@dataclass(frozen=True)
class TrainedFold:
    """One fold's model, ready to be applied.

    Attributes:
        number: of the fold, as in the splits.
        config: the model's block of params.yaml.
        record: what train recorded: `made_with`, `classes`, `temperature`, counts.
        preprocessor: standardises clips and pads them to one length.
        folder: where its weights are.
        pooling: of the layout `pooled`, else None.
    """

    number: int
    config: Any
    record: dict[str, Any]
    preprocessor: Preprocessor
    folder: Path
    pooling: FittedPooling | None = None

    def probabilities(self, clips: Sequence[Frames], speakers: Sequence[str] | None = None) -> pd.DataFrame:
        """Returns a row per clip and a column `p_<emotion>` per class, rows summing to one.

        Args:
            clips: float32 (n_frames, n_dims) each, the config's features side by side.
            speakers: of the clips, for the layout `pooled` trained with `normalize: speaker`.

        Raises:
            InputError: the model was not written by train.
        """
        entry = registry.load("models", self.record["model"], "params.model")
        n_classes, preprocessor = len(self.record["classes"]), self.preprocessor
        if self.pooling is None:
            pooled = [pool(frames, preprocessor.layout, preprocessor.frames_per_step) for frames in clips]
        else:
            pooled = [self.pooling(frames) for frames in clips]
        if self.pooling is not None and speakers is not None:
            names = [str(number) for number in range(len(pooled))]
            rows = pd.DataFrame({"clip": names, "parent": names, "speaker": list(speakers)})
            pooled = [*standardize_speakers(dict(zip(names, pooled, strict=True)), rows).values()]
        standardized = preprocessor.transform(pooled)
        if self.pooling is not None:
            standardized = self.pooling.weigh(standardized)
        scores: NDArray[np.float64] = entry.trainer(self.config).scores(self.folder, standardized, n_classes)
        if scores.shape != (len(clips), n_classes) or not np.isfinite(scores).all():
            raise InputError(
                f"{self.folder}: its model does not return {n_classes} finite scores per clip. "
                "Run `dvc repro train`."
            )
        columns = [f"p_{emotion}" for emotion in self.record["classes"]]
        return pd.DataFrame(calibration.probabilities(scores, self.record["temperature"]), columns=columns)


def trained(params: Params) -> list[TrainedFold]:
    """Returns the trained folds.

    Raises:
        InputError: there are none, or they are of another model than `params.model`.
    """
    config = params.config("models", params.model, "params.model")
    folds = []
    for folder in sorted(MODEL.glob("fold_*")):
        number, record = _number(folder), read_record(folder / RECORD)
        if record["model"] != params.model:
            raise InputError(
                f"params.model: '{params.model}', but {MODEL} contains a trained '{record['model']}'. "
                "Run `dvc repro train`, or choose that one."
            )
        for name, written in record["sha256"].items():
            path = folder / Path(name).name
            if not path.is_file() or keys.sha256(path) != written:
                raise InputError(f"{path}: missing, or changed since train wrote it. Run `dvc repro train`.")
        preprocessor, pooling = Preprocessor.load(folder / PREPROCESSOR), None
        if config.inputs.layout == "pooled":
            pooling = FittedPooling.load(config.pooling, folder / POOLING)
        folds.append(TrainedFold(number, config, record, preprocessor, folder, pooling))
    if not folds:
        raise InputError(f"{MODEL}: contains no trained fold. Run `dvc repro train`.")
    return folds


def made_with(params: Params, config: Any) -> dict[str, Any]:
    """Returns the settings that determine a recording's scores, by key of params.yaml (`audio.pre_emphasis`).

    A list of plain values is one value; in blocks and other lists every value has its own key. The model's
    whole block is included and comes first.

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
        raise InputError(f"{folder}: not a fold written by train. Run `dvc repro train`.")
    return int(match[1])
