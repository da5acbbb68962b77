"""Train the selected model on every fold, or on the one that `train.fold` names.

Validation alone chooses epochs and the temperature of the probabilities; test labels are never read.
Unfinished work stands in data/checkpoints, under a name made of everything that determines it: an
interrupted run goes on where it stopped, and a changed one starts anew.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import recall_score

from stages.base import registry
from stages.base.errors import InputError, run, unknown
from stages.base.files import (
    CHECKPOINTS,
    DATA,
    FEATURES,
    METRICS,
    MODEL,
    PRETRAINED,
    SPLITS,
    replacing,
    write_json,
)
from stages.base.params import Params, read
from stages.compute import engine, hardware
from stages.compute.engine import Task
from stages.data import code, keys, tables
from stages.learning import calibration, dataset
from stages.learning.preprocessing import Partition, Preprocessor
from stages.learning.trained_fold import PREPROCESSOR, RECORD, TRAINED_ON, folder_name, made_with
from stages.splitting import leak

CURVE, TIMING = "curve.csv", "timing.json"
CURVE_COLUMNS = ["fold", "epoch", "loss", "val_loss", "val_uar", "learning_rate"]


def main() -> None:
    params = read()
    hardware.limit(params.train.threads)
    entry = registry.load("models", params.model, "params.model")
    config = params.config("models", params.model, "params.model")
    check_inputs(entry, config, params.model)
    splits = dataset.read_training_splits()
    index = tables.read(dataset.INDEX, tables.FEATURES)
    started_from = entry.TRAINER.started_from(config)
    before = [*(PRETRAINED / started_from).glob("[!.]*")] if started_from else []
    work = CHECKPOINTS / run_name(params, config, before)
    folds = chosen_folds(params, splits)

    def unfinished() -> Iterator[Task]:
        for fold in folds:
            folder = work / folder_name(fold)
            if not (folder / RECORD).is_file():
                record_trained_on(started_from, splits[splits["fold"] == fold], folder)
                rows = dataset.training_rows(splits, index, fold, params.train.use_augmented)
                leak.check_training(rows)
                make = partial(train_fold, params, entry, config, rows, folder)
                reads = {FEATURES / shard for shard in rows["shard"]} | {*folder.glob("[!.]*"), *before}
                yield Task(folder.name, make, params.train.threads, tuple(sorted(reads)), folder)

    for _ in engine.run(unfinished(), params.compute, "train", processes=1):
        pass
    finish(work, folds)


def check_inputs(entry: ModuleType, config: Any, name: str) -> None:
    """Raises InputError when the model's block asks for a layout it does not take, or an unknown feature."""
    place = f"params.models.{name}.inputs"
    if config.inputs.layout not in entry.LAYOUTS:
        raise unknown(f"{place}.layout", config.inputs.layout, entry.LAYOUTS)
    for feature in config.inputs.features:
        if feature not in registry.names("features"):
            raise unknown(f"{place}.features", feature, registry.names("features"))


def run_name(params: Params, config: Any, before: list[Path]) -> str:
    """Returns the name of the unfinished work: the model and a hash of all that determines the result.

    Args:
        before: files of the weights that training starts from.
    """
    sources = [Path(__file__), registry.STAGES / "models" / f"{params.model}.py"]
    determining = (
        params.seed,
        params.train.model_dump(exclude={"fold"}),
        made_with(params, config),
        code.made_by(sources),
        [keys.sha256(path) for path in (SPLITS, dataset.INDEX, *sorted(before))],
    )
    return f"{params.model}-{keys.fingerprint(*determining)}"


def chosen_folds(params: Params, splits: pd.DataFrame) -> list[int]:
    """Returns the folds to train.

    Raises:
        InputError: `train.fold` names none of the split's.
    """
    folds = sorted(int(fold) for fold in splits["fold"].unique())
    if params.train.fold == "all":
        return folds
    if params.train.fold not in folds:
        raise InputError(
            f"params.train.fold: no fold {params.train.fold}. Choose from all, {folds[0]} to {folds[-1]}."
        )
    return [params.train.fold]


def record_trained_on(started_from: str | None, heard: pd.DataFrame, folder: Path) -> None:
    """Writes down which recordings a fold's weights will have heard, itself or before it starts.

    Args:
        started_from: the folder in data/pretrained whose weights training starts from, or None.
        heard: the fold's rows of train and validation, of schema SPLITS without test.
        folder: of the fold.

    Raises:
        InputError: the weights to start from have heard who is to be tested, or do not say whom they heard.
    """
    recordings = heard[list(tables.TRAINED_ON.columns)]
    if started_from is not None:
        source = PRETRAINED / started_from / TRAINED_ON
        before = tables.read(source, tables.TRAINED_ON)
        fold = int(heard["fold"].iloc[0])
        leak.check_pretrained(before, dataset.read_test_recordings(fold), recordings, source)
        recordings = pd.concat([recordings, before]).drop_duplicates()
    tables.write(recordings.sort_values("clip", ignore_index=True), tables.TRAINED_ON, folder / TRAINED_ON)


