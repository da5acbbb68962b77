"""Training one model per fold, and the files in which the folds end up.

Unfinished work is in data/checkpoints, in a folder whose name is a hash of everything that determines the
result: an interrupted run is resumed, a changed one starts from the beginning.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import recall_score

from stages.base import registry
from stages.base.errors import InputError, unknown
from stages.base.files import DATA, METRICS, MODEL, SPLITS, replacing, write_json
from stages.base.params import Params
from stages.data import code, keys
from stages.learning import calibration, dataset
from stages.learning.pooling import FittedPooling
from stages.learning.preprocessing import WITHOUT_TIME_AXIS, Frames, Inputs, Partition, Preprocessor
from stages.learning.record import POOLING, PREPROCESSOR, RECORD, folder_name
from stages.learning.trained_fold import made_with
from stages.learning.trainer import Trainer

CURVE, TIMING, POOLED = "curve.csv", "timing.json", "pooled.npz"
CURVE_COLUMNS = ["fold", "epoch", "loss", "val_loss", "val_uar", "learning_rate"]


def check_inputs(entry: ModuleType, config: Any, name: str) -> None:
    """Raises InputError when a model's block names an unknown feature, or a layout it does not take."""
    inputs, place = config.inputs, f"params.models.{name}.inputs"
    if inputs.layout not in entry.LAYOUTS:
        raise unknown(f"{place}.layout", inputs.layout, entry.LAYOUTS)
    if inputs.layout == "pooled" and config.pooling is None:
        raise InputError(f"params.models.{name}.pooling: empty, but the layout 'pooled' needs it.")
    for feature in inputs.features:
        if feature not in registry.names("features"):
            raise unknown(f"{place}.features", feature, registry.names("features"))


def run_name(params: Params, config: Any, sources: Iterable[Path], initial: Iterable[Path]) -> str:
    """Returns the name of the unfinished work: the model and a hash of all that determines the result.

    Args:
        params: all parameters.
        config: the model's block.
        sources: the files of code that train; what they import counts too.
        initial: the files of the initial weights.
    """
    determining = (
        params.seed,
        params.train.model_dump(exclude={"fold"}),
        made_with(params, config),
        code.made_by(sources),
        [keys.sha256(path) for path in (SPLITS, dataset.INDEX, *sorted(initial))],
    )
    return f"{params.model}-{keys.fingerprint(*determining)}"


def chosen_folds(params: Params, splits: pd.DataFrame) -> list[int]:
    """Returns the folds to train.

    Raises:
        InputError: `train.fold` is not a fold of the split.
    """
    folds = sorted(int(fold) for fold in splits["fold"].unique())
    if params.train.fold == "all":
        return folds
    if params.train.fold not in folds:
        raise InputError(
            f"params.train.fold: no fold {params.train.fold}. Choose from all, {folds[0]} to {folds[-1]}."
        )
    return [params.train.fold]


def store_pooled(
    params: Params, inputs: Inputs, splits: pd.DataFrame, index: pd.DataFrame, work: Path
) -> Path | None:
    """Pools every clip once, for all folds, and returns the file.

    Returns None for layouts with a time axis, and for `pooled` and `normalize: speaker`, which depend on
    the fold.

    Args:
        params: all parameters.
        inputs: of the model.
        splits: train and validation rows of the folds to train.
        index: of all stored features.
        work: the folder of the unfinished work.
    """
    if (
        inputs.layout not in WITHOUT_TIME_AXIS
        or inputs.layout == "pooled"
        or params.train.normalize == "speaker"
    ):
        return None
    path = work / POOLED
    if not path.is_file():
        used = index["parent"].isin(splits["clip"])
        if not params.train.use_augmented:
            used &= index["clip"] == index["parent"]
        dataset.store_pooled(index[used], inputs, path)
    return path


