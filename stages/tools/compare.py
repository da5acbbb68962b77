"""Compare two revisions' predictions, clip by clip: a tool beside the pipeline.

    python -m stages.tools.compare                  HEAD with the workspace
    python -m stages.tools.compare main             main with the workspace
    python -m stages.tools.compare main my-branch   any two revisions, DVC experiments too

The verdict is about UAR: better or worse where the difference is more than chance at 5 %.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from dataclasses import asdict, dataclass
from functools import partial

import pandas as pd
from ruamel.yaml import YAML

from stages.base import params
from stages.base.errors import InputError, run
from stages.base.files import PREDICTIONS
from stages.data import tables
from stages.evaluation import paired
from stages.splitting import leak

WORKSPACE = "workspace"
LOCK = "dvc.lock"


@dataclass(frozen=True)
class Comparison:
    """Two runs on the same clips; by emotion and by speaker as `paired.flips` gives it."""

    a: paired.Run
    b: paired.Run
    n_clips: int
    n_speakers: int
    n_folds: int
    metrics: dict[str, paired.Difference]
    mcnemar_p_value: float
    emotions: pd.DataFrame
    speakers: pd.DataFrame


def main() -> None:
    arguments = parse()
    chosen = params.read()
    a, b = read_run(arguments.a), read_run(arguments.b)
    found = compare(a, b, chosen.evaluate.n_resamples, chosen.seed)
    print(arguments.render(found))
    if arguments.fail_if_worse is not None:
        check_not_worse(found.metrics["uar"], arguments.fail_if_worse)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m stages.tools.compare",
        description="Compare the predictions of two revisions, clip by clip.",
    )
    parser.add_argument("a", metavar="REV_A", nargs="?", default="HEAD", help="HEAD if not told")
    parser.add_argument("b", metavar="REV_B", nargs="?", default=WORKSPACE, help="the workspace if not told")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--md", dest="render", action="store_const", const=markdown, help="print Markdown")
    form.add_argument("--json", dest="render", action="store_const", const=as_json, help="print JSON")
    parser.add_argument(
        "--fail-if-worse",
        metavar="X",
        type=share,
        help="exit with 1 where UAR is surely worse by more than X: where its whole interval is",
    )
    parser.set_defaults(render=text)
    return parser.parse_args()


def share(word: str) -> float:
    """Returns a number in [0, 1)."""
    if not 0 <= float(word) < 1:
        raise ValueError(word)
    return float(word)


def read_run(revision: str) -> paired.Run:
    """Returns a revision's predictions, from the workspace, DVC's cache or its default remote.

    Raises:
        InputError: there is no such revision, it has no predictions, or they are out of reach or faulty.
    """
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException

    try:
        files = DVCFileSystem(rev=None if revision == WORKSPACE else revision)
        stage = YAML(typ="safe", pure=True).load(files.read_text(LOCK))["stages"]["evaluate"]
    except (FileNotFoundError, KeyError) as error:
        raise InputError(
            f"{revision}: has no predictions, for {LOCK} there tells of no `evaluate`. `dvc repro` makes "
            f"them, to commit with {LOCK}."
        ) from error
    except DvcException as error:
        raise InputError(f"{revision}: {error}.") from error
    try:
        files.open(str(PREDICTIONS)).close()
        predictions = tables.read(PREDICTIONS, tables.PREDICTIONS, filesystem=files)
    except FileNotFoundError as error:
        raise InputError(f"{revision}: {PREDICTIONS} is in no cache here. {way_out(revision)}") from error
    except (DvcException, InputError) as error:
        raise InputError(f"{revision}: {error}") from error
    if predictions.empty:
        raise InputError(
            f"{revision}: {PREDICTIONS} holds no prediction. `dvc repro -f evaluate` makes them."
        )
    return paired.Run(revision, predictions, stage.get("params", {}).get("params.yaml", {}))


def way_out(revision: str) -> str:
    """Returns what brings a revision's predictions."""
    if revision == WORKSPACE:
        return f"`dvc pull {PREDICTIONS}` or `dvc repro` brings it."
    return (
        f"`dvc fetch --all-commits {PREDICTIONS}` brings it from a remote, and `make base BASE={revision}` "
        "makes it again under the tag `base`, for `python -m stages.tools.compare base`."
    )


def compare(a: paired.Run, b: paired.Run, n_resamples: int, seed: int) -> Comparison:
    """Returns all that can be told of two runs.

    Raises:
        InputError: they cannot be compared, and why.
    """
    first, second = paired.pair(a, b)
    return Comparison(
        a=a,
        b=b,
        n_clips=first["clip"].nunique(),
        n_speakers=first["speaker"].nunique(),
        n_folds=first["fold"].nunique(),
        metrics=paired.differences(first, second, n_resamples, seed),
        mcnemar_p_value=paired.mcnemar(first, second),
        emotions=paired.flips(first, second, "label"),
        speakers=paired.flips(first, second, "speaker"),
    )


def check_not_worse(uar: paired.Difference, margin: float) -> None:
    """Fails where the whole interval lies below -margin: a worse score alone may be chance.

    Raises:
        InputError: UAR is worse.
    """
    if uar.high < -margin:
        raise InputError(
            f"UAR is worse by more than {margin:g}: {uar.difference:+.3f} [{uar.low:+.3f}, {uar.high:+.3f}]."
        )


