"""Rows of benchmark/results.csv: what a report tells of a system, and what was measured of it here."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmark import overlay
from benchmark.overlay import Run, System
from stages.core.errors import InputError
from stages.core.files import DATA, METRICS, replacing

ROWS = Path("benchmark/rows")  # one file a system, so that one that ran leaves the others alone
RESULTS = Path("benchmark/results.csv")
RAN = "run"
ABSENT, AND = "not run here: needs ", " and "

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
    "chance",  # UAR of guessing
    "majority",  # accuracy of naming the commonest emotion always
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


def absent(run: Run, system: System, lacks: Sequence[str]) -> dict[str, Any]:
    """Returns the row of a system that cannot be run here.

    It is the row of before, with what the system's file tells now, where that was measured, or lacked less: a
    machine without recordings takes nothing away. A row of another model or other corpora than the file's is
    given up; that other knobs changed since is not seen.

    Raises:
        InputError: the rows of before have other columns.
    """
    now = told(run, system)
    for row in read(ROWS / f"{run.system}.csv"):
        alike = all(row[key] == now[key] for key in ("variant", "protocol", "model", "corpora"))
        lacked = row["status"].removeprefix(ABSENT).split(AND)
        if alike and (row["status"] == RAN or set(lacked) <= set(lacks)):
            return {**row, **now}
    return {**now, "status": f"{ABSENT}{AND.join(lacks)}"}


def measured(run: Run, system: System, place: Path) -> dict[str, Any]:
    """Returns the row of a run whose metrics are in the workspace `place`."""
    test, train, split = (
        json.loads((place / METRICS / f"{name}.json").read_text()) for name in ("test", "train", "split")
    )
    try:
        timing = json.loads((place / DATA / "timing.json").read_text())
    except FileNotFoundError as error:
        raise InputError(f"{error.filename}: missing. Delete {place} and run the same again.") from error
    n_folds, threads = train["n_folds"], run.values["train"]["threads"]
    return {
        **told(run, system),
        "status": RAN,
        **{name: value for name, value in test.items() if name in COLUMNS},
        "chance": test["chance_uar"],
        "majority": max(split["test"]["fraction"].values()),
        "n_train": round(train["n_train"]),
        "n_folds": n_folds,
        "of_folds": split["n_folds"],
        "n_parameters": train["n_parameters"],
        "n_epochs": train["n_epochs"] or None,
        # a fold's, as a report tells one training's
        "train_seconds": sum(fold["seconds"] for fold in timing.values()) / n_folds,
        "seconds_per_epoch": sum(fold["seconds_per_epoch"] for fold in timing.values()) / n_folds
        if train["n_epochs"]
        else None,
        "threads": threads,
    }


def told(run: Run, system: System) -> dict[str, Any]:
    """Returns what is known of a row before it is run."""
    variant = system.variants[run.variant]
    is_reported = run.protocol == "as_reported" and variant.role == "reported"
    return {
        "system": run.system,
        "variant": run.variant,
        "role": variant.role,
        "protocol": run.protocol,
        "model": run.values["model"],
        "corpora": "+".join(run.values["corpus"]),
        "reported_accuracy": system.report.accuracy if is_reported else None,
        "reported_f1": system.report.f1 if is_reported else None,
        "note": system.note,
    }


def write(found: Iterable[dict[str, Any]], path: Path) -> None:
    """Writes rows as CSV, numbers to four digits, so that a diff shows what is another number."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows({column: _text(row.get(column)) for column in COLUMNS} for row in found)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def gather() -> list[dict[str, str]]:
    """Returns the rows of every system that has some, by system and in the order of its file, as text.

    Raises:
        InputError: there is none yet, or they have other columns.
    """
    found = [row for name in overlay.names() for row in read(ROWS / f"{name}.csv")]
    if not found:
        raise InputError(
            f"{ROWS}: no system has been run. Run `python -m benchmark.system {overlay.names()[0]}`."
        )
    return found


def read(path: Path) -> list[dict[str, str]]:
    """Returns the rows that `write` wrote, as text; none where there is no such file.

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
            f"{path}: has other columns than this version writes. Run the system again "
            "where its corpora are, or delete the file."
        )
    return found
