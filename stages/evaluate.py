"""Apply each fold's model to its test clips and compute metrics. No other stage reads test labels."""

from __future__ import annotations

from typing import Any

import pandas as pd

from stages.base.errors import run
from stages.base.files import MANIFEST, METRICS, PREDICTIONS, SPLITS, replacing, write_json
from stages.base.params import Params, read
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
    index = tables.read(dataset.INDEX, tables.FEATURES)
    parts = [test(trained, splits, index, params.train.normalize) for trained in trained_fold.trained(params)]
    predictions = pd.concat(parts, ignore_index=True)
    tables.write(predictions, tables.PREDICTIONS, PREDICTIONS)
    measured = measure(predictions, params)
    write_json(measured, METRICS / "test.json")
    for name, plotted in {
        "confusion": confusion(predictions),
        "reliability": metrics.reliability(predictions),
    }.items():
        with replacing(METRICS / f"{name}.csv") as temporary:
            plotted.to_csv(temporary, index=False, float_format="%.6g")
    print(f"evaluate: {params.model}, {params.split.protocol}: {headline(measured)}")


def test(
    trained: trained_fold.TrainedFold, splits: pd.DataFrame, index: pd.DataFrame, normalize: str
) -> pd.DataFrame:
    """Returns the fold's test clips with a probability column `p_<emotion>` for each class."""
    rows = dataset.test_rows(splits, index, trained.number)
    pooled = trained.pooling is not None  # then pooled clips are standardised, not frames
    clips = dataset.load(rows, trained.config.inputs.features, "global" if pooled else normalize)
    speakers = rows["speaker"].tolist() if pooled and normalize == "speaker" else None
    return pd.concat([rows[dataset.DESCRIPTION], trained.probabilities(clips, speakers)], axis=1)


def measure(predictions: pd.DataFrame, params: Params) -> dict[str, Any]:
    """Returns the metrics, and whatever makes them too high or hard to compare."""
    measured = metrics.summarize(predictions, params.evaluate.n_resamples, params.seed)
    measured |= listeners(predictions, params.split.labels.merge)
    return measured | {
        "leaky": leak.leaky(params.split.protocol),
        "uses_test_speaker_statistics": params.train.normalize == "speaker",
    }


def headline(measured: dict[str, Any]) -> str:
    """Returns the main metrics in a sentence."""
    interval = f" [{measured['uar_low']:.3f}, {measured['uar_high']:.3f}]" if "uar_low" in measured else ""
    leaky = ", LEAKY: test speakers are in the training data" if measured["leaky"] else ""
    return (
        f"UAR {measured['uar']:.3f}{interval}, chance {measured['chance_uar']:.3f}, "
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
