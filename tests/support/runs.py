"""A made-up finished run, for the report."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile

from stages import evaluate, split
from stages.base.files import (
    AUGMENTED,
    CORPORA,
    MANIFEST,
    METRICS,
    MODEL,
    PREDICTIONS,
    RAW,
    SPLITS,
    write_json,
)
from stages.base.params import PARAMS, Params
from stages.base.params import read as read_params
from stages.corpora import ravdess
from stages.data import keys, shards, tables
from stages.data.splits import Splits
from stages.evaluation import metrics
from stages.learning import dataset, live, normalization, trained_fold, training
from stages.learning.record import RECORD, TRAINED_ON, summary
from stages.manifest import about
from stages.splitting import leak, protocols
from tests.support import long_splits
from tests.support.manifests import manifest
from tests.support.workspace import RATE_HZ, Workspace, voice

EMOTIONS = ["anger", "fear", "neutral", "sadness"]
SPEAKERS = {"01": "male", "02": "female", "03": "male", "04": "female"}
SENTENCES = ["dogs", "kids"]


def leave(folder: Path, *, full: bool, corpora: Sequence[str] = ("ravdess",), **changes: Any) -> Path:
    """Returns the folder with a finished run in it.

    Args:
        full: with epochs, song, augmented copies and listeners' votes.
        corpora: of the recordings; with two, the last speaker is the second's.
        changes: keys of params.yaml, with double underscores instead of dots.
    """
    workspace = Workspace(folder)
    workspace.set(corpus=[*corpora], split__n_folds=2, augment__copies=int(full), **changes)
    protocol = workspace.params["split"]["protocol"]
    n_resamples = workspace.params["evaluate"]["n_resamples"]
    table = record(folder, full, corpora)
    splits = assign(table[table["channel"] == "speech"])
    seeds = read_params(folder / PARAMS).train.seeds
    predictions = pd.concat([guess(splits[splits["role"] == "test"], seed) for seed in seeds])
    predictions = predictions.reset_index(drop=True)
    tables.write(table, tables.MANIFEST, folder / MANIFEST)
    chosen = read_params(folder / PARAMS)
    splits.attrs.update(made_with=protocols.made_with(chosen), made_from=protocols.made_from(table, chosen))
    long_splits.write(splits, folder / SPLITS)
    with contextlib.chdir(folder):
        records = train(read_params(), long_splits.of_rows(splits))
    (folder / CORPORA).write_text(json.dumps({name: about(ravdess) for name in corpora}))
    copy(folder, table["clip"].tolist() if full else [])
    test = metrics.summarize(predictions, protocol, n_resamples, workspace.params["seed"]) | {
        "leaky": leak.leaky(protocol),
        "statistics": normalization.statistics(workspace.params["train"]),
    }
    if full:
        test |= {"human_uar": 0.6, "human_n_clips": len(predictions)}
    with contextlib.chdir(folder):
        METRICS.mkdir()
        history(3 if full else 0).to_csv(live.HISTORY, index=False)
        for name, values in {
            "test": test,
            "train": summary([*records.values()]) | {"sha256": sums(live.HISTORY)},
            "split": split.describe(long_splits.of_rows(splits), protocol, {}) | {"sha256": sums(SPLITS)},
        }.items():
            (METRICS / f"{name}.json").write_text(json.dumps(values))
        evaluate.enrolment([{}], chosen).to_csv(METRICS / "enrolment.csv", index=False)
        predictions.attrs = trained_fold.origin(records, chosen) | {"sha256": sums(*trained_fold.TESTED)}
        tables.write(predictions, tables.PREDICTIONS, PREDICTIONS)
    return folder


def sums(*paths: Path) -> dict[str, str]:
    return {path.as_posix(): keys.sha256(path) for path in paths}


def train(params: Params, splits: Splits) -> dict[str, dict[str, Any]]:
    """Writes a record for each fold into the current folder, as if it were trained, and returns them."""
    dataset.INDEX.parent.mkdir(parents=True)
    dataset.INDEX.touch()
    records = {}
    for name, (fold, seed) in trained_fold.trainings(params, splits).items():
        place, rows = MODEL / name, splits.fold(fold, *dataset.SEEN)
        trained_on = rows[list(tables.TRAINED_ON.columns)]
        tables.write(trained_on, tables.TRAINED_ON, place / TRAINED_ON)
        records[place.name] = {
            "model": params.model,
            "fold": fold,
            "seed": seed,
            "classes": EMOTIONS,
            "n_parameters": 1234,
            "n_train": 16,
            "n_train_copies": 0,
            "temperature": 1.5,
            "validated_on": "validation",
            "precision": "bfloat16",
            "normalize": params.train.normalize,
            "statistics": normalization.statistics(params.train.model_dump()),
            "sha256": {TRAINED_ON: keys.sha256(place / TRAINED_ON)},
            **training.origin(params, []),
        }
        write_json(records[place.name], place / RECORD)
    return records


def record(folder: Path, full: bool, corpora: Sequence[str]) -> pd.DataFrame:
    """Writes the recordings and returns their manifest, of schema MANIFEST."""
    rows = [
        {
            "corpus": corpora[int(speaker) // 4 % len(corpora)],
            "clip": f"{channel}-{emotion}-{sentence}-{speaker}",
            "speaker": speaker,
            "sex": sex,
            "sentence": sentence,
            "emotion": emotion,
            "intensity": "normal",
            "repetition": 1,
            "channel": channel,
        }
        for channel in (["speech", "song"] if full else ["speech"])
        for speaker, sex in SPEAKERS.items()
        for sentence in SENTENCES
        for emotion in EMOTIONS
    ]
    table = manifest(rows)
    for number, path in enumerate(table["path"]):
        (folder / RAW / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / RAW / path, voice(path, number), RATE_HZ)
    durations_s = [soundfile.info(folder / RAW / path).duration for path in table["path"]]
    votes = ["anger+fear" if i % 3 == 0 else name for i, name in enumerate(table["emotion"])]
    return table.assign(duration_s=durations_s, listeners=votes if full else None).pipe(
        tables.typed, tables.MANIFEST
    )


def assign(clips: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of two folds that each test half of the speakers."""
    folds = []
    for fold in (0, 1):
        tested = clips["speaker"].str[-2:].astype(int) % 2 == fold
        folds.append(clips.assign(fold=fold, label=clips["emotion"], role=np.where(tested, "test", "train")))
    return pd.concat(folds, ignore_index=True)[long_splits.COLUMNS]


