"""Apply each fold's model to its test clips and compute metrics. No other stage scores test clips."""

from __future__ import annotations

from typing import Any

import pandas as pd

from stages.base.files import MANIFEST, METRICS, PREDICTIONS, SPLITS, replacing, write_json
from stages.base.params import Params, read
from stages.base.stage import run
from stages.compute import hardware
from stages.data import keys, tables
from stages.data.splits import Splits
from stages.evaluation import metrics
from stages.learning import dataset, normalization, trained_fold
from stages.splitting import leak

# What `dvc metrics` and `dvc exp show` list; metrics/test.json has all.
SCORES = ("uar", "uar_low", "uar_high", "accuracy", "macro_f1", "ece", "n_clips", "leaky", "statistics")
ENROLLED = (0, 1, 2, 4, 8, 16, 32)  # clips of a test speaker


def main() -> None:
    params = read()
    hardware.limit(params.train.threads)
    splits = Splits.read()
    leak.check(splits, params.split.protocol)  # again: the table may have changed since split
    with hardware.quiet():  # this may import TensorFlow
        folds = trained_fold.trained(params)
    records = {fold.folder.name: fold.record for fold in folds}
    trained_fold.check_tested(records, params, splits, [SPLITS, dataset.INDEX])
    index = tables.read(dataset.INDEX, tables.FEATURES)
    trained_fold.check_features(params, folds[0].config.inputs.features, index)
    index.attrs = {}  # checked; pandas copies them with every part of the table
    parts = []
    while folds:  # one model in memory at a time
        parts.append(test(folds.pop(0), splits, index))
    predictions = pd.concat([tested for tested, _ in parts], ignore_index=True)
    measured = measure(predictions, params)
    write_json(measured, METRICS / "test.json")
    write_json({name: measured[name] for name in SCORES if name in measured}, METRICS / "scores.json")
    for name, plotted in {
        "confusion": predictions[["label", "predicted"]].rename(columns={"label": "actual"}),
        "reliability": metrics.reliability(predictions),
        "risk_coverage": metrics.risk_coverage(predictions),
        "enrolment": enrolment([curve for _, curve in parts], params),
    }.items():
        with replacing(METRICS / f"{name}.csv") as temporary:
            plotted.to_csv(temporary, index=False, float_format="%.6g")
    sums = {path.as_posix(): keys.sha256(path) for path in trained_fold.TESTED}
    predictions.attrs.update(trained_fold.origin(records, params), sha256=sums)
    tables.write(predictions, tables.PREDICTIONS, PREDICTIONS)
    print(f"evaluate: {params.model}, {params.split.protocol}: {headline(measured)}")


def test(
    trained: trained_fold.TrainedFold, splits: Splits, index: pd.DataFrame
) -> tuple[pd.DataFrame, dict[int, pd.DataFrame]]:
    """Returns the fold's test clips, `predicted` and a probability column `p_<emotion>` for each class.

    With `normalize: enrol` also the same for each number of enrolled clips in ENROLLED.
    """
    rows = dataset.test_rows(splits, index, trained.number)
    clips = dataset.load(rows, trained.config.inputs.features)
    begun, seed = trained.preparation.before_statistics(clips), int(trained.record["seed"])
    numbers = ENROLLED if trained.settings.normalize == "enrol" else ()
    curve = {n: described(rows, trained.after_statistics(begun, rows, n), seed) for n in numbers}
    return described(rows, trained.after_statistics(begun, rows), seed), curve


def described(rows: pd.DataFrame, probabilities: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Returns test clips with their probabilities and the most probable emotion, of schema PREDICTIONS."""
    predicted = tables.most_probable(probabilities).rename("predicted")
    described = rows[dataset.DESCRIPTION].copy()
    described.insert(1, "seed", seed)
    return pd.concat([described, predicted, probabilities], axis=1)


def enrolment(folds: list[dict[int, pd.DataFrame]], params: Params) -> pd.DataFrame:
    """Returns UAR with its interval by the number of enrolled clips; no row without `normalize: enrol`.

    Args:
        folds: of each fold, what `test` returned by number of clips.
    """
    rows = []
    for n in folds[0]:
        predictions = pd.concat([fold[n] for fold in folds], ignore_index=True)
        found = metrics.overall(predictions, params.split.protocol, params.evaluate.n_resamples, params.seed)
        rows.append((n, found["uar"], found.get("uar_low"), found.get("uar_high")))
    return pd.DataFrame(rows, columns=["clips", "uar", "uar_low", "uar_high"])


def measure(predictions: pd.DataFrame, params: Params) -> dict[str, Any]:
    """Returns the metrics, and whatever makes them too high or hard to compare."""
    n_resamples, seed = params.evaluate.n_resamples, params.seed
    measured = metrics.summarize(predictions, params.split.protocol, n_resamples, seed)
    measured |= listeners(predictions, params.split.labels.merge)
    return measured | {
        "leaky": leak.leaky(params.split.protocol),
        "statistics": normalization.statistics(params.train.model_dump()),
    }


def headline(measured: dict[str, Any]) -> str:
    """Returns the main metrics in a sentence."""
    statistics = measured["statistics"]
    known = "" if statistics == "none" else f", statistics of test clips: {statistics}"
    interval = f" [{measured['uar_low']:.3f}, {measured['uar_high']:.3f}]" if "uar_low" in measured else ""
    leaky = ", LEAKY: test speakers are in the training data" if measured["leaky"] else ""
    mean = f" (mean of {len(measured['corpus'])} corpora)" if measured["averaged_over"] == "corpora" else ""
    seeds = measured.get("seeds")
    over_seeds = f", standard deviation over {seeds['n']} seeds {seeds['uar_std']:.3f}" if seeds else ""
    return (
        f"UAR {measured['uar']:.3f}{interval}{mean}{over_seeds}, chance {measured['chance_uar']:.3f}, "
        f"on {measured['n_clips']} clips of {measured['n_speakers']} speakers{known}{leaky}"
    )


def listeners(predictions: pd.DataFrame, merge: dict[str, str]) -> dict[str, float]:
    """Returns `human_uar` and the number of test clips that listeners voted on; empty if there are none.

    Args:
        predictions: the clips and their labels.
        merge: params.split.labels.merge, applied to the votes too.
    """
    manifest = tables.read(MANIFEST, tables.MANIFEST, ["clip", "listeners", "problem"])
    votes = metrics.votes(manifest[manifest["problem"] == ""], merge)
    voted = predictions[predictions["clip"].isin(votes.index)]
    if voted.empty:
        return {}
    return {
        "human_uar": metrics.human_uar(voted["label"], voted["clip"].map(votes)),
        "human_n_clips": voted["clip"].nunique(),
    }


if __name__ == "__main__":
    run(main)