def train_fold(params: Params, entry: ModuleType, config: Any, rows: pd.DataFrame, folder: Path) -> None:
    """Trains one fold and writes preprocessor, model, curve.csv, timing.json and, last, its facts."""
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    clips = dataset.load(rows, config.inputs.features, params.train.normalize)
    in_train = (rows["role"] == "train").to_numpy()
    classes = sorted(rows.loc[in_train, "label"].unique())
    frames_per_second = params.audio.sample_rate_hz / params.spectrum.hop_length
    preprocessor = Preprocessor.fit(
        [c for c, used in zip(clips, in_train, strict=True) if used], config.inputs, frames_per_second
    )
    preprocessor.save(folder / PREPROCESSOR)

    x, y = preprocessor.transform(clips), pd.Categorical(rows["label"], classes).codes.astype(np.int64)
    train = Partition(x[in_train], y[in_train], classes)
    validation = Partition(x[~in_train], y[~in_train], classes) if not in_train.all() else None
    build = partial(entry.build, config)
    seed = int(keys.fingerprint(params.seed, params.model, folder.name)[:8], 16)
    curve, noted = entry.TRAINER.fit(build, config, train, validation, folder, seed)

    facts = {
        "model": params.model,
        "classes": classes,
        "n_train": len(train.y),
        "n_epochs": len(curve),
        "temperature": 1.0,
        "threads": params.train.threads,
        "normalize": params.train.normalize,
        "made_with": made_with(params, config),
        "sha256": {name: keys.sha256(folder / name) for name in (PREPROCESSOR, entry.TRAINER.FILE)},
        **noted,
    }
    if validation is not None:
        scores = entry.TRAINER.scores(build, config, folder, validation.x, len(classes))
        facts["n_validation"] = len(validation.y)
        facts["val_uar"] = recall_score(
            validation.y, scores.argmax(1), labels=np.unique(validation.y), average="macro"
        )
        if params.train.calibrate == "temperature":
            facts["temperature"] = calibration.temperature(scores, validation.y)
    with replacing(folder / CURVE) as temporary:
        curve.reindex(columns=CURVE_COLUMNS[1:]).to_csv(temporary, index=False)
    seconds = time.monotonic() - started
    write_json({"seconds": seconds, "seconds_per_epoch": seconds / max(len(curve), 1)}, folder / TIMING)
    write_json(facts, folder / RECORD)
    validated = f", validation UAR {facts['val_uar']:.3f}" if "val_uar" in facts else ""
    print(
        f"train: {params.model} {folder.name}, {len(train.y)} clips{validated}, {seconds:.1f} s", flush=True
    )


def finish(work: Path, folds: list[int]) -> None:
    """Moves the finished folds to data/model and sums them up in metrics and in data/timing.json."""
    folders = {fold: work / folder_name(fold) for fold in folds}
    curves = [pd.read_csv(folder / CURVE).assign(fold=fold) for fold, folder in folders.items()]
    with replacing(METRICS / "history.csv") as temporary:
        pd.concat(curves)[CURVE_COLUMNS].to_csv(temporary, index=False, float_format="%.6g")
    facts = [json.loads((folder / RECORD).read_text()) for folder in folders.values()]
    write_json(summary(facts), METRICS / "train.json")
    timings = {folder.name: json.loads((folder / TIMING).read_text()) for folder in folders.values()}
    write_json(timings, DATA / TIMING)
    shutil.rmtree(MODEL, ignore_errors=True)
    for folder in folders.values():
        shutil.copytree(folder, MODEL / folder.name, ignore=shutil.ignore_patterns(TIMING, ".*.part"))
    for folder in folders.values():
        (
            folder / RECORD
        ).unlink()  # first: half removed by a kill, a fold is not to be taken for a finished one
    shutil.rmtree(work)


def summary(facts: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the folds' facts as scalars: counts, and means over folds."""
    scalars: dict[str, Any] = {"n_folds": len(facts)}
    scalars |= {name: facts[0][name] for name in ("n_parameters", "threads", "precision") if name in facts[0]}
    for name in ("n_train", "n_validation", "n_epochs", "val_uar", "temperature"):
        values = [fact[name] for fact in facts if name in fact]
        if values:
            scalars[name] = float(np.mean(values))
    return scalars


if __name__ == "__main__":
    run(main)
