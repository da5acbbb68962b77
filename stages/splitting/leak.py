"""The leakage check: rules on training and test data that no setting disables.

`broken` returns the rows that break a rule on a column. `check` applies a protocol's rules to all folds,
`check_training` those on augmented copies and `check_pretrained` those on pretrained weights to one fold.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from stages.base.errors import InputError, first_of
from stages.data.splits import Splits

LEAKY = frozenset({"random"})  # exempt from the rule on speakers; their results say `leaky: true`
FEWEST_TO_SEPARATE = 3  # speakers or sentences: one each for training, validation and test
N_NAMED = 3  # clips that an error names before it counts the rest

RULES = {  # by the column that each looks at
    "sha256": "one file in one role",
    "audio_sha256": "one recording in one role",
    "speaker": "one speaker in one role",
    "sentence": "one sentence in one role",
    "corpus": "no test corpus outside test",
}


class LeakError(InputError):
    """A model would be tested on data that it was trained on."""


def leaky(protocol: str) -> bool:
    """Returns whether the protocol allows test speakers in training, which reports then state.

    >>> leaky("random"), leaky("speaker_independent")
    (True, False)
    """
    return protocol in LEAKY


def rules(protocol: str) -> list[str]:
    """Returns the columns of the protocol's rules.

    >>> rules("random")
    ['sha256', 'audio_sha256']
    """
    columns = ["sha256", "audio_sha256"]
    if protocol not in LEAKY:
        columns.append("speaker")
    if protocol == "speaker_and_text_independent":
        columns.append("sentence")
    if protocol == "cross_corpus":
        columns.append("corpus")
    return columns


def broken(rows: pd.DataFrame, column: str, few: bool) -> pd.DataFrame:
    """Returns the rows that break the rule on a column: their value has two roles in one fold.

    Of corpora, and of speakers or sentences if all folds together have only a `few`, less than
    FEWEST_TO_SEPARATE, train and validation may share one; test never shares.

    >>> rows = pd.DataFrame({"fold": 0, "role": ["train", "validation", "test", "test"]})
    >>> broken(rows.assign(speaker=["a", "b", "c", "a"]), "speaker", few=False)["role"].tolist()
    ['train', 'test']
    """
    role = rows["role"]
    shared = column == "corpus" or (few and column in ("speaker", "sentence"))
    return straddling(rows, column, role.eq("test") if shared else role)


def check(splits: Splits, protocol: str) -> None:
    """Checks every fold against the protocol's rules.

    Args:
        splits: of all clips.
        protocol: a name of `splitting.protocols`.

    Raises:
        LeakError: names the rule, the first fold that breaks it, its first clips that do and how many more.
    """
    for column in rules(protocol):
        few = splits.clips[column].nunique() < FEWEST_TO_SEPARATE
        for rows in (broken(fold, column, few) for fold in _differing(splits, column)):
            if rows.empty:
                continue
            (fold, value), shared = next(iter(rows.groupby(["fold", column])))
            roles = " and ".join(
                f"{role} ({first_of(clips, N_NAMED)})" for role, clips in shared.groupby("role")["clip"]
            )
            raise LeakError(
                f"params.split.protocol {protocol}, fold {fold}: the {column} '{value}' is in {roles}. "
                f"{len(rows)} rows break the rule '{RULES[column]}'."
            )


def trains_and_validates(splits: Splits, column: str) -> bool:
    """Returns whether a fold trains and validates on the same value of `column`."""
    seen = (fold[fold["role"] != "test"] for fold in _differing(splits, column))
    return any(len(straddling(fold, column, fold["role"])) for fold in seen)


def check_training(rows: pd.DataFrame) -> None:
    """Checks the augmented copies of one fold.

    Args:
        rows: columns clip, parent and role; a copy is a row whose clip is not its own parent.

    Raises:
        LeakError: a copy or its parent is not in train; names the first ones and how many more there are.
    """
    copy, train = rows["clip"] != rows["parent"], rows["role"] == "train"
    parents = rows.loc[train & ~copy, "clip"]
    for rule, broken in {
        "augmented copies are for training only": rows[copy & ~train],
        "a copy needs its parent in train": rows[copy & ~rows["parent"].isin(parents)],
    }.items():
        if len(broken):
            raise LeakError(
                f"train: {first_of(broken['clip'], N_NAMED)} in "
                f"{', '.join(sorted(broken['role'].unique()))} "
                f"break the rule '{rule}'."
            )


def check_pretrained(before: pd.DataFrame, test: pd.DataFrame, own: pd.DataFrame, source: Path) -> None:
    """Checks that pretrained weights were not trained on what a fold tests.

    If the fold itself trains on its test speakers (`random`), the weights may have been trained on them too,
    but never on a test recording.

    Args:
        before: what the weights were trained on, of schema TRAINED_ON.
        test: what the fold tests, of the same schema.
        own: what the fold trains and validates on, of the same schema.
        source: the file that `before` was read from, for the error.

    Raises:
        LeakError: names the rule, the first clips that break it and how many more do.
    """
    shares_speakers = bool(own["speaker"].isin(test["speaker"]).any())
    for kind, rows in _trained_on(before, test, shares_speakers).items():
        raise LeakError(
            f"{source}: these weights were trained on {first_of(rows['clip'], N_NAMED)}, or on their "
            f"speakers, which this fold tests. {len(rows)} clips break the rule 'no pretraining on test "
            f"{kind}s'."
        )


def check_model(trained_on: pd.DataFrame, test: pd.DataFrame, protocol: str, source: Path) -> None:
    """Checks that a model was not trained on what it is about to be tested on.

    Args:
        trained_on: what the model was trained or validated on, of schema TRAINED_ON.
        test: the test clips of its fold, with the columns clip, speaker and audio_sha256.
        protocol: a name of `splitting.protocols`; a leaky one allows test speakers, never test recordings.
        source: the file that `trained_on` was read from, for the error.

    Raises:
        LeakError: names the rule, the first clips that break it and how many more do.
    """
    for kind, rows in _trained_on(trained_on, test, leaky(protocol)).items():
        raise LeakError(
            f"{source}: lists {len(rows)} test clips, or their speakers, as trained on: "
            f"{first_of(rows['clip'], N_NAMED)}. They break the rule 'no test {kind} in training'. "
            "Run `dvc repro train`."
        )


def _trained_on(before: pd.DataFrame, test: pd.DataFrame, shares_speakers: bool) -> dict[str, pd.DataFrame]:
    """Returns the test clips whose recording or, unless `shares_speakers`, whose speaker is in `before`."""
    broken = {"recording": test[test["audio_sha256"].isin(before["audio_sha256"])]}
    if not shares_speakers:
        broken["speaker"] = test[test["speaker"].isin(before["speaker"])]
    return {kind: rows for kind, rows in broken.items() if len(rows)}


def straddling(splits: pd.DataFrame, column: str, side: pd.Series) -> pd.DataFrame:
    """Returns the rows whose value of `column` is, within one fold, on more than one `side`."""
    n_sides = side.groupby([splits["fold"], splits[column]]).transform("nunique")
    return splits[n_sides > 1]


def _differing(splits: Splits, column: str) -> Splits:
    """Returns the clips whose value of `column` another clip has with other roles.

    All others have one role in each fold with whatever shares their value.
    """
    n_different = splits.clips.groupby(column)["roles"].transform("nunique")
    return Splits(splits.clips[n_different > 1])
