"""Train the selected model on every fold, or on the one that `train.fold` names, once for each training seed.

Only validation chooses epochs and the temperature of the probabilities; test labels are never read.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from stages.base.errors import InputError
from stages.base.files import CHECKPOINTS, EVALUATED, MANIFEST, PRETRAINED
from stages.base.params import read
from stages.base.stage import check_unchanged, run
from stages.compute import engine, hardware
from stages.compute.task import Task
from stages.data import code, keys, tables
from stages.learning import dataset, live, profile, record, trained_fold, training
from stages.learning.record import RECORD, TRAINED_ON
from stages.splitting import leak


def main() -> None:
    params = read()
    hardware.limit(params.train.threads)
    with hardware.quiet():  # this may import TensorFlow
        config, trainer = training.selected(params)
    splits, index = dataset.read_training_splits(), tables.read(dataset.INDEX, tables.FEATURES)
    trained_fold.check_features(params, config.inputs.features, index)
    index.attrs = {}  # checked; pandas copies them with every part of the table
    trainings = trained_fold.trainings(params, splits)
    if trainer.started_from:
        record.check_files(PRETRAINED / trainer.started_from, (TRAINED_ON, trainer.file))
    initial = [*(PRETRAINED / trainer.started_from).glob("[!.]*")] if trainer.started_from else []
    stamps = code.stamps(trained_fold.sources(params), params.compute)  # first, so that no edit is missed
    made = training.origin(params, initial)
    check_unchanged()  # nor one since the code was loaded
    measured = tables.read(MANIFEST, tables.MANIFEST, profile.COLUMNS)
    work = CHECKPOINTS / f"{params.model}-{keys.fingerprint(params.train.threads, made)}"
    folds = {fold for fold, _ in trainings.values()}
    seen, copies = dataset.seen(splits, folds), params.train.use_augmented
    pooled = dataset.store_pooled(config.inputs, seen, index, copies, work)
    folders = [work / name for name in trainings]
    n_left = sum(not (folder / RECORD).is_file() for folder in folders)
    n_at_once = max(1, min(n_left, params.compute.workers // params.train.threads))

    def unfinished() -> Iterator[Task]:
        for name, (fold, seed) in trainings.items():
            folder = work / name
            if (folder / RECORD).is_file():
                continue
            own = splits.fold(fold, *dataset.SEEN)
            record_recordings(trainer.started_from, own, folder)
            used = own.assign(role="train") if trainer.trains_on_validation else own
            rows = dataset.training_rows(used, index, params.train.use_augmented)
            trained_on = measured[measured["clip"].isin(rows.loc[rows["role"] == "train", "clip"])]
            profile.write(trained_on, params.audio.sample_rate_hz, folder / profile.PROFILE)
            leak.check_training(rows)
            make = partial(
                training.train_fold, params, trainer, config, made, rows, pooled, fold, seed, folder, stamps
            )
            yield Task(folder.name, make, params.train.threads)

    for path in EVALUATED:  # of the last model: DVC would show them beside the settings of this one
        path.unlink(missing_ok=True)
    with live.progress(folders, trainer.epochs):
        for line in engine.run(unfinished(), params.compute, "train", n_at_once, here=trainer.epochs is None):
            tqdm.write(line)
    check_unchanged()  # before the finished folds are moved: after an edit is undone, the run goes on
    training.finish(work, trainings)


def record_recordings(started_from: str | None, rows: pd.DataFrame, folder: Path) -> None:
    """Writes which recordings a fold's weights are trained and validated on, including initial weights'.

    Args:
        started_from: the folder in data/pretrained with the initial weights, or None.
        rows: the fold's train and validation rows.

    Raises:
        InputError: the initial weights were trained on test speakers, or their recordings are not listed.
    """
    recordings = rows[list(tables.TRAINED_ON.columns)]
    if started_from is not None:
        source = PRETRAINED / started_from / TRAINED_ON
        if not source.is_file():
            raise InputError(f"{source}: missing. Copy the whole fold there, or use `ser convert`.")
        earlier = tables.read(source, tables.TRAINED_ON)
        fold = int(rows["fold"].iloc[0])
        leak.check_pretrained(earlier, dataset.read_test_recordings(fold), recordings, source)
        recordings = pd.concat([recordings, earlier]).drop_duplicates()
    tables.write(recordings.sort_values("clip", ignore_index=True), tables.TRAINED_ON, folder / TRAINED_ON)


if __name__ == "__main__":
    run(main)
