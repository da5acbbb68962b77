"""Apply each fold's model to its test clips and measure. The only reader of test labels."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from stages.core import calibration, dataset, leak, metrics, registry, tables, threads
from stages.core.corpus import Emotion
from stages.core.errors import InputError, run
from stages.core.files import MANIFEST, METRICS, MODEL, PREDICTIONS, SPLITS, replacing, write_json
from stages.core.inputs import Encoder
from stages.core.params import Params, read


def main() -> None:
    params = read()
    threads.limit(params.train.threads)
    entry = registry.load("models", params.model, "params.model")
    config = params.config("models", params.model, "params.model")
    splits = tables.read(SPLITS, tables.SPLITS)
    index = tables.read(dataset.INDEX, tables.FEATURES)
    parts = []
    for folder in trained_folds():
        rows = dataset.test_rows(splits, index, int(folder.name.removeprefix("fold_")))
        parts.append(predict(entry, config, rows, params.train.normalize, folder))
    predictions = pd.concat(parts, ignore_index=True)
    tables.write(predictions, tables.PREDICTIONS, PREDICTIONS)
    write_json(measure(predictions, params), METRICS / "test.json")
    with replacing(METRICS / "confusion.csv") as temporary:
        confusion(predictions).to_csv(temporary, index=False)


def trained_folds() -> list[Path]:
    """Returns the folders of the folds that train finished.

    Raises:
        InputError: there is none.
    """
    folders = sorted(path.parent for path in MODEL.glob(f"fold_*/{dataset.FACTS}"))
    if not folders:
        raise InputError(f"{MODEL}: holds no trained fold. Run `dvc repro train`.")
    return folders


def predict(entry: ModuleType, config: Any, rows: pd.DataFrame, normalize: str, folder: Path) -> pd.DataFrame:
    """Returns `rows` with a probability column `p_<emotion>` for each class the fold was trained on."""
    facts = json.loads((folder / dataset.FACTS).read_text())
    encoder = Encoder.load(folder / "encoder.npz")
    build = partial(entry.build, config, encoder.shape, len(facts["classes"]))
    x = encoder.encode(dataset.load(rows, config.inputs.features, normalize))
    scores = entry.TRAINER.scores(build, config, folder, x)
    columns = [f"p_{emotion}" for emotion in facts["classes"]]
    probabilities = calibration.probabilities(scores, facts["temperature"])
    return pd.concat([rows[dataset.DESCRIPTION], pd.DataFrame(probabilities, columns=columns)], axis=1)


def measure(predictions: pd.DataFrame, params: Params) -> dict[str, Any]:
    """Returns the metrics, and what a reader must know before believing them."""
    measured = metrics.summarize(predictions, params.evaluate.n_resamples, params.seed)
    measured |= listeners(predictions, params.split.labels.merge)
    return measured | {
        "leaky": leak.leaky(params.split.protocol),
        "uses_test_speaker_statistics": params.train.normalize == "speaker",
    }


def listeners(predictions: pd.DataFrame, merge: dict[Emotion, Emotion]) -> dict[str, float]:
    """Returns `human_uar` on the test clips that listeners judged by ear, nothing where there are none.

    Args:
        predictions: the clips and their labels.
        merge: the label policy, which their votes follow too.
    """
    manifest = tables.read(MANIFEST, tables.MANIFEST, ["clip", "listeners", "problem"])
    votes = manifest[manifest["problem"] == ""].set_index("clip")["listeners"].dropna()
    heard = predictions[predictions["clip"].isin(votes.index)]
    if heard.empty:
        return {}
    merged = votes.str.split("+").map(lambda vote: "+".join(sorted({merge.get(name, name) for name in vote})))
    return {
        "human_uar": metrics.human_uar(heard["label"], heard["clip"].map(merged)),
        "human_n_clips": len(heard),
    }


def confusion(predictions: pd.DataFrame) -> pd.DataFrame:
    """Returns one row per test clip, `actual` and `predicted`, as DVC's confusion template counts them."""
    probabilities = predictions.filter(regex="^p_")
    predicted = probabilities.idxmax(axis=1).str.slice(len("p_"))
    return pd.DataFrame({"actual": predictions["label"], "predicted": predicted})


if __name__ == "__main__":
    run(main)
