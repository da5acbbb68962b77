"""Run published systems: each of their variants, by the report's split and with new speakers.

    python -m benchmark.published.system            all
    python -m benchmark.published.system B1_svm     one
    python -m benchmark.published.system --corpus crema_d     variants on CREMA-D

Each run is this pipeline in a workspace of its own in benchmark/published/runs, with params.yaml as
benchmark/published/systems/B1_svm.yaml changes it. The weights that a variant with `pretrain` starts from are
trained once, before its first run, in a workspace of their own. Both protocols are run with the same seeds,
`n_seeds` of them, and with equally many training clips. Only what changed runs again, a killed run resumes,
and several systems may run side by side. If a variant fails, those that
are not compared with it run all the same.

benchmark/published/rows/B1_svm.csv is written after each seed; rows of more seeds with the same settings are
kept until there are as many. Rows keep their last results if their corpus or weights are missing, or have
fewer speakers or clips than before.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

from benchmark.published import overlay, rows, workspace
from benchmark.published.overlay import MAX_MISSING
from stages.base.errors import InputError, listed, parser_of, run, unknown
from stages.base.files import DOWNLOADS, SOURCES
from stages.base.params import PARAMS, load
from stages.base.workspace import alone
from stages.compute import hardware


def main() -> None:
    parser = parser_of(__doc__.splitlines()[0], "python -m benchmark.published.system")
    parser.add_argument("systems", metavar="SYSTEM", nargs="*", help=f"all: {', '.join(overlay.names())}")
    parser.add_argument("--corpus", help="run only variants that use this corpus")
    to = parser.parse_args()
    base = load(PARAMS)
    chosen = {name: overlay.experiments(name, base) for name in to.systems or overlay.names()}
    with hardware.quiet():  # checking a network's block loads TensorFlow
        if to.corpus is not None:
            check_available(to.corpus, list(itertools.chain(*chosen.values())))
        for experiment in itertools.chain(*chosen.values()):
            experiment.params()  # a mistake in the last one is reported before the first one is trained
            if experiment.pretraining is not None:
                experiment.pretraining.params()
    failed = []
    for name, experiments in chosen.items():
        system = overlay.load(name)
        variants = using(to.corpus, system, experiments)
        try:
            failed += reproduce(system, experiments, variants) if variants else []
        except InputError as error:
            failed.append(report(name, error))
    if failed:
        raise InputError(f"{listed(failed)}: failed, see above. The others were run as far as possible.")


def report(name: str, error: InputError) -> str:
    """Prints why a system or variant failed, and returns its name."""
    print(f"error: {name}: {error}", file=sys.stderr, flush=True)
    return name


def check_available(corpus: str, experiments: Sequence[overlay.Experiment]) -> None:
    """Raises InputError when no experiment uses the corpus, or it is not in data/sources."""
    users = {name: each for each in experiments for name in each.corpora}
    if corpus not in users:
        raise unknown("--corpus", corpus, users)
    if corpus not in workspace.available(users[corpus].values):
        about = users[corpus].params().corpus_of(corpus).ABOUT
        raise InputError(
            f"{SOURCES / corpus}: missing. Put {about.title} there: {DOWNLOADS}, where `ingest` puts what it "
            f"downloads, is not read here. {about.access}"
        )


def using(corpus: str | None, system: overlay.System, experiments: Sequence[overlay.Experiment]) -> list[str]:
    """Returns the variants that read a corpus, and those that they are compared with; all with None."""
    found = {each.variant for each in experiments if corpus in (None, *each.corpora)}
    for name in reversed(system.variants):  # a variant is compared with one before it
        against = system.variants[name].against
        if name in found and against is not None:
            found.add(against)
    return [name for name in system.variants if name in found]


def reproduce(
    system: overlay.System, experiments: Sequence[overlay.Experiment], variants: Sequence[str]
) -> list[str]:
    """Brings a system's rows up to date, seed by seed, and says how long the rest will take.

    Args:
        variants: to run; the rows of others are left as they are.

    Returns:
        The variants that failed, with those that are compared with one of them.

    Raises:
        InputError: its rows cannot be read, or another process is running it.
    """
    name = experiments[0].system
    path = rows.ROWS / f"{name}.csv"
    pairs = {each: [one for one in experiments if one.variant == each] for each in system.variants}
    present = [each for each in variants if not any(map(workspace.missing, pairs[each]))]
    failed: dict[str, str] = {}
    with alone(workspace.RUNS / name) if present else nullcontext():
        # A variant may be taken out of the system's file, but not with its results.
        rows.check_known((row for row in rows.read(path) if row["status"] == rows.RAN), name)
        found = {each.name: last(each, system) for each in experiments}
        chosen = []
        for variant in present:
            try:
                if not has_less_data(pairs[variant], found):
                    chosen.append(variant)
            except InputError as error:
                failed[variant] = report(f"{name} {variant}", error)
        # the first seed of all variants before the second
        runs = list(itertools.product(range(system.n_seeds), chosen))
        for n_done, (number, variant) in enumerate(runs):
            if variant in failed:
                continue
            waiting = [
                each.run(n, None)
                for n, other in runs[n_done:]
                for each in pairs[other]
                if other not in failed
            ]
            left = time_left(waiting, found)
            print(f"{name} {variant}, seed {number + 1} of {system.n_seeds}{left}", flush=True)
            try:
                against = system.variants[variant].against
                if against in failed:
                    raise InputError(f"is compared with {against}, which failed.")
                if against is not None and against not in chosen:
                    raise InputError(
                        f"is compared with {against}, which is not run again, see above. Both need the same "
                        "recordings."
                    )
                now = tested(system, pairs, variant, number)
            except InputError as error:
                failed[variant] = report(f"{name} {variant}", error)
                continue
            if not any(has_more_seeds(found[each], row) for each, row in now.items()):
                found |= now
            rows.write(found.values(), path)
            for each, row in now.items():
                print(f"{name} {each}: UAR {row['uar']:.3f}", flush=True)
        rows.write(found.values(), path)
    return list(failed.values())


def tested(
    system: overlay.System, pairs: Mapping[str, Sequence[overlay.Experiment]], variant: str, number: int
) -> dict[str, dict[str, Any]]:
    """Runs a variant with its seed `number`; returns its rows of the seeds so far, by name.

    Args:
        pairs: the experiments of each variant.
    """
    pair = pairs[variant]
    workspace.pretrain(pair[0])
    for each in workspace.equal_runs(pair, number):
        workspace.reproduce(workspace.prepare(each))
    against = pairs.get(system.variants[variant].against or "", [])
    measured = rows.measured(pair, system, number + 1, against)
    return {each.name: row for each, row in zip(pair, measured, strict=True)}


def has_more_seeds(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Returns whether the last row has the settings of the one that is measured now, and more seeds.

    >>> last = {"n_seeds": "3", "settings": "a1"}
    >>> [has_more_seeds(last, {"n_seeds": n, "settings": s}) for n, s in ((2, "a1"), (3, "a1"), (1, "b2"))]
    [True, False, False]
    """
    return bool(before.get("settings") == now["settings"] and int(before["n_seeds"]) > now["n_seeds"])


