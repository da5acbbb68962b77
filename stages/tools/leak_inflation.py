"""Measure the leak: the selected model where it has heard its test speakers, and where it has not.

    python -m stages.tools.leak_inflation

Both are runs of this pipeline, on the same features and clips, so DVC keeps them; only `split.protocol`
differs. It stands changed in params.yaml while they run, and all is as before at the end. Writes
metrics/exhibit.json and metrics/exhibit.png, and prints a table.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from ruamel.yaml import YAML

from stages.base.errors import InputError, run
from stages.base.files import MANIFEST, METRICS, PREDICTIONS, replacing, write_json
from stages.base.params import PARAMS, Params, read
from stages.data import tables
from stages.evaluation import metrics, paired
from stages.reporting.figures import results
from stages.splitting import leak

LEAKY = "random"
EXHIBIT = METRICS / "exhibit.json"


def main() -> None:
    params = read()
    repro()
    honest = honest_protocol(params, tables.read(MANIFEST, tables.MANIFEST))
    with restoring(PARAMS):
        unheard, heard = (predict(protocol) for protocol in (honest, LEAKY))
    unheard, heard = on_shared_clips(unheard, heard)
    scores = compare(unheard, heard, params).rename({"unheard": honest, "heard": LEAKY})
    subject = f"{params.model} on {', '.join(params.corpus)}"
    chance = 1 / unheard["label"].nunique()
    tested = {"n_clips": len(unheard), "n_speakers": unheard["speaker"].nunique(), "chance_uar": chance}
    told = {str(name): row.to_dict() for name, row in scores.iterrows()}
    write_json({"subject": subject, **tested, **told}, EXHIBIT)
    with replacing(EXHIBIT.with_suffix(".png")) as temporary:
        temporary.write_bytes(results.leak_inflation(scores, chance, subject).content)
    print(", ".join([subject, *(f"{name} {value:.4g}" for name, value in tested.items())]))
    print(f"\n{markdown(scores)}")


def honest_protocol(params: Params, manifest: pd.DataFrame) -> str:
    """Returns the protocol to hold against `random`: the chosen one, if that does not leak.

    Raises:
        InputError: params let `random` test other clips than the rest do.
    """
    if params.train.fold != "all":
        raise InputError(
            f"params.train.fold: {params.train.fold} tests other clips under each protocol; set it to all."
        )
    if params.split.n_folds == 1:
        raise InputError(
            f"params.split.n_folds: with 1 {LEAKY} tests a share of the clips only; set 3 or more."
        )
    if not leak.leaky(params.split.protocol):
        return params.split.protocol
    fit = manifest[(manifest["problem"] == "") & manifest["corpus"].isin(params.corpus)]
    divisible = leak.FEWEST_TO_SEPARATE <= params.split.n_folds <= fit["speaker"].nunique()
    return "speaker_independent" if divisible else "leave_one_speaker_out"


def predict(protocol: str) -> pd.DataFrame:
    """Returns the predictions under a protocol, which stands in params.yaml from now on."""
    yaml = YAML()
    values = yaml.load(PARAMS)
    values["split"]["protocol"] = protocol
    with replacing(PARAMS) as temporary:
        yaml.dump(values, temporary)
    repro()
    return tables.read(PREDICTIONS, tables.PREDICTIONS)


@contextmanager
def restoring(path: Path) -> Iterator[None]:
    """Puts the file, and the pipeline's results with it, back as they are now."""
    before = path.read_bytes()
    try:
        yield
    finally:
        with replacing(path) as temporary:
            temporary.write_bytes(before)
        repro()


def repro() -> None:
    """Brings the predictions up to date; what DVC prints goes to stderr.

    Raises:
        InputError: a stage failed.
    """
    done = subprocess.run([sys.executable, "-m", "dvc", "repro", "evaluate"], stdout=sys.stderr)
    if done.returncode:
        raise InputError("exhibit: `dvc repro evaluate` failed; what it says stands above.")


def on_shared_clips(unheard: pd.DataFrame, heard: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the predictions of the clips that both have, in the same order.

    Raises:
        InputError: they do not tell apart the same labels.
    """
    labels = [set(metrics.class_names(predictions)) for predictions in (unheard, heard)]
    if labels[0] != labels[1]:
        raise InputError(
            f"params.split.protocol: of it and {LEAKY} only one tells apart "
            f"{', '.join(sorted(labels[0] ^ labels[1]))}. Drop these by params.split.labels.drop."
        )
    shared = set(unheard["clip"]) & set(heard["clip"])
    first, second = (
        predictions[predictions["clip"].isin(shared)].sort_values("clip", ignore_index=True)
        for predictions in (unheard, heard)
    )
    return first, second


def compare(unheard: pd.DataFrame, heard: pd.DataFrame, params: Params) -> pd.DataFrame:
    """Returns uar and accuracy, each with `_low` and `_high`: rows heard, unheard and leak_inflation.

    Args:
        unheard: predictions by models that have not heard their test speakers.
        heard: of the same clips, by models that have.
    """
    n_resamples, seed = params.evaluate.n_resamples, params.seed
    scores = {
        name: metrics.headline(table) | metrics.intervals(table, n_resamples, seed)
        for name, table in {"heard": heard, "unheard": unheard}.items()
    }
    scores["leak_inflation"] = {}
    for name, found in paired.differences(unheard, heard, n_resamples, seed).items():
        ends = {name: found.difference, f"{name}_low": found.low, f"{name}_high": found.high}
        scores["leak_inflation"] |= ends
    columns = [f"{name}{end}" for name in metrics.HEADLINE for end in ("", "_low", "_high")]
    return pd.DataFrame.from_dict(scores, orient="index")[columns]


def markdown(scores: pd.DataFrame) -> str:
    """Returns the scores as a table in Markdown."""
    written = pd.DataFrame(index=scores.index.rename("split.protocol"))
    for name, heading in {"uar": "UAR (95 % interval)", "accuracy": "accuracy (95 % interval)"}.items():
        columns = [name, f"{name}_low", f"{name}_high"]
        written[heading] = ["{:.3f} ({:.3f} to {:.3f})".format(*row) for row in scores[columns].to_numpy()]
    return str(written.rename({"leak_inflation": "**leak inflation**"}).to_markdown())


if __name__ == "__main__":
    run(main)
