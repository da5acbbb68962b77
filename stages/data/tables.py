"""The pipeline's tables: their columns, types and invariants, checked when written and when read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import psutil
import pyarrow.parquet as pq
from pandera.errors import SchemaErrors

from stages.base.errors import InputError, one_line
from stages.base.files import replacing
from stages.data.vocabulary import CHANNELS, LABEL, SEXES

N_ROWS = "n_rows"  # key of a table's attrs in its file
ROLES = ("train", "validation", "test")
LEFT_OUT = "out"  # the role of a clip that is not in a fold

CELL_BYTES = 50  # that a value of a table takes in memory: a number 8, a short text 50 and more

# What pyarrow and pandas raise for files that are damaged, not parquet, or have other columns or types.
UNREADABLE = (OSError, ValueError, TypeError, LookupError, NotImplementedError, AttributeError)

_schema = partial(pa.DataFrameSchema, strict=True, ordered=True)  # no other columns, and in this order

_text = partial(pa.Column, str)
_label = partial(pa.Column, str, pa.Check.str_matches(LABEL))


def _number(dtype: str, minimum: float | None = None, *, nullable: bool = False) -> pa.Column:
    checks = [pa.Check.ge(minimum)] if minimum is not None else []
    return pa.Column(dtype, checks, nullable=nullable)


# One row per audio file found. `problem` is empty for a usable recording, otherwise the reason why it is
# excluded. `clip` is unique among usable recordings. Values that neither name nor header gives are null.
MANIFEST = _schema(
    {
        "path": _text(unique=True),  # below data/raw, with forward slashes; starts with the corpus
        "corpus": _text(),
        "clip": _text(),  # "<corpus>/<canonical name>"
        "speaker": _text(nullable=True),  # "<corpus>/<speaker>"
        "sex": _text(pa.Check.isin(SEXES), nullable=True),
        "age": _number("Int64", 0, nullable=True),  # years
        "race": _text(nullable=True),
        "ethnicity": _text(nullable=True),
        "sentence": _text(nullable=True),  # "<corpus>/<sentence>": corpora share none by accident
        "emotion": _label(nullable=True),
        "intensity": _text(nullable=True),
        "repetition": _number("Int64", 1, nullable=True),
        "channel": _text(pa.Check.isin(CHANNELS), nullable=True),
        "language": _text(nullable=True),
        "session": _text(nullable=True),  # "<corpus>/<session>"
        "group": _text(nullable=True),  # "<corpus>/<group>", for the protocol `group`
        "partition": _text(nullable=True),  # the published role in each fold, as "train test train"
        "listeners": _text(nullable=True),  # audio-only majority vote, tied emotions joined by "+"
        "duration_s": _number("float64", 0, nullable=True),
        "sample_rate_hz": _number("Int64", 1, nullable=True),
        "n_channels": _number("Int64", 1, nullable=True),
        "peak_dbfs": _number("float64", nullable=True),  # null where all samples are equal, as the next
        "level_dbfs": _number("float64", nullable=True),  # RMS of the active frames
        "active_s": _number("float64", 0, nullable=True),  # total duration of the active frames
        "level_range_db": _number("float64", 0, nullable=True),  # 5th to 95th percentile of the levels
        "bandwidth_hz": _number("float64", 0, nullable=True),
        "n_bytes": _number("int64", 0),
        "sha256": _text(),  # of the file
        "audio_sha256": _text(nullable=True),  # of the decoded samples, independent of name and format
        "problem": _text(),
        "notices": _text(),  # what is unusual, joined by "; "
    },
    checks=pa.Check(
        lambda table: ~table["clip"].where(table["problem"] == "").dropna().duplicated().any(),
        name="clip is unique among rows without a problem",
    ),
)


def _roles_of_each_fold(roles: pd.Series) -> pd.Series:
    """Returns which values are the roles of a clip, in as many folds as most are.

    >>> _roles_of_each_fold(pd.Series(["train*2 test*1", "out*3", "train*2", "trial*3"])).tolist()
    [True, True, False, False]
    """
    each = rf"({'|'.join((*ROLES, LEFT_OUT))})\*[1-9]\d{{0,8}}"
    different = pd.Series(roles.unique(), dtype=str)
    valid = different[different.str.fullmatch(f"{each}( {each})*")]
    n_folds = roles.map({text: sum(map(int, re.findall(r"\d+", text))) for text in valid})
    return n_folds.isin(n_folds.mode().head(1))


# One row per clip. `roles`, in all folds, is written as `train*3 test*1`; see `data.splits`.
SPLITS = _schema(
    {
        "clip": _text(unique=True),
        "corpus": _text(),
        "speaker": _text(),
        "sex": _text(pa.Check.isin(SEXES), nullable=True),
        "sentence": _text(nullable=True),
        "label": _label(),
        "sha256": _text(),
        "audio_sha256": _text(),
        "roles": _text(pa.Check(_roles_of_each_fold, name="a role in each fold")),
    },
)

# One row per recording that a fold's weights were trained or validated on.
TRAINED_ON = _schema({"clip": _text(), "speaker": _text(), "audio_sha256": _text()}, unique=["clip"])


def _named_after_parent(table: pd.DataFrame) -> bool:
    """Returns whether every clip is its own parent or is named "<parent>#<copy>"."""
    return bool((table["clip"].str.replace(r"#\d+$", "", regex=True) == table["parent"]).all())


_OF_PARENT = pa.Check(_named_after_parent, name="a copy is named after its parent")

# One row per augmented copy. `drawn` holds the drawn parameters as JSON.
AUGMENTED = _schema(
    {
        "clip": _text(unique=True),  # "<parent>#<copy>"
        "parent": _text(),
        "copy": _number("int64", 1),
        "shard": _text(),  # file name below data/augmented
        "duration_s": _number("float64", 0),
        "drawn": _text(),
    },
    checks=_OF_PARENT,
)

# One row per clip or augmented copy whose features are stored.
FEATURES = _schema(
    {
        "clip": _text(unique=True),
        "parent": _text(),  # the clip itself, or the clip that an augmented copy was made from
        "speaker": _text(),
        "shard": _text(),  # file name below data/features
        "n_frames": _number("int64", 1),
    },
    checks=_OF_PARENT,
)


def most_probable(table: pd.DataFrame) -> pd.Series:
    """Returns the class of each row's highest probability, the first one of equals.

    >>> most_probable(pd.DataFrame({"p_anger": [0.6, 0.5], "p_fear": [0.4, 0.5]})).tolist()
    ['anger', 'anger']
    """
    probabilities = table.filter(regex="^p_")
    return probabilities.rename(columns=lambda name: name.removeprefix("p_")).idxmax(axis="columns")


# One row per clip and fold that evaluate assesses. What they were made from is in the table's `attrs`.
PREDICTIONS = _schema(
    {
        "fold": _number("int64", 0),
        "seed": _number("int64", 0),  # of the training
        "role": _text(pa.Check.isin(ROLES)),
        "clip": _text(),
        "corpus": _text(),
        "speaker": _text(),
        "sex": _text(pa.Check.isin(SEXES), nullable=True),
        "sentence": _text(nullable=True),
        "audio_sha256": _text(),  # two recordings may have the same name
        "label": _label(),
        "predicted": _label(),  # the class with the highest probability
        "^p_.+$": pa.Column("float64", pa.Check.in_range(0, 1), regex=True),
    },
    unique=["fold", "seed", "clip"],
    checks=[
        pa.Check(
            lambda table: np.isclose(table.filter(regex="^p_").sum(axis="columns"), 1, atol=1e-4).all(),
            name="the probabilities of a row sum to 1",
        ),
        pa.Check(
            lambda table: set("p_" + table["label"]) <= set(table.columns),
            name="every label has a probability",
        ),
        pa.Check(
            lambda table: (table["predicted"] == most_probable(table)).all(),
            name="the predicted class has the highest probability",
        ),
    ],
)


def build(rows: Iterable[tuple], schema: pa.DataFrameSchema) -> pd.DataFrame:
    """Returns a table of `rows` with the schema's columns and types, even if there are no rows."""
    return typed(pd.DataFrame(rows, columns=list(schema.columns)), schema)