def time_left(runs: Iterable[overlay.Experiment], found: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns `, about 1:23:00 of training left`, or nothing if that is not known.

    Args:
        runs: of experiments; those that are finished take no time.
        found: the last rows of their system, by name.
    """
    unfinished = [each for each in runs if not workspace.is_finished(each)]
    seconds = sum(rows.expected_seconds(each, found) for each in unfinished)
    return f", about {timedelta(seconds=round(seconds))} of training left" if seconds else ""


def has_less_data(pair: Sequence[overlay.Experiment], found: Mapping[str, Mapping[str, Any]]) -> bool:
    """Returns whether rows were measured on more speakers or clips than there are now; prints what is kept.

    A few clips less, such as duplicates that are found now, do not count.
    """
    counts = {"speakers": "n_speakers", "clips": "n_clips"}
    before = {
        what: max(int(found[each.name].get(column) or 0) for each in pair) for what, column in counts.items()
    }
    now = workspace.counts(pair[0]) if any(before.values()) else before
    for what, n_before in before.items():
        if now[what] < (1 - MAX_MISSING) * n_before:
            print(
                f"{pair[0].system} {pair[0].variant}: {SOURCES} has {now[what]:,} of the {n_before:,} {what} "
                "that the last results were measured on; they are kept",
                flush=True,
            )
            return True
    return False


def last(experiment: overlay.Experiment, system: overlay.System) -> dict[str, str]:
    """Returns the row as it was before; prints what is missing if that keeps it from being run again."""
    missing = workspace.missing(experiment)
    row = rows.last(experiment, system, missing)
    if missing:
        is_kept = row["status"] == rows.RAN
        result = f"last results kept, needs {rows.AND.join(missing)}" if is_kept else row["status"]
        print(f"{experiment.system} {experiment.name}: {result}", flush=True)
    return row


if __name__ == "__main__":
    run(main)
