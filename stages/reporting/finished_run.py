"""What a finished run left in data/ and metrics/."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from stages.base.errors import InputError, one_line
from stages.base.files import CORPORA, MANIFEST, METRICS, MODEL, PREDICTIONS, SPLITS
from stages.base.params import Params
from stages.data import keys, tables
from stages.data.splits import Splits
from stages.evaluation import metrics
from stages.learning import live, record, trained_fold

# The keys of metrics/*.json that the report shows.
KEYS = {
    "split": ("sha256", "n_folds", "validation_shares_sentences", "validation_shares_speakers"),
    "train": ("sha256", "n_parameters", "n_train", "n_train_copies", "temperature"),
    "test": (
        *("uar", "accuracy", "macro_f1", "chance_uar", "ece", "recall", "worst_speaker"),
        *("corpus", "sex", "fold", "n_clips", "n_folds", "n_speakers"),
        *("leaky", "statistics"),
    ),
}
# The columns of metrics/history.csv.
HISTORY = {
    **dict.fromkeys(("fold", "seed", "epoch"), "int64"),
    **dict.fromkeys(("loss", "val_loss", "val_uar", "learning_rate"), "float64"),
    live.FINISHED: "int64",
}
# The columns of metrics/enrolment.csv.
ENROLMENT = {"clips": "int64"} | dict.fromkeys(("uar", "uar_low", "uar_high"), "float64")


@dataclass(frozen=True)
class FinishedRun:
    """The parameters, tables and metrics of a run.

    Attributes:
        corpora: title, licence and more of each chosen corpus, as in data/corpora.json.
        manifest: of the chosen corpora.
        history: a row per fold, seed and epoch; empty if the model is not trained in epochs.
        enrolment: a row per number of enrolled clips; empty without `normalize: enrol`.
        split, train, test: metrics/<name>.json.
    """

    params: Params
    corpora: dict[str, dict[str, Any]]
    manifest: pd.DataFrame
    splits: Splits
    predictions: pd.DataFrame
    history: pd.DataFrame
    enrolment: pd.DataFrame
    split: dict[str, Any]
    train: dict[str, Any]
    test: dict[str, Any]

    @property
    def clips(self) -> pd.DataFrame:
        """The usable recordings."""
        return self.manifest[self.manifest["problem"] == ""]


def read(params: Params) -> FinishedRun:
    """Returns the finished run of these parameters.

    Raises:
        InputError: a file is missing or damaged, or belongs to another run.
    """
    manifest = tables.read(MANIFEST, tables.MANIFEST)
    run = FinishedRun(
        params=params,
        corpora=tables.read_scalars(CORPORA, params.corpus),
        manifest=manifest[manifest["corpus"].isin(params.corpus)],
        splits=Splits.read(),
        predictions=tables.read(PREDICTIONS, tables.PREDICTIONS),
        history=read_table(live.HISTORY, HISTORY, "train"),
        enrolment=read_table(METRICS / "enrolment.csv", ENROLMENT, "evaluate"),
        **{name: tables.read_scalars(METRICS / f"{name}.json", keys) for name, keys in KEYS.items()},
    )
    check_belongs(run)
    return run


def check_belongs(run: FinishedRun) -> None:
    """Checks that the run's files were made from one another, and with its parameters.

    Raises:
        InputError: names the file that belongs to another run, or whose UAR differs from the predictions'.
    """
    records = trained_fold.read_records(run.params)
    trained_fold.check_tested(records, run.params, run.splits)
    trained_fold.check_predictions(run.predictions, records, run.params)
    uar = metrics.stated_headline(run.predictions, run.params.split.protocol)["uar"]
    if not math.isclose(uar, run.test["uar"], abs_tol=1e-9):
        raise InputError(
            f"{PREDICTIONS}: its UAR is {uar:.6g}, but {METRICS / 'test.json'} has {run.test['uar']:.6g}. "
            "One of them was edited. Run `dvc repro evaluate`."
        )
    summary = record.summary([*records.values()])
    for path, belongs, stage in (
        (METRICS / "split.json", run.split["sha256"] == _sums(SPLITS), "split"),
        (METRICS / "train.json", {**run.train, "sha256": {}} == {**summary, "sha256": {}}, "train"),
        (live.HISTORY, run.train["sha256"] == _sums(live.HISTORY), "train"),
    ):
        if not belongs:
            raise InputError(
                f"{path}: belongs to another run than {SPLITS} and {MODEL}. Run `dvc repro {stage}`."
            )


def _sums(path: Path) -> dict[str, str]:
    return {path.as_posix(): keys.sha256(path)}


def read_table(path: Path, columns: dict[str, str], stage: str) -> pd.DataFrame:
    """Returns the csv file that a stage wrote; `columns`: the type of each, by name.

    Raises:
        InputError: the file is missing or damaged, for example by merge conflict markers.
    """
    try:
        return pd.read_csv(path, usecols=list(columns), dtype=columns)
    except FileNotFoundError as error:
        raise InputError(f"{path}: missing. Run `dvc repro {stage}`.") from error
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: not the table that {stage} wrote ({one_line(error)}). Run `dvc repro {stage}`."
        ) from error
