"""Measure leak inflation: how much higher a model scores if its test speakers are in its training data.

    python -m stages.tools.leak_inflation

Runs the selected model under two protocols, on the same features and clips; DVC caches both runs. While they
run, params.yaml has another `split.protocol`; at the end the file and all results are restored. Writes
metrics/leak_inflation.json and metrics/leak_inflation.png, and prints a table.
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
RESULT = METRICS / "leak_inflation.json"


def main() -> None:
    params = read()
    repro()
    independent_protocol = choose_protocol(params, tables.read(MANIFEST, tables.MANIFEST))
    with restoring(PARAMS):
        independent, leaky = (predict(protocol) for protocol in (independent_protocol, LEAKY))
    independent, leaky = on_shared_clips(independent, leaky)
    scores = compare(independent, leaky, params)
    scores = scores.rename({"independent": independent_protocol, "leaky": LEAKY})
    subject = f"{params.model} on {', '.join(params.corpus)}"
    chance = 1 / independent["label"].nunique()
    n_speakers = independent["speaker"].nunique()
    tested = {"n_clips": len(independent), "n_speakers": n_speakers, "chance_uar": chance}
    rows = {str(name): row.to_dict() for name, row in scores.iterrows()}
    write_json({"subject": subject, **tested, **rows}, RESULT)
    with replacing(RESULT.with_suffix(".png")) as temporary:
        temporary.write_bytes(results.leak_inflation(scores, chance, subject).content)
    print(", ".join([subject, *(f"{name} {value:.4g}" for name, value in tested.items())]))
    print(f"\n{markdown(scores)}")


def choose_protocol(params: Params, manifest: pd.DataFrame) -> str:
    """Returns the protocol to compare with `random`: the chosen one, unless that is leaky.

    Raises:
        InputError: with these parameters `random` would test other clips than the other protocols.
    """
    if params.train.fold != "all":
        raise InputError(
            f"params.train.fold: {params.train.fold} tests other clips under each protocol. Set it to all."
        )
    if params.split.n_folds == 1:
        raise InputError(
            f"params.split.n_folds: with 1 fold, {LEAKY} tests only some of the clips. Set 3 or more."
        )
    if not leak.leaky(params.split.protocol):
        return params.split.protocol
    usable = manifest[(manifest["problem"] == "") & manifest["corpus"].isin(params.corpus)]
    divisible = leak.FEWEST_TO_SEPARATE <= params.split.n_folds <= usable["speaker"].nunique()
    return "speaker_independent" if divisible else "leave_one_speaker_out"


def predict(protocol: str) -> pd.DataFrame:
    """Sets the protocol in params.yaml, runs the pipeline and returns its predictions."""
    yaml = YAML()
    values = yaml.load(PARAMS)
    values["split"]["protocol"] = protocol
    with replacing(PARAMS) as temporary:
        yaml.dump(values, temporary)
    repro()
    return tables.read(PREDICTIONS, tables.PREDICTIONS)


@contextmanager
def restoring(path: Path) -> Iterator[None]:
    """Restores the file and the pipeline's results when the block ends."""
    before = path.read_bytes()
    try:
        yield
    finally:
        with replacing(path) as temporary:
            temporary.write_bytes(before)
        repro()


def repro() -> None:
    """Brings the predictions up to date. DVC's output goes to stderr.

    Raises:
        InputError: a stage failed.
    """
    done = subprocess.run([sys.executable, "-m", "dvc", "repro", "evaluate"], stdout=sys.stderr)
    if done.returncode:
        raise InputError("leak_inflation: `dvc repro evaluate` failed; see its output above.")


def on_shared_clips(independent: pd.DataFrame, leaky: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the predictions of the clips that both have, in the same order.

    Raises:
        InputError: they do not have the same labels.
    """
    labels = [set(metrics.class_names(predictions)) for predictions in (independent, leaky)]
    if labels[0] != labels[1]:
        raise InputError(
            f"params.split.protocol: only one of it and {LEAKY} has the labels "
            f"{', '.join(sorted(labels[0] ^ labels[1]))}. Drop them with params.split.labels.drop."
        )
    shared = set(independent["clip"]) & set(leaky["clip"])
    first, second = (
        predictions[predictions["clip"].isin(shared)].sort_values("clip", ignore_index=True)
        for predictions in (independent, leaky)
    )
    return first, second


def compare(independent: pd.DataFrame, leaky: pd.DataFrame, params: Params) -> pd.DataFrame:
    """Returns uar and accuracy, each with `_low` and `_high`: rows leaky, independent, leak_inflation.

    Args:
        independent: predictions by models whose training data does not contain the test speakers.
        leaky: of the same clips, by models whose training data does.
    """
    n_resamples, seed = params.evaluate.n_resamples, params.seed
    scores = {
        name: metrics.headline(table) | metrics.intervals(table, n_resamples, seed)
        for name, table in {"leaky": leaky, "independent": independent}.items()
    }
    scores["leak_inflation"] = {}
    for name, found in paired.differences(independent, leaky, n_resamples, seed).items():
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