def train_fold(
    params: Params, trainer: Trainer, config: Any, rows: pd.DataFrame, pooled: Path | None, folder: Path
) -> None:
    """Trains one fold and writes preprocessor, model, curve.csv, timing.json and, last, the record.

    Args:
        params: all parameters.
        trainer: of the model.
        config: the model's block.
        rows: of the fold, as `dataset.training_rows` returns them.
        pooled: the file with the clips, None to read their frames.
        folder: of the fold.
    """
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    if trainer.validates_itself:
        rows = rows.assign(role="train")
    pooling = None
    if config.inputs.layout == "pooled":
        place = f"params.models.{params.model}.pooling"
        pooling, clips = dataset.fit_pooling(
            rows, config.inputs, config.pooling, params.train.normalize, place
        )
        pooling.save(folder / POOLING)
    elif pooled is not None:
        clips = dataset.read_pooled(rows, pooled)
    else:
        clips = dataset.load_pooled(rows, config.inputs, params.train.normalize)
    preprocessor, train, validation = partitions(params, config.inputs, rows, clips, pooling)
    preprocessor.save(folder / PREPROCESSOR)
    seed = int(keys.fingerprint(params.seed, params.model, folder.name)[:8], 16)
    curve, fitted = trainer.fit(train, validation, folder, seed)
    files = [PREPROCESSOR, trainer.file, *([POOLING] if pooling is not None else [])]
    record = {
        "model": params.model,
        "classes": train.classes,
        "n_train": len(train),
        "n_epochs": len(curve),
        "temperature": 1.0,
        "threads": params.train.threads,
        "normalize": params.train.normalize,
        "made_with": made_with(params, config),
        "sha256": {name: keys.sha256(folder / name) for name in files},
        **fitted,
    }
    if validation is not None:
        record |= validate(trainer, validation, folder, params.train.calibrate)
    with replacing(folder / CURVE) as temporary:
        curve.reindex(columns=CURVE_COLUMNS[1:]).to_csv(temporary, index=False)
    seconds = time.monotonic() - started
    write_json({"seconds": seconds, "seconds_per_epoch": seconds / max(len(curve), 1)}, folder / TIMING)
    write_json(record, folder / RECORD)
    validated = f", validation UAR {record['val_uar']:.3f}" if validation is not None else ""
    print(f"train: {params.model} {folder.name}, {len(train)} clips{validated}, {seconds:.1f} s", flush=True)


def partitions(
    params: Params,
    inputs: Inputs,
    rows: pd.DataFrame,
    clips: list[Frames],
    pooling: FittedPooling | None = None,
) -> tuple[Preprocessor, Partition, Partition | None]:
    """Returns the preprocessor fitted on train, train, and validation or None without validation clips."""
    in_train = (rows["role"] == "train").to_numpy()
    frames_per_second = params.audio.sample_rate_hz / params.spectrum.hop_length
    training_clips = [clip for clip, used in zip(clips, in_train, strict=True) if used]
    preprocessor = Preprocessor.fit(training_clips, inputs, frames_per_second)
    classes = sorted(rows.loc[in_train, "label"].unique())
    arrays = preprocessor.transform(clips)
    if pooling is not None:
        arrays = pooling.weigh(arrays)
    y, speakers = pd.Categorical(rows["label"], classes).codes.astype(np.int64), rows["speaker"].to_numpy(str)
    train, validation = (
        Partition(arrays.x[used], arrays.lengths[used], y[used], classes, speakers[used])
        for used in (in_train, ~in_train)
    )
    return preprocessor, train, validation if len(validation) else None


def validate(trainer: Trainer, validation: Partition, folder: Path, calibrate: str) -> dict[str, Any]:
    """Returns the record's entries on validation: n_validation, val_uar and, if asked for, temperature."""
    scores = trainer.scores(folder, validation, len(validation.classes))
    present = np.unique(validation.y)
    found = {
        "n_validation": len(validation),
        "val_uar": recall_score(validation.y, scores.argmax(axis=1), labels=present, average="macro"),
    }
    if calibrate == "temperature":
        found["temperature"] = calibration.temperature(scores, validation.y)
    return found


def finish(work: Path, folds: list[int]) -> None:
    """Moves the finished folds to data/model and summarises them in metrics and in data/timing.json."""
    folders = {fold: work / folder_name(fold) for fold in folds}
    curves = [pd.read_csv(folder / CURVE).assign(fold=fold) for fold, folder in folders.items()]
    with replacing(METRICS / "history.csv") as temporary:
        pd.concat(curves)[CURVE_COLUMNS].to_csv(temporary, index=False, float_format="%.6g")
    records = [json.loads((folder / RECORD).read_text()) for folder in folders.values()]
    write_json(summary(records), METRICS / "train.json")
    timings = {folder.name: json.loads((folder / TIMING).read_text()) for folder in folders.values()}
    write_json(timings, DATA / TIMING)
    shutil.rmtree(MODEL, ignore_errors=True)
    for folder in folders.values():
        shutil.copytree(folder, MODEL / folder.name, ignore=shutil.ignore_patterns(TIMING, ".*.part"))
    for folder in folders.values():
        # First, so that a fold which a kill left half removed does not count as finished.
        (folder / RECORD).unlink()
    shutil.rmtree(work)


def summary(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the folds' records as scalars: counts, and means over folds."""
    scalars: dict[str, Any] = {"n_folds": len(records)}
    first = records[0]
    scalars |= {name: first[name] for name in ("n_parameters", "threads", "precision") if name in first}
    for name in ("n_train", "n_validation", "n_epochs", "val_uar", "temperature"):
        values = [record[name] for record in records if name in record]
        if values:
            scalars[name] = float(np.mean(values))
    return scalars
