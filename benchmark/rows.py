"""Rows of benchmark/results.csv: what a report tells of a system, and what was measured of it here."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark import overlay
from benchmark.overlay import Run, System
from stages.core.files import DATA, METRICS, replacing

ROWS = Path("benchmark/rows")  # one file a system, so that one that ran leaves the others alone
RESULTS = Path("benchmark/results.csv")
RAN = "run"

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


def absent(run: Run, system: System, lacks: Iterable[str]) -> dict[str, Any]:
    """Returns the row of a system that cannot be run here, without a number."""
    return {**told(run, system), "status": f"not run here: needs {' and '.join(lacks)}"}


def measured(run: Run, system: System, place: Path) -> dict[str, Any]:
    """Returns the row of a run whose metrics are in the workspace `place`."""
    test, train, split = (
        json.loads((place / METRICS / f"{name}.json").read_text()) for name in ("test", "train", "split")
    )
    timing = json.loads((place / DATA / "timing.json").read_text())
    n_folds, threads = train["n_folds"], run.values["train"]["threads"]
    return {
        **told(run, system),
        "status": RAN,
        **{name: value for name, value in test.items() if name in COLUMNS},
        "chance": test["chance_uar"],
        "majority": max(split["test"]["share"].values()),
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
    text = [{column: _text(row.get(column)) for column in COLUMNS} for row in found]
    with replacing(path) as temporary:
        pd.DataFrame(text, columns=COLUMNS).to_csv(temporary, index=False)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def read(path: Path) -> pd.DataFrame:
    """Returns the rows that `write` wrote; a number that is not there is NaN, a text ""."""
    rows = pd.read_csv(path)
    texts = ["status", "note", "corpora", "variant", "role", "protocol", "model", "system"]
    return rows.fillna(dict.fromkeys(texts, ""))


def collect() -> pd.DataFrame:
    """Returns the rows of every system that has been run, by system and in the order of its file."""
    paths = [ROWS / f"{name}.csv" for name in overlay.names()]
    return pd.concat([read(path) for path in paths if path.is_file()], ignore_index=True)
