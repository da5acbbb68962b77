"""A trained fold: train writes it to data/model, evaluate and predict apply it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.base import registry
from stages.base.errors import N_LISTED, InputError, shown_key
from stages.base.files import MODEL, SPLITS
from stages.base.params import Params
from stages.data import code, keys, tables
from stages.learning import calibration, windows
from stages.learning.preprocessing import Clips, Frames
from stages.learning.record import RECORD, TRAINED_ON, folder_name, read_record
from stages.learning.windows import Preparation
from stages.splitting import leak, protocols


@dataclass(frozen=True)
class TrainedFold:
    """One fold's model, ready to be applied.

    Attributes:
        number: of the fold, as in the splits.
        config: the model's block of params.yaml.
        record: what train recorded: what the fold was made from, `classes`, `temperature`, counts.
        preparation: makes the model's input of a clip.
        folder: where its weights are.
    """

    number: int
    config: Any
    record: dict[str, Any]
    preparation: Preparation
    folder: Path

    def probabilities(self, clips: Sequence[Frames], speakers: Sequence[str] | None = None) -> pd.DataFrame:
        """Returns a row per clip and a column `p_<emotion>` per class, rows summing to one.

        For a clip that is longer than the model's input, this is the mean over windows of the whole clip.

        Args:
            clips: float32 (n_frames, n_dims) each, the config's features side by side.
            speakers: of the clips, for the layout `pooled` trained with `normalize: speaker`.

        Raises:
            InputError: the model was not written by train.
        """
        inputs, n_windows = self.preparation(clips, speakers)
        mean = windows.means(self.window_probabilities(inputs), n_windows)
        return pd.DataFrame(mean, columns=[f"p_{emotion}" for emotion in self.record["classes"]])

    def window_probabilities(self, inputs: Clips) -> NDArray[np.float64]:
        """Returns float64 (n_windows, n_classes) of prepared windows.

        Raises:
            InputError: see `probabilities`.
        """
        entry = registry.load("models", self.record["model"], "params.model")
        n_classes = len(self.record["classes"])
        scores: NDArray[np.float64] = entry.trainer(self.config).scores(self.folder, inputs, n_classes)
        if scores.shape != (len(inputs), n_classes) or not np.isfinite(scores).all():
            raise InputError(
                f"{self.folder}: its model does not return {n_classes} finite scores per clip. "
                "Run `dvc repro train`."
            )
        return calibration.probabilities(scores, self.record["temperature"])


def read_records(params: Params) -> dict[int, dict[str, Any]]:
    """Returns the record of each trained fold, by its number, after checking that it belongs here.

    Raises:
        InputError: no fold is trained, a file of one has changed since, or the folds were trained with other
            settings, code or libraries than the present ones.
    """
    records = {}
    for folder in sorted(MODEL.glob("fold_*")):
        record = records[_number(folder)] = read_record(folder / RECORD)
        if record["model"] != params.model:
            raise InputError(
                f"params.model: '{params.model}', but {MODEL} contains a trained '{record['model']}'. "
                "Run `dvc repro train`, or choose that one."
            )
        for name, written in record["sha256"].items():
            path = folder / Path(name).name
            if not path.is_file() or keys.sha256(path) != written:
                raise InputError(f"{path}: missing, or changed since train wrote it. Run `dvc repro train`.")
        _check_same("params.", made_with(params), record["made_with"])
        _check_same("", made_by(params.model), record["made_by"])
    if not records:
        raise InputError(f"{MODEL}: contains no trained fold. Run `dvc repro train`.")
    return records


def trained(params: Params) -> list[TrainedFold]:
    """Returns the trained folds, ready to be applied.

    Raises:
        InputError: see `read_records`.
    """
    config = params.config("models", params.model, "params.model")
    folds = []
    for number, record in read_records(params).items():
        folder = MODEL / folder_name(number)
        pooling = config.pooling if config.inputs.layout == "pooled" else None
        folds.append(TrainedFold(number, config, record, Preparation.load(folder, pooling), folder))
    return folds


def check_tested(
    records: dict[int, dict[str, Any]],
    params: Params,
    splits: pd.DataFrame,
    inputs: Iterable[Path] = (SPLITS,),
) -> None:
    """Checks that the folds may be tested on the test clips of these splits: call it before any score.

    Args:
        records: of the folds, as `read_records` returns them.
        params: all parameters.
        splits: the table at SPLITS.
        inputs: the files that have to be those that the folds were trained with.

    Raises:
        InputError: the splits were made with other settings, or the folds trained with other inputs; or they
            are not all the folds that params choose.
        LeakError: a fold was trained on a test recording or, unless the protocol is leaky, a test speaker.
    """
    _check_same("params.", protocols.made_with(params), splits.attrs.get("made_with", {}), SPLITS, "split")
    chosen = training_folds(params, splits)
    if sorted(records) != chosen:
        raise InputError(
            f"{MODEL}: contains the folds {_listed(records)}, but {SPLITS} and params.train.fold ask for "
            f"{_listed(chosen)}. Run `dvc repro train`."
        )
    now = {path.as_posix(): keys.sha256(path) for path in inputs}
    for number, record in records.items():
        source = MODEL / folder_name(number) / TRAINED_ON
        for path, content in now.items():
            if record["made_from"].get(path) != content:
                raise InputError(
                    f"{path}: is not the one that {source.parent} was trained with. Run `dvc repro train`."
                )
        test = splits[(splits["fold"] == number) & (splits["role"] == "test")]
        leak.check_model(tables.read(source, tables.TRAINED_ON), test, params.split.protocol, source)


def origin(records: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """Returns what predictions of these folds were made from, to be stored with them.

    It has the settings, code, versions of libraries and data that the folds have in common, and in `models` a
    fingerprint of each fold's own files.
    """
    first, *_ = records.values()
    common = {key: first[key] for key in ("made_with", "made_by", "made_from")}
    models = {str(number): keys.fingerprint(record["sha256"]) for number, record in records.items()}
    return common | {"models": models}


def training_folds(params: Params, splits: pd.DataFrame) -> list[int]:
    """Returns the folds that params choose to train.

    Raises:
        InputError: `train.fold` is not a fold of the splits.
    """
    folds = sorted(int(fold) for fold in splits["fold"].unique())
    if params.train.fold == "all":
        return folds
    if params.train.fold not in folds:
        raise InputError(
            f"params.train.fold: no fold {params.train.fold}. Choose from all, {folds[0]} to {folds[-1]}."
        )
    return [params.train.fold]


def made_with(params: Params) -> dict[str, Any]:
    """Returns the settings that determine a model's scores, by key of params.yaml (`audio.pre_emphasis`).

    The model's whole block is included and comes first.
    """
    block = params.block("models", params.model)
    used = {name: params.features[name] for name in block["inputs"]["features"] if name in params.features}
    blocks = {
        "models": {params.model: block},
        "features": used,
        "audio": params.audio.model_dump(),
        "spectrum": params.spectrum.model_dump(),
        "train": params.train.model_dump(exclude={"fold", "threads"}),
    }
    return keys.leaves(blocks)


def made_by(model: str) -> dict[str, str]:
    """Returns the code that trains and applies a model, and the versions of the libraries that it uses."""
    return code.made_by([registry.STAGES / "train.py", registry.STAGES / "models" / f"{model}.py"])


def _check_same(
    prefix: str, now: dict[str, Any], then: dict[str, Any], made: Path = MODEL, stage: str = "train"
) -> None:
    """Raises InputError with the first key that differs from what `stage` wrote `made` with."""
    for key in {**now, **then}:
        if (key in now) != (key in then) or now[key] != then[key]:
            place = key if key in now else shown_key(key)
            raise InputError(
                f"{prefix}{place}: {_shown(now, key)}, but {made} was made with {_shown(then, key)}. "
                f"Set it back, or run `dvc repro {stage}`."
            )


def _shown(settings: dict[str, Any], key: str) -> str:
    """Returns a setting, cut to a few hundred characters."""
    value = repr(settings[key]) if key in settings else "nothing"
    return textwrap.shorten(value, N_LISTED, placeholder=" ...")


def _listed(folds: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(folds))) or "none"


def _number(folder: Path) -> int:
    match = re.fullmatch(r"fold_(\d+)", folder.name)
    if not match:
        raise InputError(f"{folder}: not a fold written by train. Run `dvc repro train`.")
    return int(match[1])
