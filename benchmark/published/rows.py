"""Rows of benchmark/published/results.csv: what a report says of a system, and what was measured here."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmark.published import lost, overlay, workspace
from benchmark.published.overlay import Experiment, System
from stages.base.errors import InputError, one_line
from stages.base.files import DATA, METRICS, replacing
from stages.evaluation import metrics

ROWS = Path("benchmark/published/rows")  # one file per system, so running one leaves the others alone
RESULTS = Path("benchmark/published/results.csv")
RAN = "run"
NOT_YET = "not run yet"
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
    "accuracy_std",  # over seeds
    "uar_std",
    *(f"lost{end}" for end in ("", "_low", "_high")),  # accuracy with the report's split minus this one
    *(f"gain{end}" for end in ("", "_low", "_high")),  # this accuracy minus that of the variant `against`
    "auc",
    "chance",  # UAR of random guessing
    "majority",  # accuracy of the majority-class baseline
    "n_clips",
    "n_speakers",
    "n_train",
    "n_folds",
    "of_folds",
    "n_seeds",
    "n_parameters",
    "n_epochs",
    "train_seconds",
    "seconds_per_epoch",
    "threads",
    "leaky",
    "settings",  # fingerprint of all that were set for the variant
    "note",
]
TEXTS = {"system", "variant", "role", "protocol", "status", "model", "corpora", "settings", "note"}
NUMBERS = [column for column in COLUMNS if column not in TEXTS | {"leaky"}]
COUNTS = ["n_clips", "n_speakers", "n_train", "n_folds", "of_folds", "n_seeds"]  # of every row that was run


def last(experiment: Experiment, system: System, missing: Sequence[str]) -> dict[str, Any]:
    """Returns the row of an experiment before it is run.

    A row that was measured before, or was missing less, is kept, with what the system's file says now: a
    machine without recordings deletes no results. A row of another model or other corpora is dropped. After
    other changes of its settings, `settings` shows that the row is outdated.

    Raises:
        InputError: the last rows cannot be read.
    """
    now = description(experiment, system)
    for row in read(ROWS / f"{experiment.system}.csv"):
        is_same = all(row[key] == now[key] for key in ("variant", "protocol", "model", "corpora"))
        missing_before = row["status"].removeprefix(NEEDS).split(AND)
        is_known = row["status"] in (RAN, NOT_YET) or (missing and set(missing_before) <= set(missing))
        if is_same and is_known:
            return {**row, **now}
    return {**now, "status": f"{NEEDS}{AND.join(missing)}" if missing else NOT_YET}


def measured(
    pair: Sequence[Experiment], system: System, n_seeds: int, against: Sequence[Experiment] = ()
) -> list[dict[str, Any]]:
    """Returns the rows of a variant, with the report's split and with new speakers, of its first seeds.

    The second also has the points that are lost between them; and both those that are gained over the same
    rows of the variant `against`, if there is one.
    """
    values = pair[0].values
    drawn = values["evaluate"]["n_resamples"], values["seed"]
    settings = overlay.settings([*pair, *against])
    rows = [row(each, system, places(each, n_seeds)) | {"settings": settings} for each in pair]
    tested = [lost.predictions(places(each, n_seeds)) for each in (*pair, *against)]
    rows[1] |= lost.points("lost", tested[0], tested[1], *drawn)
    for own, first, second in zip(rows, tested, tested[2:], strict=False):
        place = f"{own['system']}, {own['variant']}-{own['protocol']}"
        lost.check_same_clips(first, second, place)
        own |= lost.points("gain", first, second, *drawn)
    return rows


def places(experiment: Experiment, n_seeds: int) -> list[Path]:
    """Returns the workspaces of an experiment's first runs."""
    return [workspace.folder(experiment.run(number, None)) for number in range(n_seeds)]


def row(experiment: Experiment, system: System, places: Sequence[Path]) -> dict[str, Any]:
    """Returns the row of an experiment whose metrics are in workspaces, one for each seed."""
    predictions = lost.predictions(places)
    values = experiment.values
    test, train, split, timing = (
        [content(place, path) for place in places]
        for path in (
            METRICS / "test.json",
            METRICS / "train.json",
            METRICS / "split.json",
            DATA / "timing.json",
        )
    )
    folds = [fold for seed in timing for fold in seed.values()]
    has_epochs = bool(train[0].get("n_epochs"))
    over_seeds = metrics.over(predictions, "seed", values["split"]["protocol"])
    return {
        **description(experiment, system),
        "status": RAN,
        **metrics.scores(predictions),
        **metrics.intervals(predictions, values["evaluate"]["n_resamples"], values["seed"]),
        "accuracy_std": over_seeds.get("accuracy_std"),
        "uar_std": over_seeds.get("uar_std"),
        "chance": test[0]["chance_uar"],
        "majority": float(predictions["label"].value_counts(normalize=True).max()),
        "n_clips": round(len(predictions) / len(places)),
        "n_speakers": predictions["speaker"].nunique(),
        "n_train": round(fmean(each["n_train"] for each in train)),
        "n_folds": train[0]["n_folds"],
        "of_folds": split[0]["n_folds"],
        "n_seeds": len(places),
        "n_parameters": train[0]["n_parameters"],
        "n_epochs": fmean(each["n_epochs"] for each in train) if has_epochs else None,
        # of one fold, as a report gives the time of one training
        "train_seconds": fmean(each["seconds"] for each in folds),
        "seconds_per_epoch": fmean(each["seconds_per_epoch"] for each in folds) if has_epochs else None,
        "threads": values["train"]["threads"],
        "leaky": test[0]["leaky"],
    }


