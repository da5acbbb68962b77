"""Train the selected model on every fold, or on the one that `train.fold` names.

Only validation chooses epochs and the temperature of the probabilities; test labels are never read.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd

from stages.base import registry
from stages.base.errors import run
from stages.base.files import CHECKPOINTS, FEATURES, PRETRAINED
from stages.base.params import read
from stages.compute import engine, hardware
from stages.compute.engine import Task
from stages.data import tables
from stages.learning import dataset, training
from stages.learning.record import RECORD, TRAINED_ON, folder_name
from stages.splitting import leak


def main() -> None:
    params = read()
    hardware.limit(params.train.threads)
    entry = registry.load("models", params.model, "params.model")
    config = params.config("models", params.model, "params.model")
    training.check_inputs(entry, config, params.model)
    trainer = entry.trainer(config)
    splits, index = dataset.read_training_splits(), tables.read(dataset.INDEX, tables.FEATURES)
    folds = training.chosen_folds(params, splits)
    splits = splits[splits["fold"].isin(folds)]
    initial = [*(PRETRAINED / trainer.started_from).glob("[!.]*")] if trainer.started_from else []
    sources = [Path(__file__), registry.STAGES / "models" / f"{params.model}.py"]
    work = CHECKPOINTS / training.run_name(params, config, sources, initial)
    pooled = training.store_pooled(params, config.inputs, splits, index, work)

    def unfinished() -> Iterator[Task]:
        for fold in folds:
            folder = work / folder_name(fold)
            if (folder / RECORD).is_file():
                continue
            record_recordings(trainer.started_from, splits[splits["fold"] == fold], folder)
            rows = dataset.training_rows(splits, index, fold, params.train.use_augmented)
            leak.check_training(rows)
            make = partial(training.train_fold, params, trainer, config, rows, pooled, folder)
            clips = {pooled} if pooled else {FEATURES / shard for shard in rows["shard"]}
            reads = clips | {*folder.glob("[!.]*"), *initial}
            yield Task(folder.name, make, params.train.threads, tuple(sorted(reads)), folder)

    for _ in engine.run(unfinished(), params.compute, "train", processes=1):
        pass
    training.finish(work, folds)


def record_recordings(started_from: str | None, rows: pd.DataFrame, folder: Path) -> None:
    """Writes which recordings a fold's weights are trained and validated on, including initial weights'.

    Args:
        started_from: the folder in data/pretrained with the initial weights, or None.
        rows: the fold's train and validation rows, of schema SPLITS.
        folder: of the fold.

    Raises:
        InputError: the initial weights were trained on test speakers, or their recordings are not listed.
    """
    recordings = rows[list(tables.TRAINED_ON.columns)]
    if started_from is not None:
        source = PRETRAINED / started_from / TRAINED_ON
        earlier = tables.read(source, tables.TRAINED_ON)
        fold = int(rows["fold"].iloc[0])
        leak.check_pretrained(earlier, dataset.read_test_recordings(fold), recordings, source)
        recordings = pd.concat([recordings, earlier]).drop_duplicates()
    tables.write(recordings.sort_values("clip", ignore_index=True), tables.TRAINED_ON, folder / TRAINED_ON)


if __name__ == "__main__":
    run(main)
