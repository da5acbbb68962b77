"""The files of a trained fold, and the record that train keeps of it and of what it was made from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stages.base.errors import InputError
from stages.base.params import Normalize
from stages.data import keys, tables
from stages.data.vocabulary import LABEL
from stages.learning import calibration

RECORD = "fold.json"  # settings, classes, temperature and counts; train writes it last
TRAINED_ON = "trained_on.parquet"  # the recordings that trained or validated the weights


class Record(BaseModel):
    """What evaluate and predict need of a fold's record."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

    model: str
    fold: Annotated[int, Field(ge=0)]
    seed: Annotated[int, Field(ge=0)]
    classes: Annotated[list[Annotated[str, Field(pattern=LABEL)]], Field(min_length=1)]
    temperature: Annotated[float, Field(gt=0)]
    normalize: Normalize
    made_with: dict[str, Any]  # settings, by key of params.yaml
    made_by: dict[str, str]  # SHA-256 of the code, by file; versions of libraries, by name
    made_from: dict[str, str]  # SHA-256 of the data, by file
    sha256: dict[str, str]  # of the fold's own files


def folder_name(fold: int, another_seed: int | None = None) -> str:
    """Returns the name of a fold's folder in data/model, of its training with the first seed or another one.

    >>> folder_name(0), folder_name(0, 21)
    ('fold_00', 'fold_00_seed_21')
    """
    return f"fold_{fold:02d}" + ("" if another_seed is None else f"_seed_{another_seed}")


def read_record(path: Path) -> dict[str, Any]:
    """Returns the record of a fold.

    Raises:
        InputError: the file is missing or was not written by train.
    """
    record = tables.read_scalars(path)
    try:
        Record.model_validate(record)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"]))
        raise InputError(
            f"{path}: not a record written by train ({key}: {fault['msg']}). Run `dvc repro train`."
        ) from error
    return record


def read_classes(folder: Path) -> list[str]:
    """Returns the classes of the weights in `folder`; none where they were not trained on emotions.

    Raises:
        InputError: the record is missing or has no list of classes.
    """
    path = folder / RECORD
    try:
        return [str(name) for name in json.loads(path.read_text())["classes"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: no list of classes ({error!r}). Copy the whole fold there.") from error


def check_files(folder: Path, names: Iterable[str]) -> None:
    """Checks that files of weights are those that their record lists, so that they belong to one training.

    What the record does not list is not checked: published weights may have no checksums.

    Raises:
        InputError: a file is missing or another one, or the record is damaged.
    """
    path = folder / RECORD
    if not path.is_file():
        return  # reported by `read_classes`, after what else is missing
    try:
        sums = dict(json.loads(path.read_bytes()).get("sha256", {}))
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a record ({error!r}). Copy the whole fold there.") from error
    for file in (folder / name for name in names if name in sums):
        if not file.is_file() or keys.sha256(file) != sums[file.name]:
            raise InputError(f"{file}: missing, or not the one that {path} lists. Copy the whole fold there.")


def summary(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the records as scalars: counts, and means over folds and seeds."""
    scalars: dict[str, Any] = {
        f"n_{name}s": len({record[name] for record in records}) for name in ("fold", "seed")
    }
    first = records[0]
    facts = ("n_parameters", "threads", "precision", "statistics", "validated_on")
    scalars |= {name: first[name] for name in facts if name in first}
    for name in ("n_train", "n_train_copies", "n_validation", "n_epochs", "val_uar", "temperature"):
        values = [record[name] for record in records if name in record]
        if values:
            scalars[name] = float(np.mean(values))
    scalars["n_folds_at_temperature_bound"] = len(
        {record["fold"] for record in records if calibration.at_bound(record["temperature"])}
    )
    return scalars
