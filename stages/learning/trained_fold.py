"""A trained fold: train writes it to data/model, evaluate and predict apply it."""

from __future__ import annotations

import math
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
from stages.learning.preprocessing import Frames, Preprocessor, pool
from stages.learning.record import PREPROCESSOR, RECORD, read_record


@dataclass(frozen=True)
class TrainedFold:
    """One fold's model, ready to be applied.

    Attributes:
        number: of the fold, as in the splits.
        config: the model's block of params.yaml.
        record: what train recorded: `made_with`, `classes`, `temperature`, counts.
        preprocessor: standardises clips and pads them to one length.
        folder: where its weights are.
    """

    number: int
    config: Any
    record: dict[str, Any]
    preprocessor: Preprocessor
    folder: Path

    def probabilities(self, clips: Sequence[Frames]) -> pd.DataFrame:
        """Returns a row per clip and a column `p_<emotion>` per class, rows summing to one.

        For a clip that is longer than the model's input, this is the mean over windows of the whole clip.

        Args:
            clips: float32 (n_frames, n_dims) each, the config's features side by side.

        Raises:
            InputError: the model was not written by train.
        """
        entry = registry.load("models", self.record["model"], "params.model")
        n_classes, preprocessor = len(self.record["classes"]), self.preprocessor
        pooled = [pool(frames, preprocessor.layout, preprocessor.frames_per_step) for frames in clips]
        split = [windows(steps, preprocessor.n_steps) for steps in pooled]
        n_windows = np.array([len(each) for each in split], np.int64)
        scores: NDArray[np.float64] = entry.trainer(self.config).scores(
            self.folder, preprocessor.transform([window for each in split for window in each]), n_classes
        )
        if scores.shape != (n_windows.sum(), n_classes) or not np.isfinite(scores).all():
            raise InputError(
                f"{self.folder}: its model does not return {n_classes} finite scores per clip. "
                "Run `dvc repro train`."
            )
        columns = [f"p_{emotion}" for emotion in self.record["classes"]]
        each_window = pd.DataFrame(calibration.probabilities(scores, self.record["temperature"]))
        mean = each_window.groupby(np.repeat(np.arange(len(clips)), n_windows)).mean()
        return mean.set_axis(columns, axis="columns")


def windows(steps: Frames, n_steps: int) -> list[Frames]:
    """Returns as few windows as cover the clip, evenly spaced, each at most (n_steps, n_dims).

    Examples:
        >>> [window.ravel().tolist() for window in windows(np.arange(5.0)[:, None], n_steps=3)]
        [[0.0, 1.0, 2.0], [2.0, 3.0, 4.0]]
    """
    last = max(0, len(steps) - n_steps)
    starts = np.linspace(0, last, max(1, math.ceil(len(steps) / n_steps))).round().astype(int)
    return [steps[start : start + n_steps] for start in starts]


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
        folds.append(TrainedFold(number, config, record, Preprocessor.load(folder / PREPROCESSOR), folder))
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
