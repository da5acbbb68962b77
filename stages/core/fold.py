"""A trained fold: what train leaves in data/model and what evaluate and predict apply."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.core import calibration, registry
from stages.core.errors import InputError
from stages.core.files import MODEL
from stages.core.inputs import Encoder, Frames
from stages.core.params import Params
from stages.core.weights import FACTS

ENCODER = "encoder.npz"
HEARD = "heard.parquet"  # the recordings that the weights have learnt from or been chosen by


def folder_name(fold: int) -> str:
    """Returns the name of a fold's folder in data/model."""
    return f"fold_{fold:02d}"


@dataclass(frozen=True)
class Fold:
    """One fold's model, ready to be applied.

    Attributes:
        number: of the fold, as in the splits.
        config: the model's block of params.yaml.
        facts: what train noted of it: `classes`, `temperature`, counts.
        encoder: scales and lays out clips.
        folder: where its weights are.
    """

    number: int
    config: Any
    facts: dict[str, Any]
    encoder: Encoder
    folder: Path

    def probabilities(self, clips: Sequence[Frames]) -> pd.DataFrame:
        """Returns a row per clip and a column `p_<emotion>` per class, rows summing to one.

        Args:
            clips: float32 (n_frames, n_dims) each, the config's features side by side.
        """
        entry = registry.load("models", self.facts["model"], "params.model")
        build = partial(entry.build, self.config)
        x, n_classes = self.encoder.encode(clips), len(self.facts["classes"])
        scores: NDArray[np.float64] = entry.TRAINER.scores(build, self.config, self.folder, x, n_classes)
        columns = [f"p_{emotion}" for emotion in self.facts["classes"]]
        return pd.DataFrame(calibration.probabilities(scores, self.facts["temperature"]), columns=columns)


def trained(params: Params) -> list[Fold]:
    """Returns the folds that train finished.

    Raises:
        InputError: there is none, or they are of another model than `params.model`.
    """
    config = params.config("models", params.model, "params.model")
    folds = []
    for path in sorted(MODEL.glob(f"fold_*/{FACTS}")):
        facts = json.loads(path.read_text())
        if facts["model"] != params.model:
            raise InputError(
                f"params.model: '{params.model}', but {MODEL} holds a trained '{facts['model']}'. "
                "Run `dvc repro train`, or choose that one."
            )
        number = int(path.parent.name.removeprefix("fold_"))
        folds.append(Fold(number, config, facts, Encoder.load(path.parent / ENCODER), path.parent))
    if not folds:
        raise InputError(f"{MODEL}: holds no trained fold. Run `dvc repro train`.")
    return folds
