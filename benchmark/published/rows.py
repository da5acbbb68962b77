"""Rows of benchmark/published/results.csv: what a report says of a system, and what was measured here."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmark.published import overlay
from benchmark.published.overlay import Experiment, System
from stages.base.errors import InputError
from stages.base.files import DATA, METRICS, replacing

ROWS = Path("benchmark/published/rows")  # one file per system, so running one leaves the others alone
RESULTS = Path("benchmark/published/results.csv")
RAN = "run"
NEEDS, AND = "not run here: needs ", " and "

INTERVALS = ("accuracy", "uar", "macro_f1", "weighted_f1", "macro_precision")
COLUMNS = [
    "system",
    "variant",
    "role",
    "protocol",
    "status",
    "model",
    "corpora",
    "reported_accuracy",
    "reported_f1",
    *(f"{metric}{end}" for metric in INTERVALS for end in ("", "_low", "_high")),
    "auc",
    "chance",  # UAR of random guessing
    "majority",  # accuracy of the majority-class baseline
    "n_clips",
    "n_speakers",
    "n_train",
    "n_folds",
    "of_folds",
    "n_parameters",
    "n_epochs",
    "train_seconds",
    "seconds_per_epoch",
    "threads",
    "leaky",
    "note",
]


def not_run(experiment: Experiment, system: System, missing: Sequence[str]) -> dict[str, Any]:
    """Returns the row of an experiment that cannot be run here.

    A row that was measured before, or was missing less, is kept, with what the system's file says now: a
    machine without recordings deletes no results. A row of another model or other corpora is dropped;
    whether other parameters have changed since is not checked.

    Raises:
        InputError: the earlier rows have other columns.
    """
    now = description(experiment, system)
    for row in read(ROWS / f"{experiment.system}.csv"):
        is_same = all(row[key] == now[key] for key in ("variant", "protocol", "model", "corpora"))
        missing_before = row["status"].removeprefix(NEEDS).split(AND)
        if is_same and (row["status"] == RAN or set(missing_before) <= set(missing)):
            return {**row, **now}
    return {**now, "status": f"{NEEDS}{AND.join(missing)}"}


def measured(experiment: Experiment, system: System, place: Path) -> dict[str, Any]:
    """Returns the row of an experiment whose metrics are in the workspace `place`."""
    test, train, split = (
        json.loads((place / METRICS / f"{name}.json").read_text()) for name in ("test", "train", "split")
    )
    try:
        timing = json.loads((place / DATA / "timing.json").read_text())
    except FileNotFoundError as error:
        raise InputError(f"{error.filename}: missing. Delete {place} and run the same again.") from error
    n_folds, has_epochs = train["n_folds"], bool(train.get("n_epochs"))
    return {
        **description(experiment, system),
        "status": RAN,
        **{name: value for name, value in test.items() if name in COLUMNS},
        "chance": test["chance_uar"],
        "majority": max(split["test"]["fraction"].values()),
        "n_train": round(train["n_train"]),
        "n_folds": n_folds,
        "of_folds": split["n_folds"],
        "n_parameters": train["n_parameters"],
        "n_epochs": train["n_epochs"] if has_epochs else None,
        # of one fold, as a report gives the time of one training
        "train_seconds": sum(fold["seconds"] for fold in timing.values()) / n_folds,
        "seconds_per_epoch": sum(fold["seconds_per_epoch"] for fold in timing.values()) / n_folds
        if has_epochs
        else None,
        "threads": experiment.values["train"]["threads"],
    }


def description(experiment: Experiment, system: System) -> dict[str, Any]:
    """Returns what is known of a row before it is run."""
    variant = system.variants[experiment.variant]
    is_reported = experiment.protocol == "as_reported" and variant.role == "reported"
    return {
        "system": experiment.system,
        "variant": experiment.variant,
        "role": variant.role,
        "protocol": experiment.protocol,
        "model": experiment.values["model"],
        "corpora": "+".join(experiment.values["corpus"]),
        "reported_accuracy": system.report.accuracy if is_reported else None,
        "reported_f1": system.report.f1 if is_reported else None,
        "note": system.note,
    }


def write(found: Iterable[dict[str, Any]], path: Path) -> None:
    """Writes rows as CSV, numbers to four significant digits, so that a diff shows real changes."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows({column: _text(row.get(column)) for column in COLUMNS} for row in found)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def gather() -> list[dict[str, str]]:
    """Returns the rows of all systems as text, sorted by system and in the order of its file.

    Raises:
        InputError: there are none yet, or they have other columns.
    """
    found = [row for name in overlay.names() for row in read(ROWS / f"{name}.csv")]
    if not found:
        raise InputError(
            f"{ROWS}: no rows yet. Run `python -m benchmark.published.system {overlay.names()[0]}`."
        )
    return found


def read(path: Path) -> list[dict[str, str]]:
    """Returns the rows that `write` wrote, as text; an empty list if there is no such file.

    Raises:
        InputError: it has other columns.
    """
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        table = csv.DictReader(file)
        found = list(table)
    if table.fieldnames != COLUMNS:
        raise InputError(
            f"{path}: its columns are not those that this version writes. Run the system again "
            "on a machine with its corpora, or delete the file."
        )
    return found