def typed(table: pd.DataFrame, schema: pa.DataFrameSchema) -> pd.DataFrame:
    """Returns `table` with the schema's column types, even for columns that are all null."""
    return table.astype({name: str(column.dtype) for name, column in schema.columns.items()})


def write(table: pd.DataFrame, schema: pa.DataFrameSchema, path: Path) -> None:
    """Writes `table` as parquet, completely or not at all.

    Raises:
        InputError: the table violates its schema.
    """
    checked = _check(table, schema, path)
    checked.attrs = table.attrs | {N_ROWS: len(table)}  # the file's own count of its rows has no checksum
    with replacing(path) as temporary:
        # Checksums detect damage. There are no statistics, which if damaged could hide rows from `where`.
        checked.to_parquet(
            temporary, index=False, compression="zstd", write_page_checksum=True, write_statistics=False
        )


def read(
    path: Path,
    schema: pa.DataFrameSchema,
    columns: list[str] | None = None,
    where: list[tuple[str, str, Any]] | None = None,
    filesystem: Any = None,
) -> pd.DataFrame:
    """Returns the table at `path`, or only its `columns`, or only the rows that `where` selects.

    Args:
        where: pyarrow filters such as `("role", "in", ["train"])`; other rows are never read.
        filesystem: an fsspec file system that contains `path`; by default, the local one.

    Raises:
        InputError: the file is missing, damaged or not parquet, or violates its schema.
        MemoryError: it needs more memory than is free.
    """
    try:
        n_stored = _n_rows(path, columns, filesystem)
        table = pd.read_parquet(
            path, columns=columns, filters=where, filesystem=filesystem, page_checksum_verification=True
        )
    except FileNotFoundError as error:
        raise InputError(f"{path}: missing. Run `dvc repro` to create it.") from error
    except UNREADABLE as error:
        raise InputError(
            f"{path}: not a readable parquet table of this version ({one_line(error)}). "
            "Run `dvc repro` to create it again."
        ) from error
    n_rows = table.attrs.pop(N_ROWS, None)
    n_read = len(table) if where is None else n_stored
    if n_rows is not None and n_read != n_rows:
        raise InputError(
            f"{path}: has {n_read} rows of {n_rows} that were written. Run `dvc repro` to create it again."
        )
    if columns is not None:
        schema = schema.select_columns(columns)
        schema.checks, schema.unique = [], None
    try:
        return _check(table, schema, path)
    except InputError as error:
        raise InputError(
            f"{error} It was edited or written by another version: run `dvc repro` to create it again."
        ) from error


