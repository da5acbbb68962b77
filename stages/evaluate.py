"""Apply each fold's model to its test clips and compute metrics. No other stage reads test labels."""

from __future__ import annotations

from typing import Any

import pandas as pd

from stages.base.files import MANIFEST, METRICS, PREDICTIONS, SPLITS, replacing, write_json
from stages.base.params import Params, read
from stages.base.stage import run
from stages.compute import hardware
from stages.data import tables
from stages.evaluation import metrics
from stages.learning import dataset, trained_fold
from stages.splitting import leak


def main() -> None:
    params = read()
    hardware.limit(params.train.threads)
    splits = tables.read(SPLITS, tables.SPLITS)
    leak.check(splits, params.split.protocol)  # again: the table may have changed since split
    folds = trained_fold.trained(params)
    records = {fold.number: fold.record for fold in folds}
    trained_fold.check_tested(records, params, splits, [SPLITS, dataset.INDEX])
    index = tables.read(dataset.INDEX, tables.FEATURES)
    parts = [test(fold, splits, index, params.train.normalize) for fold in folds]
    predictions = pd.concat(parts, ignore_index=True)
    predictions.attrs.update(trained_fold.origin(records))
    tables.write(predictions, tables.PREDICTIONS, PREDICTIONS)
    measured = measure(predictions, params)
    write_json(measured, METRICS / "test.json")
    for name, plotted in {
        "confusion": confusion(predictions),
        "reliability": metrics.reliability(predictions),
        "risk_coverage": metrics.risk_coverage(predictions),
    }.items():
        with replacing(METRICS / f"{name}.csv") as temporary:
            plotted.to_csv(temporary, index=False, float_format="%.6g")
    print(f"evaluate: {params.model}, {params.split.protocol}: {headline(measured)}")


def test(
    trained: trained_fold.TrainedFold, splits: pd.DataFrame, index: pd.DataFrame, normalize: str
) -> pd.DataFrame:
    """Returns the fold's test clips, `predicted` and a probability column `p_<emotion>` for each class."""
    rows = dataset.test_rows(splits, index, trained.number)
    pooled = trained.preparation.pooling is not None  # then pooled clips are standardised, not frames
    clips = dataset.load(rows, trained.config.inputs.features, "global" if pooled else normalize)
    speakers = rows["speaker"].tolist() if pooled and normalize == "speaker" else None
    probabilities = trained.probabilities(clips, speakers)
    predicted = tables.most_probable(probabilities).rename("predicted")
    return pd.concat([rows[dataset.DESCRIPTION], predicted, probabilities], axis=1)


def measure(predictions: pd.DataFrame, params: Params) -> dict[str, Any]:
    """Returns the metrics, and whatever makes them too high or hard to compare."""
    measured = metrics.summarize(
        predictions,
        params.evaluate.n_resamples,
        params.seed,
        across_corpora=params.split.protocol == "cross_corpus",
    )
    measured |= listeners(predictions, params.split.labels.merge)
    return measured | {
        "leaky": leak.leaky(params.split.protocol),
        "uses_test_speaker_statistics": params.train.normalize == "speaker",
    }


def headline(measured: dict[str, Any]) -> str:
    """Returns the main metrics in a sentence."""
    interval = f" [{measured['uar_low']:.3f}, {measured['uar_high']:.3f}]" if "uar_low" in measured else ""
    leaky = ", LEAKY: test speakers are in the training data" if measured["leaky"] else ""
    mean = f" (mean of {len(measured['corpus'])} corpora)" if measured["averaged_over"] == "corpora" else ""
    return (
        f"UAR {measured['uar']:.3f}{interval}{mean}, chance {measured['chance_uar']:.3f}, "
        f"on {measured['n_clips']} clips of {measured['n_speakers']} speakers{leaky}"
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
        "human_n_clips": len(voted),
    }


def confusion(predictions: pd.DataFrame) -> pd.DataFrame:
    """Returns one row per test clip, `actual` and `predicted`, for DVC's confusion template."""
    truth, predicted, _ = metrics.arrays(predictions)
    return pd.DataFrame({"actual": truth, "predicted": predicted})


if __name__ == "__main__":
    run(main)