def guess(rows: pd.DataFrame, seed: int = 20) -> pd.DataFrame:
    """Returns predictions of one training that are right more often than not, of schema PREDICTIONS."""
    rng = np.random.default_rng(seed - 13)
    evidence = rng.normal(size=(len(rows), len(EMOTIONS)))
    evidence += 1.5 * (rows["label"].to_numpy()[:, None] == np.array(EMOTIONS))
    probabilities = np.exp(evidence) / np.exp(evidence).sum(axis=1, keepdims=True)
    described = rows[dataset.DESCRIPTION].reset_index(drop=True)
    described.insert(1, "seed", seed)
    guessed = pd.DataFrame(probabilities, columns=[f"p_{name}" for name in EMOTIONS])
    return pd.concat([described, tables.most_probable(guessed).rename("predicted"), guessed], axis=1)


def copy(folder: Path, parents: list[str]) -> None:
    """Writes one shard with a copy of each parent, and the table of schema AUGMENTED."""
    signals = [voice(parent, 3).astype(np.float32) for parent in parents]
    names = [f"{parent}#1" for parent in parents]
    drawn = json.dumps({"gain": {"gain_db": -3.0}})
    (folder / AUGMENTED).mkdir(parents=True)
    if parents:
        np.savez(
            folder / AUGMENTED / "copies.npz",
            clips=np.array(names),
            n_samples=np.array([len(signal) for signal in signals]),
            samples=np.concatenate(signals),
        )
    rows = [
        (name, parent, 1, "copies.npz", len(signal) / RATE_HZ, drawn)
        for name, parent, signal in zip(names, parents, signals, strict=True)
    ]
    tables.write(tables.build(rows, tables.AUGMENTED), tables.AUGMENTED, folder / AUGMENTED / shards.INDEX)


def history(n_epochs: int) -> pd.DataFrame:
    """Returns metrics/history.csv of two folds, the second an epoch shorter."""
    columns = ["fold", "seed", "epoch", "loss", "val_loss", "val_uar", "learning_rate", "finished"]
    rows = [
        (fold, 20, epoch, 1 / (epoch + 1), 1.2 / (epoch + 1), 0.2 * epoch, 0.001, 1)
        for fold in (0, 1)
        for epoch in range(n_epochs - fold)
    ]
    return pd.DataFrame(rows, columns=columns)
