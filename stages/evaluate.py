"""Apply each fold's model to its test clips and measure. The only reader of test labels."""

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
    leak.check(splits, params.split.protocol)  # once more: the table may not be as split left it
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
    clips = dataset.load(rows, trained.config.inputs.features, normalize)
    return pd.concat([rows[dataset.DESCRIPTION], trained.probabilities(clips)], axis=1)


def measure(predictions: pd.DataFrame, params: Params) -> dict[str, Any]:
    """Returns the metrics, and what a reader must know before believing them."""
    measured = metrics.summarize(predictions, params.evaluate.n_resamples, params.seed)
    measured |= listeners(predictions, params.split.labels.merge)
    return measured | {
        "leaky": leak.leaky(params.split.protocol),
        "uses_test_speaker_statistics": params.train.normalize == "speaker",
    }


def headline(measured: dict[str, Any]) -> str:
    """Returns the metrics that matter most, in a sentence."""
    interval = f" [{measured['uar_low']:.3f}, {measured['uar_high']:.3f}]" if "uar_low" in measured else ""
    leaky = ", LEAKY: the test speakers are in training" if measured["leaky"] else ""
    return (
        f"UAR {measured['uar']:.3f}{interval}, chance {measured['chance_uar']:.3f}, "
        f"on {measured['n_clips']} clips of {measured['n_speakers']} speakers{leaky}"
    )


def listeners(predictions: pd.DataFrame, merge: dict[str, str]) -> dict[str, float]:
    """Returns `human_uar` on the test clips that listeners judged by ear, nothing where there are none.

    Args:
        predictions: the clips and their labels.
        merge: the label policy, which their votes follow too.
    """
    manifest = tables.read(MANIFEST, tables.MANIFEST, ["clip", "listeners", "problem"])
    votes = metrics.votes(manifest[manifest["problem"] == ""], merge)
    heard = predictions[predictions["clip"].isin(votes.index)]
    if heard.empty:
        return {}
    return {
        "human_uar": metrics.human_uar(heard["label"], heard["clip"].map(votes)),
        "human_n_clips": len(heard),
    }


def confusion(predictions: pd.DataFrame) -> pd.DataFrame:
    """Returns one row per test clip, `actual` and `predicted`, as DVC's confusion template counts them."""
    probabilities = predictions.filter(regex="^p_")
    predicted = probabilities.idxmax(axis=1).str.slice(len("p_"))
    return pd.DataFrame({"actual": predictions["label"], "predicted": predicted})


if __name__ == "__main__":
    run(main)
