"""The trained model of this workspace as a bundle in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.isotonic import IsotonicRegression

from stages.base.errors import InputError
from stages.base.files import MANIFEST, METRICS, PREDICTIONS
from stages.base.params import PARAMS, Params, load
from stages.base.workspace import LOCK
from stages.data import code, tables
from stages.data.splits import Splits
from stages.inference.bundle import Bundle, Fold
from stages.inference.facts import Facts, FoldFacts, Score
from stages.learning import profile, trained_fold
from stages.learning.trained_fold import TrainedFold
from stages.splitting import leak

TEST = METRICS / "test.json"


def bundle(params: Params, speech: str = "levels") -> Bundle:
    """Returns the trained model, which computes with the files in data/model.

    Args:
        speech: see `Bundle`.

    Raises:
        InputError: see `trained_fold.trained`; or a file of a fold is damaged.
    """
    trained = trained_fold.trained(params)
    made = facts(params, trained)
    parts = [
        Fold(fold.preparation, fold.window_probabilities, of_fold.profile, fold.means)
        for fold, of_fold in zip(trained, made.folds, strict=True)
    ]
    return Bundle(made, parts, speech)


def facts(params: Params, trained: list[TrainedFold]) -> Facts:
    """Returns what a bundle of the trained folds says about itself, with the checksums of the folds' files.

    Raises:
        InputError: a file of a fold is damaged.
    """
    config, records = trained[0].config, {fold.folder.name: fold.record for fold in trained}
    of_folds = [
        FoldFacts(folder=fold.folder.name, padded=[], profile=profile.read(fold.folder / profile.PROFILE))
        for fold in trained
    ]
    names = sorted({name for fold in of_folds for name in fold.profile.corpora})
    # None is one that params.yaml no longer has.
    corpora = {name: params.corpus_of(name) if name in params.corpora else None for name in names}
    right = reliability([*records.values()])
    return Facts(
        format=4,
        model=params.model,
        classes=trained[0].record["classes"],
        audio=params.audio,
        spectrum=params.spectrum,
        features={
            name: params.config("features", name, "params.features").model_dump()
            for name in config.inputs.features
        },
        pooling=config.pooling if config.inputs.layout == "pooled" else None,
        train=params.train,
        folds=of_folds,
        manifest=params.manifest,
        predict=params.predict,
        sure_above=sure_above(right, params.predict.sure) if right else None,
        right=right,
        trained_on={
            name: f"{corpus.ABOUT.title}; licence: {corpus.ABOUT.licence}" if corpus else "unknown"
            for name, corpus in corpora.items()
        },
        synthetic=[name for name, corpus in corpora.items() if hasattr(corpus, "synthesise")],
        score=score(params, records),
        versions=code.versions(code.LIBRARIES),
        sha256={
            f"{name}/{Path(file).name}": written
            for name, record in records.items()
            for file, written in record["sha256"].items()
        },
    )


def reliability(records: list[dict[str, Any]]) -> list[float]:
    """Returns how often validation answers were right in each bin of confidence; [] if unknown.

    The folds' counts are added, and made to never fall by isotonic regression (Zadrozny & Elkan 2002). Bins
    without clips are between their neighbours.

    Examples:
        >>> one = {"reliability": {"n": [0, 4, 0, 2], "n_right": [0, 1, 0, 2]}}
        >>> reliability([one, {}])
        [0.25, 0.25, 0.625, 1.0]
    """
    found = [record["reliability"] for record in records if "reliability" in record]
    n, n_right = (np.sum([each[key] for each in found], axis=0) for key in ("n", "n_right"))
    if not found or not n.any():
        return []
    bins, some = np.arange(len(n)), n > 0
    fit = IsotonicRegression(out_of_bounds="clip").fit(bins[some], n_right[some] / n[some], n[some])
    return [float(value) for value in fit.predict(bins)]


def sure_above(right: list[float], least: float) -> float:
    """Returns the confidence from which on answers were right at least that often; 1 if none was.

    Examples:
        >>> sure_above([0.25, 0.25, 0.625, 1.0], 0.5)
        0.5
    """
    enough = [number / len(right) for number, often in enumerate(right) if often >= least]
    return enough[0] if enough else 1.0


def score(params: Params, records: dict[str, dict[str, Any]]) -> Score | None:
    """Returns the score of these folds on their test clips; None if it is of other settings or data."""
    if not (PREDICTIONS.is_file() and TEST.is_file()):
        return None
    predictions = tables.read(PREDICTIONS, tables.PREDICTIONS)
    try:
        trained_fold.check_predictions(predictions, records, params)
        trained_fold.check_tested(records, params, Splits.read())
        check_recordings(params)
    except InputError:
        return None
    measured = tables.read_scalars(TEST)
    return Score(
        protocol=params.split.protocol,
        uar=measured["uar"],
        low=measured.get("uar_low"),
        high=measured.get("uar_high"),
        chance=measured["chance_uar"],
        n_clips=measured["n_clips"],
        n_speakers=measured["n_speakers"],
        leaky=leak.leaky(params.split.protocol),
    )


def check_recordings(params: Params) -> None:
    """Checks that the manifest was made with the present settings, as far as dvc.lock records them.

    Raises:
        InputError: the settings of `manifest` or of a chosen corpus have changed, or dvc.lock is broken.
    """
    if not LOCK.is_file():
        return  # the pipeline ran without DVC
    try:
        stages = load(LOCK)["stages"]
        manifest, ingest = (stages[name]["params"][PARAMS.name] for name in ("manifest", "ingest"))
        then = {"manifest": manifest["manifest"]} | {
            f"corpora.{name}": ingest["corpora"].get(name) for name in params.corpus
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(f"{LOCK}: does not record the manifest's settings. Run `dvc repro`.") from error
    now = {"manifest": params.manifest.model_dump()} | {
        f"corpora.{name}": params.block("corpora", name) for name in params.corpus
    }
    if changed := [key for key in now if now[key] != then[key]]:
        raise InputError(f"params.{changed[0]}: changed since {MANIFEST} was made. Run `dvc repro`.")