def text(found: Comparison) -> str:
    """Returns the comparison for a terminal of 80 columns."""
    wrap = partial(textwrap.fill, width=80)
    parts = [
        wrap(verdict(found)),
        wrap(runs(found)),
        table(scores(found), "simple"),
        wrap(remarks(found)),
        table(changes(found.emotions), "simple"),
        table(changes(found.speakers), "simple"),
    ]
    return "\n\n".join(parts)


def markdown(found: Comparison) -> str:
    """Returns the comparison for a pull request, the verdict first and the speakers folded away."""
    parts = [
        f"**{verdict(found)}**",
        runs(found),
        table(scores(found), "github"),
        remarks(found),
        table(changes(found.emotions), "github"),
        "<details><summary>By speaker</summary>",
        table(changes(found.speakers), "github"),
        "</details>",
    ]
    return "\n\n".join(parts)


def as_json(found: Comparison) -> str:
    """Returns the comparison with every digit."""
    values = {
        "verdict": verdict(found),
        "a": {"revision": found.a.name, "params": found.a.params},
        "b": {"revision": found.b.name, "params": found.b.params},
        "n_clips": found.n_clips,
        "n_speakers": found.n_speakers,
        "n_folds": found.n_folds,
        "metrics": {name: asdict(difference) for name, difference in found.metrics.items()},
        "mcnemar_p_value": found.mcnemar_p_value,
        "emotions": found.emotions.to_dict(orient="records"),
        "speakers": found.speakers.to_dict(orient="records"),
    }
    return json.dumps(values, indent=2, allow_nan=False)


def verdict(found: Comparison) -> str:
    """Returns one line on UAR."""
    uar = found.metrics["uar"]
    told = (
        f"UAR {uar.a:.3f} -> {uar.b:.3f}, difference {uar.difference:+.3f} "
        f"[{uar.low:+.3f}, {uar.high:+.3f}], p {p_value(uar.p_value)}"
    )
    if uar.significant:
        return f"{told}: {direction('uar', uar)}"
    if not uar.detectable:
        return f"{told}: both recognise the same of every speaker"
    return (
        f"{told}: no difference that these {found.n_speakers} speakers can show; "
        f"smallest detectable {uar.detectable:.3f}"
    )


def direction(name: str, difference: paired.Difference) -> str:
    """Returns whether b is better or worse than a, or nothing where that may be chance."""
    if not difference.significant:
        return ""
    return "better" if (difference.difference < 0) == (name in paired.LOWER_IS_BETTER) else "worse"


def runs(found: Comparison) -> str:
    """Returns who is compared and on what, with what a reader must know before believing it."""
    protocol = str(found.a.params.get("split.protocol"))
    heard = ", so the test speakers were heard in training" if leak.leaky(protocol) else ""
    return (
        f"A is {described(found.a)}, B is {described(found.b)}. Both are tested on {found.n_clips} clips of "
        f"{found.n_speakers} speakers in {found.n_folds} fold{'s' * (found.n_folds > 1)} ({protocol}{heard})."
    )


def described(compared: paired.Run) -> str:
    """Returns a run's name and model."""
    own = ", each speaker normalised by their own clips"
    normalised = own if compared.params.get("train.normalize") == "speaker" else ""
    return f"{compared.name} ({compared.params.get('model')}{normalised})"


def scores(found: Comparison) -> pd.DataFrame:
    """Returns a row per metric, in words."""
    rows = [
        (
            name,
            f"{metric.a:.3f}",
            f"{metric.b:.3f}",
            f"{metric.difference:+.3f}",
            f"[{metric.low:+.3f}, {metric.high:+.3f}]",
            p_value(metric.p_value).removeprefix("= "),
            direction(name, metric),
        )
        for name, metric in found.metrics.items()
    ]
    return pd.DataFrame(rows, columns=["metric", "A", "B", "B - A", "95 % interval", "p", "B is"])


def remarks(found: Comparison) -> str:
    """Returns how to read the table, with McNemar's test."""
    n_lost, n_won = found.emotions["right_to_wrong"].sum(), found.emotions["wrong_to_right"].sum()
    return (
        "Intervals and p are over speakers, not over trainings. The smallest detectable UAR difference, "
        f"which would show four times in five, is {found.metrics['uar'].detectable:.3f}. {n_lost} clips turn "
        f"wrong and {n_won} right: McNemar's exact test, as if clips were independent, "
        f"p {p_value(found.mcnemar_p_value)}."
    )


def changes(flips: pd.DataFrame) -> pd.DataFrame:
    """Returns a table of `paired.flips`, in words."""
    shares = {name: flips[name].map("{:.3f}".format) for name in ("a", "b")}
    names = {"a": "A right", "b": "B right", "right_to_wrong": "turn wrong", "wrong_to_right": "turn right"}
    return flips.assign(**shares).rename(columns=names)


def table(rows: pd.DataFrame, layout: str) -> str:
    """Returns `rows` of words in one of tabulate's layouts, the first column to the left."""
    alignment = ["left", *["right"] * (rows.shape[1] - 1)]
    return rows.to_markdown(index=False, tablefmt=layout, colalign=alignment, disable_numparse=True)


def p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


if __name__ == "__main__":
    run(main)
