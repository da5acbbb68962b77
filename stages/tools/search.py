"""Search settings by validation UAR: `ser search --trials 50 'models.svm.c=log(0.1, 100)'`.

A setting is a key of params.yaml and what to choose from: choice(a, b), int(low, high), float(low, high) or
log(low, high); a plain value holds for all trials. A trial trains every fold with other values. Its score
is the mean of the folds' validation UAR: of held-out speakers of the fold's training data. No test clip is
scored.

Trials run in data/search, so params.yaml and the pipeline's results stay as they are. The same command
continues an interrupted search; with more --trials a finished one goes on. Writes metrics/search.csv and
metrics/search.png, and prints the best as a command. Needs the extra `search`.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

import pandas as pd

try:
    from optuna import Study
    from optuna.trial import FrozenTrial
except ModuleNotFoundError as error:  # here, as without it nothing below can be imported
    raise SystemExit('error: search: needs the extra `search`. Run `pip install -e ".[search]"`.') from error

from stages.base import workspace
from stages.base.errors import InputError, count, parser_of, run
from stages.base.files import DATA, METRICS, MODEL, PRETRAINED, SOURCES, SPLITS, write
from stages.base.params import PARAMS, Params, load
from stages.base.stage import RUNNING
from stages.data import keys
from stages.evaluation import comparison
from stages.learning import dataset, trained_fold
from stages.learning.record import RECORD
from stages.reporting.figures import search as figure
from stages.searching import checks, space, trials
from stages.searching.space import Parameter, Values
from stages.searching.trials import Result

WORK = DATA / "search"
PLACE = WORK / "workspace"
LOG = WORK / "trial.log"  # what the stages of the last trial printed
CACHE = "../../cache"  # of DVC, from the workspace's folder .dvc
TABLE = METRICS / "search.csv"
FEATURE_BLOCKS = ("audio", "spectrum", "featurize", "features", "augment", "augmentations")  # of params.yaml
N_TRIALS = 50
N_SHOWN = 5  # best trials


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("settings", nargs="+", metavar="KEY=VALUES")
    parser.add_argument("--trials", type=count, default=N_TRIALS, metavar="N", help="in all; 50 by default")
    arguments = parser.parse_args()
    parameters, fixed = space.parse(arguments.settings)
    values = space.changed(load(PARAMS), fixed)
    params = checks.check(parameters, values)
    with workspace.alone(WORK):
        code = checks.code_of(params)  # now, as it is copied: trials do not see later edits
        prepare(values)
        rows = training_clips(params)
        checks.check_validation(params, rows)
        study = open_study(checks.made_from(parameters, params, rows, code))
        first = present(parameters, values)
        done = trials.finished(study)
        n_before, started = len(done), time.monotonic()
        for done in trials.run(
            study, parameters, first, partial(measure, values), arguments.trials, params.seed
        ):
            per_trial_s = (time.monotonic() - started) / (len(done) - n_before)
            show(done, (arguments.trials - len(done)) * per_trial_s)
    report(done, parameters, values, fixed)


def prepare(values: Values) -> None:
    """Brings the workspace up to date up to features and splits. A new one starts from the project's.

    Raises:
        InputError: dvc.lock is broken, a killed search still trains, or a stage failed.
    """
    stages_of(workspace.LOCK)  # before it is copied
    if PLACE.exists():
        with workspace.alone(PLACE / RUNNING / "train"):
            pass  # a search that was killed may have left it running, and every trial would fail
    elif workspace.LOCK.is_file():
        workspace.start_from(Path(), PLACE)
    replace_broken_lock()
    workspace.prepare(PLACE, values, [*SOURCES.glob("*"), *PRETRAINED.glob("*")], CACHE)
    recall_features(lock_of(values), sys.stderr)
    workspace.reproduce(PLACE, "featurize", "split", output=sys.stderr)


def replace_broken_lock() -> None:
    """Replaces a broken dvc.lock of the workspace by the project's, if there is one."""
    own = PLACE / workspace.LOCK
    try:
        stages_of(own)
    except InputError:
        own.unlink()
        if workspace.LOCK.is_file():
            shutil.copy2(workspace.LOCK, own)


def training_clips(params: Params) -> pd.DataFrame:
    """Returns the train and validation rows of the folds to train; test clips are not read."""
    splits = dataset.read_training_splits(PLACE / SPLITS)
    folds = sorted({fold for fold, _ in trained_fold.trainings(params, splits).values()})
    return pd.concat([splits.fold(fold, *dataset.SEEN) for fold in folds], ignore_index=True)


def open_study(made_from: Mapping[str, str]) -> Study:
    """Returns the study that the trials belong to, and says whether it is a new one."""
    study, differs = trials.open_study(WORK / "trials.db", made_from)
    if done := trials.finished(study):
        print(f"search: continues after {len(done)} trials", flush=True)
    elif differs:
        print(f"search: a new study: {' and '.join(differs)} changed since the last one", flush=True)
    return study


def present(parameters: list[Parameter], values: Values) -> dict[str, Any] | None:
    """Returns the values of params.yaml as a trial's choice; None if the search could not choose one."""
    chosen = {each.key: each.chosen(space.present(values, each.key)) for each in parameters}
    return None if None in chosen.values() else chosen