def _n_rows(path: Path, columns: list[str] | None, filesystem: Any) -> int:
    """Returns the number of rows by the file's header; raises MemoryError for more than memory can hold."""
    about = pq.read_metadata(str(path), filesystem=filesystem)
    needed = about.num_rows * (len(columns) if columns else about.num_columns) * CELL_BYTES
    free = psutil.virtual_memory().available
    if needed > free:
        raise MemoryError(
            f"{path} has {about.num_rows} rows, which need about {needed / 1e9:.1f} GB; "
            f"{free / 1e9:.1f} GB are free"
        )
    return int(about.num_rows)


def read_scalars(path: Path, keys: Iterable[str] = ()) -> dict[str, Any]:
    """Returns the JSON object at `path`, in which a stage recorded numbers and facts about its result.

    Args:
        keys: that the object must have.

    Raises:
        InputError: the file is missing or not a JSON object, or a key is missing.
    """
    try:
        scalars = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"{path}: missing. Run `dvc repro` to create it.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: not readable JSON ({error}). Run `dvc repro` to create it again."
        ) from error
    if not isinstance(scalars, dict):
        raise InputError(f"{path}: not a JSON object. Run `dvc repro` to create it again.")
    missing = [key for key in keys if key not in scalars]
    if missing:
        raise InputError(
            f"{path}: '{missing[0]}' is missing. The file was edited or written by another version: run "
            "`dvc repro` to create it again."
        )
    return scalars


def _check(table: pd.DataFrame, schema: pa.DataFrameSchema, path: Path) -> pd.DataFrame:
    try:
        return schema.validate(table, lazy=True)
    except SchemaErrors as error:
        fault = error.failure_cases.iloc[0]
        clip = table["clip"].get(fault["index"]) if "clip" in table else None
        place = f"column '{fault['column']}'" + (f" of {clip}" if clip else "")
        raise InputError(
            f"{path}: violates its schema in {len(error.failure_cases)} places, first in {place}: "
            f"{fault['check']}, value {fault['failure_case']!r}."
        ) from error
