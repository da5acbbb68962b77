"""Training one model per fold, and the files in which the folds end up.

Unfinished work is in data/checkpoints, in a folder whose name is a hash of everything that determines the
result: an interrupted run is resumed, a changed one starts from the beginning.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import recall_score

from stages.base import registry
from stages.base.errors import InputError, unknown
from stages.base.files import DATA, METRICS, MODEL, SPLITS, write_json
from stages.base.params import Params
from stages.data import code, keys
from stages.learning import calibration, dataset, live, normalization
from stages.learning.normalization import SPEAKER_MEANS, SpeakerMeans
from stages.learning.pooling import FittedPooling, Stream
from stages.learning.preprocessing import WITHOUT_TIME_AXIS, Frames, Inputs, Partition, Preprocessor
from stages.learning.profile import PROFILE
from stages.learning.record import RECORD, TRAINED_ON, folder_name, summary
from stages.learning.trained_fold import made_by, made_with
from stages.learning.trainer import CrossValidated, Trainer
from stages.learning.windows import POOLING, PREPROCESSOR

N_CROSS_VALIDATED = 5  # groups of speakers, as Platt 1999 holds out in fifths or thirds
TIMING = "timing.json"

HeldOut = tuple[NDArray[np.float64], NDArray[np.int64]]  # scores and labels of validation

logger = logging.getLogger(__name__)


def selected(params: Params) -> tuple[Any, Trainer]:
    """Returns the block of the selected model, and its trainer.

    Raises:
        InputError: there is no such model, its block is not valid, a feature is unknown, the model or
            `train.normalize` does not take the layout, or `duration_s` is set for frames of another rate.
    """
    entry = registry.load("models", params.model, "params.model")
    config = params.config("models", params.model, "params.model")
    inputs, place = config.inputs, f"params.models.{params.model}.inputs"
    normalization.check(params.train.normalize, inputs.layout, place)
    if inputs.layout not in entry.LAYOUTS:
        raise unknown(f"{place}.layout", inputs.layout, entry.LAYOUTS)
    if inputs.layout == "pooled" and config.pooling is None:
        raise InputError(f"params.models.{params.model}.pooling: empty, but the layout 'pooled' needs it.")
    for feature in inputs.features:
        if registry.has_own_frames(feature, f"{place}.features") and inputs.cut_s is not None:
            raise InputError(
                f"{place}.duration_s: {inputs.cut_s:g}, but {feature} has a frame rate of its own. Set it to "
                "null, which means the longest training clip."
            )
        if inputs.layout == "pooled":
            _check_streams(config.pooling.streams, feature, params)
    return config, entry.trainer(config)


def _check_streams(streams: Sequence[Stream], feature: str, params: Params) -> None:
    """Checks that the streams of a feature are its layers, if it has layers: `WIDTHS` in its file.

    Raises:
        InputError: they have other names, another order or other widths.
    """
    widths = getattr(registry.load("features", feature, "params.models"), "WIDTHS", None)
    if widths is None:
        return
    layers = params.config("features", feature, "params.models").layers
    wanted = [f"{layer} ({widths.get(layer)} columns)" for layer in layers]
    found = [f"{each.name} ({each.columns} columns)" for each in streams if each.feature == feature]
    if found != wanted:
        raise InputError(
            f"params.models.{params.model}.pooling.streams: those of {feature} are "
            f"{', '.join(found) or 'none'}, but params.features.{feature}.layers are "
            f"{', '.join(wanted)}. Make them the same."
        )


def origin(params: Params, initial: Iterable[Path]) -> dict[str, Any]:
    """Returns all that determines the result, for the folds' records: made_with, made_by and made_from.

    Args:
        initial: the files of the initial weights.
    """
    inputs = [SPLITS, dataset.INDEX, *sorted(initial)]
    return {
        "made_with": made_with(params),
        "made_by": made_by(params),
        "made_from": {path.as_posix(): keys.sha256(path) for path in inputs},
    }


def train_fold(
    params: Params,
    trainer: Trainer,
    config: Any,
    made: dict[str, Any],
    rows: pd.DataFrame,
    pooled: Path | None,
    fold: int,
    train_seed: int,
    folder: Path,
    stamps: Mapping[Path, int],
) -> str:
    """Trains one fold and writes preprocessor, model, curve.csv, timing.json and, last, the record.

    Args:
        made: the `origin` of the model.
        rows: of the fold, as `dataset.training_rows` returns them.
        pooled: the file with the clips, None to read their frames.
        train_seed: one of `params.train.seeds`.
        stamps: of the code, by `code.stamps`.

    Returns:
        A line for the log.

    Raises:
        InputError: code was edited since the stage began, so this process may have loaded either state of it.
    """
    code.check_unedited(stamps)
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    normalization.check_speakers(params.train.normalize, rows)
    normalization.warn_of_single_recordings(params.train.normalize, rows)
    inputs, pooling = config.inputs, None
    if inputs.layout == "pooled":
        place = f"params.models.{params.model}.pooling"
        pooling, clips = dataset.fit_pooling(rows, inputs, config.pooling, place)
        pooling.save(folder / POOLING)
    elif pooled is not None:
        clips = dataset.read_pooled(rows, pooled)
    else:
        clips = dataset.load_pooled(rows, inputs, params.train.normalize)
    preprocessor, means, train, validation = partitions(params, inputs, rows, clips, pooling)
    preprocessor.save(folder / PREPROCESSOR)
    if means is not None:
        means.save(folder / SPEAKER_MEANS)
    seed = int(keys.fingerprint(train_seed, params.model, folder_name(fold))[:8], 16)
    in_train, copies = rows["role"] == "train", rows["clip"] != rows["parent"]
    follow = partial(live.follow, fold=fold, seed=train_seed, folder=folder)
    curve, fitted = trainer.fit(train, validation, folder, seed, follow)
    held_out: HeldOut | None = fitted.pop("held_out", None)  # of a trainer that has validated itself
    earlier_s = fitted.pop("earlier_s", 0.0)
    if means is not None:
        held_out = None  # it knew all clips of a speaker, and new speakers are known by a few
    files = [PREPROCESSOR, TRAINED_ON, PROFILE, trainer.file]
    files += [name for name, part in ((POOLING, pooling), (SPEAKER_MEANS, means)) if part is not None]
    record = {
        "model": params.model,
        "fold": fold,
        "seed": train_seed,
        "classes": train.classes,
        "n_train": int((in_train & ~copies).sum()),
        "n_train_copies": int((in_train & copies).sum()),
        "temperature": 1.0,
        "threads": params.train.threads,
        "normalize": params.train.normalize,
        "statistics": normalization.statistics(params.train.model_dump()),
        "sha256": {name: keys.sha256(folder / name) for name in files},
        **({"n_epochs": len(curve)} if len(curve) else {}),
        **made,
        **fitted,
    }
    if held_out is None and trainer.trains_on_validation:
        learner = cast(CrossValidated, trainer)
        held_out = cross_validated(params, learner, inputs, rows, clips, pooling, folder.name, seed)
    elif held_out is None and validation is not None:
        held_out = trainer.load(folder, len(validation.classes))(validation), validation.y
    if held_out is not None:
        record["validated_on"] = "training" if trainer.trains_on_validation else "validation"
        record |= validate(*held_out, params.train.calibrate)
        calibrated = calibration.probabilities(held_out[0], record["temperature"])
        record["reliability"] = calibration.reliability(calibrated, held_out[1])
        if calibration.at_bound(record["temperature"]):
            logger.warning(
                "%s: the temperature %.3g is at its bound, so probabilities are not calibrated",
                folder.name,
                record["temperature"],
            )
    follow(curve)
    seconds = earlier_s + time.monotonic() - started
    per_epoch = seconds / max(record.get("n_epochs", 0), 1)
    write_json({"seconds": seconds, "seconds_per_epoch": per_epoch}, folder / TIMING)
    write_json(record, folder / RECORD)
    shown = f", validation UAR {record['val_uar']:.3f}" if "val_uar" in record else ""
    return f"train: {params.model} {folder.name}, {len(train)} clips{shown}, {seconds:.1f} s"


def partitions(
    params: Params,
    inputs: Inputs,
    rows: pd.DataFrame,
    clips: list[Frames],
    pooling: FittedPooling | None,
) -> tuple[Preprocessor, SpeakerMeans | None, Partition, Partition | None]:
    """Returns what is fitted on train, then train, and validation or None without validation clips.

    The speakers' means are of `normalize: enrol` and `cluster`, else None.
    """
    means = None
    if inputs.layout in WITHOUT_TIME_AXIS:
        clips, means = normalization.prepared(clips, rows, params.train)
    in_train = (rows["role"] == "train").to_numpy()
    frames_per_second = params.audio.sample_rate_hz / params.spectrum.hop_length
    training_clips = [clip for clip, used in zip(clips, in_train, strict=True) if used]
    preprocessor = Preprocessor.fit(training_clips, inputs, frames_per_second)
    classes = sorted(rows.loc[in_train, "label"].unique())
    arrays = preprocessor.transform(clips)
    if pooling is not None:
        arrays = pooling.weigh(arrays)
    y, speakers = pd.Categorical(rows["label"], classes).codes.astype(np.int64), rows["speaker"].to_numpy(str)
    original, parents = (rows["clip"] == rows["parent"]).to_numpy(), rows["parent"].to_numpy(str)
    train, validation = (
        Partition(
            *(arrays.x[used], arrays.lengths[used], y[used], classes),
            *(speakers[used], original[used], parents[used]),
        )
        for used in (in_train, ~in_train)
    )
    return preprocessor, means, train, validation if len(validation) else None


def validate(scores: NDArray[np.float64], labels: NDArray[np.int64], calibrate: str) -> dict[str, float]:
    """Returns the record's entries on validation: n_validation, val_uar and, if asked for, temperature.

    Args:
        scores: (n_clips, n_classes), of clips that did not train.
        labels: (n_clips,), class indices.
        calibrate: params.train.calibrate.
    """
    present = np.unique(labels)
    found = {
        "n_validation": len(labels),
        "val_uar": recall_score(labels, scores.argmax(axis=1), labels=present, average="macro"),
    }
    if calibrate == "temperature":
        found["temperature"] = calibration.temperature(scores, labels)
    return found


def cross_validated(
    params: Params,
    trainer: CrossValidated,
    inputs: Inputs,
    rows: pd.DataFrame,
    clips: list[Frames],
    pooling: FittedPooling | None,
    place: str,
    seed: int,
) -> HeldOut | None:
    """Returns scores and labels of the training recordings, each from a model that did not see the speaker.

    Speakers are held out in N_CROSS_VALIDATED groups; with fewer speakers, one at a time. A single training
    speaker's recordings are held out instead, which makes the scores too good. A group without which a class
    has no training clip is left out.

    Args:
        rows: of the fold, all in train.
        clips: of the rows, pooled.
        pooling: of the fold, for the layout `pooled`.
        place: for error messages.

    Returns:
        float64 (n_clips, n_classes) and int64 (n_clips,); None if no group can be held out.
    """
    held_out_by = rows["speaker"] if len(rows["speaker"].unique()) > 1 else rows["parent"]
    names = sorted(held_out_by.unique(), key=lambda name: keys.fingerprint(seed, name))
    group = held_out_by.map({name: i % N_CROSS_VALIDATED for i, name in enumerate(names)})
    original = rows["clip"] == rows["parent"]
    found = []
    for number in sorted(group.unique()):
        in_group = group == number
        if rows.loc[~in_group, "label"].nunique() < rows["label"].nunique():
            continue
        used = (~in_group | original).to_numpy()
        own = rows[used].assign(role=np.where(in_group[used], "validation", "train"))
        chosen = [clip for clip, use in zip(clips, used, strict=True) if use]
        _, _, train, validation = partitions(params, inputs, own, chosen, pooling)
        if validation is None:
            continue
        found.append((trainer.learned(train, seed, place)(validation), validation.y))
    if not found:
        return None
    scores, labels = zip(*found, strict=True)
    return np.concatenate(scores), np.concatenate(labels)


def finish(work: Path, trainings: dict[str, tuple[int, int]]) -> None:
    """Moves the finished folds to data/model and summarises them in metrics and in data/timing.json.

    Args:
        work: the folder of the unfinished work.
        trainings: see `trained_fold.trainings`.
    """
    folders = [work / name for name in trainings]
    live.show(folders)
    records = [json.loads((folder / RECORD).read_text()) for folder in folders]
    sums = {path.as_posix(): keys.sha256(path) for path in (live.HISTORY,)}
    write_json(summary(records) | {"sha256": sums}, METRICS / "train.json")
    timings = {folder.name: json.loads((folder / TIMING).read_text()) for folder in folders}
    write_json(timings, DATA / TIMING)
    shutil.rmtree(MODEL, ignore_errors=True)
    for folder in folders:
        shutil.copytree(folder, MODEL / folder.name, ignore=shutil.ignore_patterns(TIMING, ".*.part"))
    for folder in folders:
        # First, so that a fold which a kill left half removed does not count as finished.
        (folder / RECORD).unlink()
        shutil.rmtree(folder)
    if not any(path.is_dir() for path in work.iterdir()):  # else other folds are unfinished
        shutil.rmtree(work)
