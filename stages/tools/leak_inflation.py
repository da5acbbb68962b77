"""Measure leak inflation: how much higher a model scores if its test speakers are in its training data.

    ser leak_inflation

Runs the selected model under two protocols, on the same features and test clips, and with equally many
training and validation clips in each fold. Both runs are in folders of their own in data/leak_inflation, so
params.yaml and the pipeline's results stay as they are. An interrupted run is resumed; finished, the folders
are removed. Writes metrics/leak_inflation.json and metrics/leak_inflation.png, and prints a table.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from stages.base import registry, workspace
from stages.base.errors import InputError, parser_of, run
from stages.base.files import (
    DATA,
    FEATURES,
    MANIFEST,
    METRICS,
    PREDICTIONS,
    PRETRAINED,
    SPLITS,
    write,
    write_json,
)
from stages.base.params import PARAMS, Params, load, read
from stages.data import keys, tables
from stages.data.splits import Roles, Splits
from stages.evaluation import metrics, paired
from stages.reporting.figures import results
from stages.splitting import leak

LEAKY = "random"
RESULT = METRICS / "leak_inflation.json"
WORK = DATA / "leak_inflation"


def main() -> None:
    parser_of(__doc__).parse_args()
    with workspace.alone(WORK):
        measure(read())
        for folder in WORK.glob("*/"):
            shutil.rmtree(folder)


def measure(params: Params) -> None:
    """Trains and tests the model under both protocols, writes RESULT and its figure, prints the scores."""
    workspace.reproduce(Path.cwd(), "manifest", "featurize", output=sys.stderr)
    independent_protocol = choose_protocol(params, tables.read(MANIFEST, tables.MANIFEST))
    separated = assign(independent_protocol)
    mixed = assign(LEAKY, n_folds=several_folds(independent_protocol, separated))
    separated, mixed = equally_many(separated, mixed, params.seed)
    independent, leaky = on_shared_clips(predict(independent_protocol, separated), predict(LEAKY, mixed))
    scores = compare(independent, leaky, params)
    scores = scores.rename({"independent": independent_protocol, "leaky": LEAKY})
    subject = f"{params.model} on {', '.join(params.corpus)}"
    chance = 1 / independent["label"].nunique()
    n_speakers = independent["speaker"].nunique()
    tested = {"n_clips": independent["clip"].nunique(), "n_speakers": n_speakers, "chance_uar": chance}
    rows = {str(name): row.to_dict() for name, row in scores.iterrows()}
    write_json({"subject": subject, **tested, **rows}, RESULT)
    write(results.leak_inflation(scores, chance, subject).content, RESULT.with_suffix(".png"))
    print(", ".join([subject, *(f"{name} {value:.4g}" for name, value in tested.items())]))
    print(f"\n{markdown(scores)}")


def choose_protocol(params: Params, manifest: pd.DataFrame) -> str:
    """Returns the protocol to compare with `random`: the chosen one, unless that is leaky.

    Raises:
        InputError: only one fold is chosen.
    """
    if params.train.fold != "all":
        raise InputError(
            f"params.train.fold: {params.train.fold} tests other clips under each protocol. Set it to all."
        )
    if not leak.leaky(params.split.protocol):
        return params.split.protocol
    usable = manifest[(manifest["problem"] == "") & manifest["corpus"].isin(params.corpus)]
    divisible = leak.FEWEST_TO_SEPARATE <= params.split.n_folds <= usable["speaker"].nunique()
    return "speaker_independent" if divisible else "leave_one_speaker_out"


def several_folds(protocol: str, splits: Splits) -> int:
    """Returns the number of folds.

    Raises:
        InputError: there is one, as in many official partitions: `random` with one tests other clips.
    """
    n_folds = splits.n_folds
    if n_folds == 1:
        raise InputError(
            f"params.split.protocol: '{protocol}' has one fold, and {LEAKY} with one fold tests other clips. "
            "Choose a protocol that tests every clip, such as speaker_independent."
        )
    return n_folds


def assign(protocol: str, **changes: object) -> Splits:
    """Returns the splits of a protocol, made in a folder of its own.

    Args:
        changes: other keys of params.split.
    """
    folder = WORK / protocol
    (folder / DATA).mkdir(parents=True, exist_ok=True)
    for shared in (MANIFEST, FEATURES, PRETRAINED):
        if not (folder / shared).exists():
            (folder / shared).symlink_to(shared.resolve())
    values = load(PARAMS)
    values["split"] |= {"protocol": protocol, **changes}
    workspace.write_params(folder, values)
    stage("split", folder)
    return Splits.read(folder / SPLITS)


def equally_many(first: Splits, second: Splits, seed: int) -> tuple[Splits, Splits]:
    """Returns both splits with as many training and validation clips in each fold as the smaller one has.

    Which clips are left out is random, by the seed and the clips' names. All test clips stay.

    Args:
        first: one split.
        second: another, with the same folds.

    Examples:
        >>> clips = pd.DataFrame({"clip": list("abcd"), "label": "anger"})
        >>> first = Splits(clips.assign(roles=["train*1", "train*1", "train*1", "test*1"]))
        >>> second = Splits(clips.assign(roles=["train*1", "test*1", "train*1", "test*1"]))
        >>> [list(each.fold(0)["role"]) for each in equally_many(first, second, seed=20)]
        [['train', 'train', 'test'], ['train', 'test', 'train', 'test']]
    """
    n_clips = [each.counts.groupby(["fold", "role"]).sum() for each in (first, second)]
    most = pd.concat(n_clips, axis=1).fillna(0).min(axis=1)

    def kept(splits: Splits) -> Iterator[Roles]:
        key = pd.Series([keys.fingerprint(seed, clip) for clip in splits.clips["clip"]])
        for fold, rows in enumerate(splits):
            rank = key[rows.index].groupby(rows["role"]).rank()
            own = rows["role"].where((rows["role"] == "test") | (rank <= rows["role"].map(most[fold])))
            yield own.reindex(splits.clips.index).fillna("").to_numpy(object)

    limited = [Splits.of(each.clips, kept(each)) for each in (first, second)]
    return limited[0], limited[1]


def predict(protocol: str, splits: Splits) -> pd.DataFrame:
    """Trains and tests the selected model on these splits of a protocol and returns its predictions."""
    folder = WORK / protocol
    splits.write(folder / SPLITS)
    stage("train", folder)
    stage("evaluate", folder)
    return tables.read(folder / PREDICTIONS, tables.PREDICTIONS)


def stage(name: str, folder: Path) -> None:
    """Runs a stage in a folder. Its output goes to stderr.

    Raises:
        InputError: it failed.
    """
    path = os.pathsep.join(filter(None, [str(registry.STAGES.parent), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path}
    command = [sys.executable, "-m", f"stages.{name}"]
    if subprocess.run(command, cwd=folder, env=environment, stdout=sys.stderr).returncode:
        raise InputError(f"{folder}: `python -m stages.{name}` failed there; see its output above.")


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