def measure(values: Values, chosen: Mapping[str, Any]) -> Result:
    """Trains every fold with the chosen values. Values that are not valid together take no second."""
    own = space.changed(values, {key: space.read(value) for key, value in chosen.items()})
    try:
        checks.valid(own)
    except InputError as error:
        return Result({}, 0.0, str(error))
    started = time.monotonic()
    workspace.write_params(PLACE, own)
    kept = lock_of(own)
    with LOG.open("w") as log:
        recall_features(kept, log)
        failed = workspace.dvc(PLACE, "repro", "train", output=log)
    seconds = time.monotonic() - started
    if failed:
        lines = LOG.read_text(encoding="utf-8", errors="replace").splitlines() or ["no message"]
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return Result({}, seconds, [lines[-1], *errors][-1])
    write((PLACE / workspace.LOCK).read_bytes(), kept)
    records = sorted((PLACE / MODEL).glob(f"*/{RECORD}"))
    uars = {path.parent.name: json.loads(path.read_text()).get("val_uar") for path in records}
    without = [name for name, uar in uars.items() if uar is None]
    return Result({}, seconds, f"{without[0]} has no validation UAR") if without else Result(uars, seconds)


def lock_of(values: Values) -> Path:
    """Returns where dvc.lock is kept after a trial with these settings of the features."""
    return WORK / "locks" / f"{keys.fingerprint([values[name] for name in FEATURE_BLOCKS])}.lock"


def recall_features(kept: Path, output: IO) -> None:
    """Takes features from the cache that an earlier trial computed. DVC itself does not: they persist.

    Args:
        kept: dvc.lock after that trial, if there was one.
        output: of DVC.
    """
    if kept.is_file() and features_of(kept) != features_of(PLACE / workspace.LOCK):
        shutil.copy2(kept, PLACE / workspace.LOCK)
        workspace.dvc(PLACE, "checkout", "--force", "augment", "featurize", output=output)


def features_of(lock: Path) -> Any:
    """Returns what a dvc.lock says of the features, None if nothing."""
    return stages_of(lock).get("featurize")


def stages_of(lock: Path) -> Any:
    """Returns what a dvc.lock says of the stages: nothing if it is not there.

    Raises:
        InputError: it is not as DVC writes it.
    """
    text = lock.read_text(encoding="utf-8") if lock.is_file() else "{}"
    return comparison.stages_of_lock(lock.parent.name or comparison.WORKSPACE, text)


def show(done: list[FrozenTrial], left_s: float) -> None:
    """Prints the last trial, the best so far and the minutes left."""
    last, best = done[-1], trials.best(done)
    score = trials.result(last).failed.rstrip(".") or f"UAR {last.value:.3f}"
    so_far = f", best {best.value:.3f}" if best else ""
    left = f", {left_s / 60:.1f} min left" if left_s else ""
    print(f"search: trial {len(done)}: {listed(last)}: {score}{so_far}{left}", flush=True)


def listed(trial: FrozenTrial) -> str:
    """Returns the chosen values of a trial."""
    return ", ".join(f"{key}={value}" for key, value in sorted(trial.params.items()))


def report(done: list[FrozenTrial], parameters: list[Parameter], values: Values, fixed: Values) -> None:
    """Writes the table and the figure of the trials, and prints the best and how to run it.

    Raises:
        InputError: every trial failed.
    """
    table, best = trials.table(done), trials.best(done)
    write(table.to_csv(index=False), TABLE)
    if best is None:
        raise InputError(f"{TABLE}: all trials failed, the last one: {trials.result(done[-1]).failed}")
    drawn = figure.search(
        table, 1 + done.index(best), {each.key: (each.scale, each.ends()) for each in parameters}
    )
    write(drawn.content, TABLE.with_suffix(".png"))
    chosen = [each.key for each in parameters]
    top = table.dropna(subset=trials.UAR).sort_values([trials.UAR, "trial"], ascending=[False, True])
    top = top.drop_duplicates(chosen)[["trial", trials.UAR, *chosen]].head(N_SHOWN)
    print(f"\n{top.to_markdown(index=False, floatfmt='.4g')}\n\n{conclusion(done, best, parameters, values)}")
    settings = fixed | {key: space.read(value) for key, value in best.params.items()}
    given = [part for key, value in settings.items() for part in ("-S", f"{key}={space.written(value)}")]
    print(shlex.join(["dvc", "exp", "run", *given]))


def conclusion(
    done: list[FrozenTrial], best: FrozenTrial, parameters: list[Parameter], values: Values
) -> str:
    """Returns what the best trial gains, and what its score is worth."""
    ours = present(parameters, values)
    scored = (each for each in done if each.params == ours and each.value is not None)
    before = next((trials.result(each).uars for each in scored), None)
    found = trials.result(best).uars
    gain = "; the values of params.yaml are not among those searched"
    if before:
        higher = sum(uar > before[name] for name, uar in found.items())
        mean = sum(before.values()) / len(before)
        gain = f", with params.yaml {mean:.3f}; higher in {higher} of {len(found)} trainings"
    settings = {listed(each) for each in done}
    failed = sum(each.value is None for each in done)
    failures = f" {failed} of {len(done)} trials failed: see {TABLE}." if failed else ""
    return (
        f"Best validation UAR {best.value:.3f}{gain}. As the highest of {len(settings)} settings it is "
        f"optimistic.{failures} Test clips were scored 0 times. To test it once:"
    )


if __name__ == "__main__":
    run(main)
