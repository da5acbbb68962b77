"""A trained fold: train writes it to data/model, evaluate and predict apply it."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.base import registry
from stages.base.errors import N_LISTED, InputError, listed, shown_key
from stages.base.files import FEATURES, MANIFEST, METRICS, MODEL, PREDICTIONS, SPLITS
from stages.base.params import Params, Train
from stages.data import code, keys, shards, tables
from stages.data.splits import Splits
from stages.learning import calibration, windows
from stages.learning.dataset import INDEX
from stages.learning.normalization import BY_SPEAKER_MEAN, SPEAKER_MEANS, SpeakerMeans, standardized
from stages.learning.preprocessing import Clips, Frames
from stages.learning.record import RECORD, TRAINED_ON, folder_name, read_record
from stages.learning.trainer import Model, Trainer
from stages.learning.windows import Preparation
from stages.splitting import leak, protocols

# What evaluate writes and others read, besides the predictions.
TESTED = (METRICS / "test.json", METRICS / "enrolment.csv")


@dataclass(frozen=True)
class TrainedFold:
    """One fold's model, trained with one seed and ready to be applied.

    Attributes:
        number: of the fold, as in the splits.
        config: the model's block of params.yaml.
        record: what train recorded: what the fold was made from, `classes`, `temperature`, counts.
        preparation: makes the model's input of a clip.
        folder: where its weights are.
        settings: `params.train`, as the fold was trained with.
        means: of `normalize: enrol` and `cluster`, else None.
    """

    number: int
    config: Any
    record: dict[str, Any]
    preparation: Preparation
    folder: Path
    settings: Train
    means: SpeakerMeans | None = None

    def probabilities(self, clips: Sequence[Frames], rows: pd.DataFrame) -> pd.DataFrame:
        """Returns a row per clip and a column `p_<emotion>` per class, rows summing to one.

        For a clip that is longer than the model's input, this is the mean over windows of the whole clip.

        Args:
            clips: float32 (n_frames, n_dims) each, the config's features side by side.
            rows: of the clips; columns clip, corpus, role and speaker, which `normalize: global` does not
                read. Otherwise clips are standardised by others among them, so give a whole batch at once.

        Raises:
            InputError: the model was not written by train.
        """
        return self.after_statistics(self.preparation.before_statistics(clips), rows)

    def after_statistics(
        self, clips: Sequence[Frames], rows: pd.DataFrame, n_enrolled: int | None = None
    ) -> pd.DataFrame:
        """Returns what `probabilities` does, of what `preparation.before_statistics` returned.

        Args:
            rows: see `probabilities`.
            n_enrolled: another number of clips than the model was trained with, for `normalize: enrol`.
        """
        if self.means is not None:
            settings = self.settings
            if n_enrolled is not None:
                settings = settings.model_copy(update={"enrolled_clips": n_enrolled})
            clips = [*self.means.removed(np.concatenate(clips), rows, settings)[:, None]]
        else:
            clips = standardized(clips, rows, self.settings.normalize)
        inputs, n_windows = self.preparation.after_statistics(clips)
        mean = windows.means(self.window_probabilities(inputs), n_windows)
        return pd.DataFrame(mean, columns=[f"p_{emotion}" for emotion in self.record["classes"]])

    def window_probabilities(self, inputs: Clips) -> NDArray[np.float64]:
        """Returns float64 (n_windows, n_classes) of prepared windows.

        Raises:
            InputError: see `probabilities`.
        """
        scores = self._model(inputs)
        n_classes = len(self.record["classes"])
        if scores.shape != (len(inputs), n_classes) or not np.isfinite(scores).all():
            raise InputError(
                f"{self.folder}: its model does not return {n_classes} finite scores per clip. "
                "Run `dvc repro train`."
            )
        return calibration.probabilities(scores, self.record["temperature"])

    @cached_property
    def trainer(self) -> Trainer:
        """The trainer of its model."""
        made: Trainer = registry.load("models", self.record["model"], "params.model").trainer(self.config)
        return made

    @cached_property
    def _model(self) -> Model:
        return self.trainer.load(self.folder, len(self.record["classes"]))


def read_records(params: Params) -> dict[str, dict[str, Any]]:
    """Returns the record of each trained fold, by its folder's name, after checking that it belongs here.

    Raises:
        InputError: no fold is trained, a file of one has changed since, or the folds were trained with other
            settings, code or libraries than the present ones.
    """
    records = {}
    for folder in sorted(MODEL.glob("fold_*")):
        record = records[folder.name] = read_record(folder / RECORD)
        if folder.name not in (folder_name(record["fold"]), folder_name(record["fold"], record["seed"])):
            raise InputError(f"{folder}: not a fold written by train. Run `dvc repro train`.")
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
        _check_same("", made_by(params), record["made_by"])
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
    for name, record in read_records(params).items():
        folder = MODEL / name
        pooling = config.pooling if config.inputs.layout == "pooled" else None
        by_mean = record["normalize"] in BY_SPEAKER_MEAN
        means = SpeakerMeans.load(folder / SPEAKER_MEANS) if by_mean else None
        preparation = Preparation.load(folder, pooling)
        folds.append(TrainedFold(record["fold"], config, record, preparation, folder, params.train, means))
    return folds


def check_features(params: Params, names: Sequence[str], index: pd.DataFrame) -> None:
    """Checks that featurize computed these features with the present settings, code and recordings.

    Its shards must be as it wrote them. Where copies train, the same settings, code and recordings are
    checked of augment. Under DVC all are so, unless a stage is frozen (`dvc freeze`) or left out (`dvc repro
    --single-item`).

    Args:
        index: the table at INDEX.

    Raises:
        InputError: names the setting or file that differs.
    """
    if changed := sorted(shards.changed(FEATURES, index.attrs.get(shards.CONTENTS, {}))):
        raise InputError(
            f"{FEATURES / changed[0]}: changed since featurize wrote it. Run `dvc repro featurize`."
        )
    manifest = tables.read(MANIFEST, tables.MANIFEST, ["clip", "audio_sha256", "problem"])
    clips = manifest[manifest["problem"] == ""]
    _check_origin(shards.origin(params, names, clips), index.attrs)
    if params.train.use_augmented:
        _check_origin(shards.copies_origin(params, clips), index.attrs.get("copies", {}))


def _check_origin(now: dict[str, Any], stored: Mapping[Any, Any]) -> None:
    """Raises InputError if INDEX was made from something else than `now`."""
    for prefix, key in (("params.", "made_with"), ("", "made_by")):
        then = stored.get(key, {})
        # A feature that is not stored is reported by `shards.read`.
        own = {name: now[key][name] for name in now[key] if name in then or not name.startswith("features")}
        _check_same(prefix, own, {name: then[name] for name in then if name in own}, INDEX, "featurize")
    if stored.get("made_from") != now["made_from"]:
        raise InputError(
            f"{INDEX}: is not of the recordings that {MANIFEST} lists. Run `dvc repro featurize`."
        )


def check_tested(
    records: dict[str, dict[str, Any]],
    params: Params,
    splits: Splits,
    inputs: Iterable[Path] = (SPLITS,),
) -> None:
    """Checks that the folds may be tested on the test clips of these splits: call it before any score.

    It reads the manifest, of which the splits have to be.

    Args:
        records: of the folds, as `read_records` returns them.
        splits: the table at SPLITS.
        inputs: the files that have to be those that the folds were trained with.

    Raises:
        InputError: the splits were made with other settings, or the folds trained with other inputs; or they
            are not all the folds and seeds that params choose.
        LeakError: a fold was trained on a test recording or, unless the protocol is leaky, a test speaker.
    """
    made = splits.clips.attrs
    _check_same("params.", protocols.made_with(params), made.get("made_with", {}), SPLITS, "split")
    manifest = tables.read(MANIFEST, tables.MANIFEST, protocols.determining(params.split))
    if made.get("made_from") != protocols.made_from(manifest, params):
        raise InputError(f"{SPLITS}: is not of the recordings that {MANIFEST} lists. Run `dvc repro split`.")
    chosen = trainings(params, splits)
    if {name: (record["fold"], record["seed"]) for name, record in records.items()} != chosen:
        raise InputError(
            f"{MODEL}: contains {listed(sorted(records))}, but {SPLITS} and params.train ask for "
            f"{listed(sorted(chosen))}. Run `dvc repro train`."
        )
    now = {path.as_posix(): keys.sha256(path) for path in inputs}
    for name, record in records.items():
        source = MODEL / name / TRAINED_ON
        for path, content in now.items():
            if record["made_from"].get(path) != content:
                raise InputError(
                    f"{path}: is not the one that {source.parent} was trained with. Run `dvc repro train`."
                )
        test = splits.fold(record["fold"], "test")
        leak.check_model(tables.read(source, tables.TRAINED_ON), test, params.split.protocol, source)


def origin(records: dict[str, dict[str, Any]], params: Params) -> dict[str, Any]:
    """Returns what predictions of these folds, and their metrics, are made from, to be stored with them.

    It has the settings, code, versions of libraries and data that the folds have in common, the settings of
    split and test, and in `models` a fingerprint of each fold's own files.
    """
    first, *_ = records.values()
    common = {key: first[key] for key in ("made_by", "made_from")}
    tested_with = protocols.made_with(params) | keys.leaves({"evaluate": params.evaluate.model_dump()})
    models = {name: keys.fingerprint(record["sha256"]) for name, record in records.items()}
    return common | {"made_with": first["made_with"] | tested_with, "models": models}


def check_predictions(predictions: pd.DataFrame, records: dict[str, dict[str, Any]], params: Params) -> None:
    """Checks that the predictions and the files TESTED are of these folds and the present settings.

    Args:
        predictions: the table at PREDICTIONS.
        records: of the folds, as `read_records` returns them.

    Raises:
        InputError: a setting differs; or they are of other folds, or one of the files of other predictions.
    """
    now, then = json.loads(json.dumps(origin(records, params))), dict(predictions.attrs)
    written = then.pop("sha256", {})
    _check_same("params.", now["made_with"], then.get("made_with", {}), PREDICTIONS, "evaluate")
    if now != then:
        raise InputError(f"{PREDICTIONS}: is not of the folds in {MODEL}. Run `dvc repro evaluate`.")
    for path in TESTED:
        if not path.is_file() or written.get(path.as_posix()) != keys.sha256(path):
            raise InputError(
                f"{path}: missing, or not what evaluate wrote with {PREDICTIONS}. Run `dvc repro evaluate`."
            )


def trainings(params: Params, splits: Splits) -> dict[str, tuple[int, int]]:
    """Returns the fold and the seed of each training that params choose, by the name of its folder.

    Raises:
        InputError: `train.fold` is not a fold of the splits.
    """
    folds = [*range(splits.n_folds)]
    if params.train.fold != "all":
        if params.train.fold not in folds:
            raise InputError(
                f"params.train.fold: no fold {params.train.fold}. Choose from all, {folds[0]} to {folds[-1]}."
            )
        folds = [params.train.fold]
    first, *others = params.train.seeds
    return {
        folder_name(fold, seed): (fold, first if seed is None else seed)
        for fold in folds
        for seed in (None, *others)
    }


def made_with(params: Params) -> dict[str, Any]:
    """Returns the settings that determine a model's scores, by key of params.yaml (`audio.pre_emphasis`).

    The model's whole block is included and comes first; if copies train, so are the settings of augment.
    """
    block = params.block("models", params.model)
    copies = shards.copies_made_with(params) if params.train.use_augmented else {}
    return (
        keys.leaves({"models": {params.model: block}})
        | shards.made_with(params, block["inputs"]["features"])
        | keys.leaves({"train": params.train.model_dump(exclude={"fold", "threads"})})
        | copies
    )


def made_by(params: Params) -> dict[str, str]:
    """Returns the code of a model, its training and its features, and the versions of their libraries."""
    features = params.block("models", params.model)["inputs"]["features"]
    return code.made_by([*sources(params), *shards.sources("featurize", "features", features)])


def sources(params: Params) -> list[Path]:
    """Returns the files that, with all they import, train a model."""
    return [registry.STAGES / "train.py", registry.STAGES / "models" / f"{params.model}.py"]


def _check_same(
    prefix: str, now: dict[str, Any], then: dict[str, Any], made: Path = MODEL, stage: str = "train"
) -> None:
    """Raises InputError with the first key that differs from what `stage` wrote `made` with."""
    for key in {**now, **then}:
        if (key in now) != (key in then) or now[key] != then[key]:
            place = key if key in now else shown_key(key)
            if key.endswith(".py"):
                place = f"{registry.STAGES.name}/{place}"
            raise InputError(
                f"{prefix}{place}: {_shown(now, key)}, but {made} was made with {_shown(then, key)}. "
                f"Set it back, or run `dvc repro {stage}`, with `-sf` if DVC sees no change."
            )


def _shown(settings: dict[str, Any], key: str) -> str:
    """Returns a setting, cut to a few hundred characters."""
    value = repr(settings[key]) if key in settings else "nothing"
    return textwrap.shorten(value, N_LISTED, placeholder=" ...")
