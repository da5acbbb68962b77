"""The trials of a search: stored in SQLite, the next one chosen by those that are finished.

What is chosen depends on the seed and on the finished trials alone. So a search that was killed continues
with the trial that it was killed in, and finds what it would have found without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.exc import DatabaseError

from stages.base.errors import InputError, one_line
from stages.data import keys
from stages.searching.space import Parameter

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)  # Optuna avoids what a pruned trial chose
MOST_FAILED = 3  # trials in a row
MADE_FROM = "made_from"
UAR = "uar"  # columns of the table of trials
FAILED = "failed"

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Result:
    """What came of a trial.

    Attributes:
        uars: validation UAR of each trained fold, by the name of its folder; empty if it failed.
        seconds: it took.
        failed: why it has no score, "" if it has one.
    """

    uars: Mapping[str, float]
    seconds: float
    failed: str = ""


def open_study(path: Path, made_from: Mapping[str, str]) -> tuple[optuna.Study, list[str]]:
    """Returns the study of this data, code and settings, which is a new one if there is none yet.

    Args:
        path: of the SQLite file with all studies.
        made_from: fingerprints, by what they are of.

    Returns:
        The study. If it is new and not the first, also what differs from the last one.

    Raises:
        InputError: the file is damaged, or another version of Optuna wrote it.
    """
    storage, name = f"sqlite:///{path}", keys.fingerprint(dict(made_from))
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        earlier = {study.study_name: study for study in optuna.get_all_study_summaries(storage)}
        study = optuna.create_study(
            storage=storage, study_name=name, direction="maximize", load_if_exists=True
        )
        study.set_user_attr(MADE_FROM, dict(made_from))
    except (DatabaseError, RuntimeError, optuna.exceptions.StorageInternalError) as error:
        raise InputError(
            f"{path}: not a file of trials ({one_line(error)}). Delete it to start over."
        ) from error
    if name in earlier or not earlier:
        return study, []
    last = [*earlier.values()][-1].user_attrs.get(MADE_FROM, {})
    return study, [part for part in made_from if made_from[part] != last.get(part)]


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Returns the study's trials."""
    return study.get_trials(deepcopy=False, states=FINISHED)


def suggest(space: Sequence[Parameter], done: Sequence[FrozenTrial], seed: int) -> dict[str, Any]:
    """Returns the values of the next trial: by tree-structured Parzen estimators (Bergstra et al. 2011).

    Args:
        done: all finished trials, in their order.
    """
    sampler = TPESampler(seed=int(keys.fingerprint(seed, len(done))[:8], 16))
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials(done)
    drawn = study.ask({parameter.key: parameter.distribution for parameter in space}).params
    return {parameter.key: parameter.rounded(drawn[parameter.key]) for parameter in space}


def trial(space: Sequence[Parameter], chosen: Mapping[str, Any], result: Result) -> FrozenTrial:
    """Returns a finished trial, to be added to a study."""
    return create_trial(
        state=TrialState.PRUNED if result.failed else TrialState.COMPLETE,
        value=None if result.failed else float(np.mean([*result.uars.values()])),
        params=dict(chosen),
        distributions={parameter.key: parameter.distribution for parameter in space},
        user_attrs=asdict(result),
    )


def result(trial: FrozenTrial) -> Result:
    """Returns what came of a finished trial."""
    return Result(**trial.user_attrs)


def run(
    study: optuna.Study,
    space: Sequence[Parameter],
    first: dict[str, Any] | None,
    measure: Callable[[dict[str, Any]], Result],
    n_trials: int,
    seed: int,
) -> Iterator[list[FrozenTrial]]:
    """Runs trials until there are `n_trials`, and yields all so far after each.

    Values that were measured before are not measured again. A trial that fails is stored when a later one
    succeeds: then its values are the cause, and not the machine.

    Args:
        study: where they are stored.
        first: the values of the first trial; None to choose them.
        measure: runs a trial; of values that are not valid together it takes no second.
        n_trials: in all.

    Raises:
        InputError: the first trial, or MOST_FAILED trials in a row, failed.
    """
    done, pending, n_failed = finished(study), list[FrozenTrial](), 0
    while (number := len(done) + len(pending)) < n_trials:
        chosen = (first if number == 0 else None) or suggest(space, [*done, *pending], seed)
        earlier = next((each for each in done if each.params == chosen), None)
        found = replace(result(earlier), seconds=0.0) if earlier else measure(chosen)
        pending.append(trial(space, chosen, found))
        if found.seconds:  # it ran
            n_failed = n_failed + 1 if found.failed else 0
        if n_failed == MOST_FAILED or (n_failed and not done):
            raise InputError(
                f"ser search: trial {number + 1} failed, the last of {n_failed} in a row: {found.failed}"
            )
        if not n_failed:
            study.add_trials(pending)
            done, pending = finished(study), []
        yield [*done, *pending]


def table(done: Sequence[FrozenTrial]) -> pd.DataFrame:
    """Returns a row per trial: trial, from 1, uar, its parameters, each fold's uar, seconds, failed."""
    rows = []
    for number, each in enumerate(done, start=1):
        found = result(each)
        values = {key: each.params[key] for key in sorted(each.params)}
        last = {"seconds": round(found.seconds, 1), FAILED: found.failed}
        rows.append({"trial": number, UAR: each.value, **values, **found.uars, **last})
    columns = [*dict.fromkeys(name for row in rows for name in row if name not in ("seconds", FAILED))]
    return pd.DataFrame(rows, columns=[*columns, "seconds", FAILED])


def best(done: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """Returns the first trial with the highest UAR; None if all failed."""
    scored = [each for each in done if each.state == TrialState.COMPLETE]
    return max(scored, key=lambda each: float(each.value or 0), default=None)