def expected_seconds(run: Experiment, found: Mapping[str, Mapping[str, Any]]) -> float:
    """Returns the seconds that the trainings of a run will take, by the system's rows `found`; 0 without any.

    They are those that the row took before. A row that has never run takes as long for each clip of its
    corpora as the system's others do with the same split.

    Args:
        found: rows, by name.

    >>> ran = {"status": RAN, "train_seconds": "30", "n_folds": "6", "n_clips": "1439"}
    >>> values = {"corpus": ["crema_d"], "split": {"channels": ["speech"]}}
    >>> own, new = (Experiment("A", each, "speaker_independent", values) for each in ("ravdess", "crema_d"))
    >>> found = {own.name: ran, new.name: {"status": NOT_YET}}
    >>> expected_seconds(own, found), round(expected_seconds(new, found))
    (180.0, 931)
    """
    own = found.get(run.name, {})
    if own.get("status") == RAN:
        return seconds(own)
    others = [
        seconds(row) / float(found[f"{variant}-speaker_independent"]["n_clips"])
        for name, row in found.items()
        for variant, _, protocol in [name.rpartition("-")]
        if row["status"] == RAN and protocol == run.protocol
    ]
    return run.n_clips * fmean(others) if others else 0.0


def seconds(row: Mapping[str, Any]) -> float:
    """Returns the duration of a row's trainings of one seed."""
    return float(row["train_seconds"]) * float(row["n_folds"])


def content(place: Path, path: Path) -> dict[str, Any]:
    """Returns a JSON file of a workspace.

    Raises:
        InputError: it is missing.
    """
    try:
        found: dict[str, Any] = json.loads((place / path).read_text())
    except FileNotFoundError as error:
        raise InputError(f"{error.filename}: missing. Delete {place} and run the same again.") from error
    return found


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
        "note": system.note_of(experiment.variant),
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
        InputError: there are none yet; a file cannot be read, lacks a row or has one too many.
    """
    found = []
    for name in overlay.names():
        if own := read(ROWS / f"{name}.csv"):
            check_known(own, name)
            check_complete(own, name)
            found += own
    if not found:
        raise InputError(
            f"{ROWS}: no rows yet. Run `python -m benchmark.published.system {overlay.names()[0]}`."
        )
    return found


def check_known(found: Iterable[Mapping[str, str]], name: str) -> None:
    """Raises InputError if a system's file has no variant and protocol of one of its rows."""
    system = overlay.load(name)
    for row in found:
        is_known = row["variant"] in system.variants and row["protocol"] in system.protocols
        if row["system"] != name or not is_known:
            raise InputError(
                f"{ROWS / name}.csv: {place(row)} is not in {overlay.SYSTEMS / name}.yaml. Correct or delete "
                "its line."
            )


def check_complete(found: Iterable[Mapping[str, str]], name: str) -> None:
    """Raises InputError if a system's rows lack one of its variants and protocols."""
    system = overlay.load(name)
    there = {(row["variant"], row["protocol"]) for row in found}
    for variant, protocol in itertools.product(system.variants, system.protocols):
        if (variant, protocol) not in there:
            raise InputError(
                f"{ROWS / name}.csv: has no row {variant}-{protocol}. `python -m benchmark.published.system "
                f"{name}` adds it."
            )


def read(path: Path) -> list[dict[str, str]]:
    """Returns the rows that `write` wrote, as text; an empty list if there is no such file.

    Raises:
        InputError: it has other columns, or a line is damaged or there twice.
    """
    if not path.is_file():
        return []
    way_out = "Restore it with Git, or delete it and run the system again on a machine with its corpora."
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file)
            found = list(table)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a table ({one_line(error)}). {way_out}") from error
    if table.fieldnames != COLUMNS:
        raise InputError(f"{path}: its columns are not those that this version writes. {way_out}")
    seen = set()
    for row in found:
        if None in row or None in row.values():
            raise InputError(f"{path}: {place(row)}: its line has not {len(COLUMNS)} values. {way_out}")
        if wrong := next((column for column in COLUMNS if not is_valid(row, column)), None):
            raise InputError(f"{path}: {place(row)}: {wrong} is {row[wrong]!r}. {way_out}")
        if place(row) in seen:
            raise InputError(f"{path}: {place(row)} is there twice. {way_out}")
        seen.add(place(row))
    return found


def place(row: Mapping[str, str]) -> str:
    """Returns where a row belongs, for messages: `B1_svm ravdess-as_reported`."""
    return f"{row['system']} {row['variant']}-{row['protocol']}"


def is_valid(row: Mapping[str, str], column: str) -> bool:
    """Returns whether a row's text in a column can be one that `write` wrote.

    >>> [is_valid({"status": "run", "accuracy": text}, "accuracy") for text in ("0.5", "half", "")]
    [True, False, False]
    """
    text, status = row[column], row["status"]
    if column == "status":
        return status in (RAN, NOT_YET) or status.startswith(NEEDS)
    if column == "leaky":
        return text in ("True", "False", "")
    if column not in NUMBERS:
        return True
    if not text:
        return not (status == RAN and column in ("accuracy", *COUNTS))
    try:
        return isfinite(float(text)) and (column not in COUNTS or text.isdecimal())
    except ValueError:
        return False
