"""The leak gate: rules that no configuration can switch off.

Each rule is a function that returns the rows breaking it, none where all is well. `check` holds a whole
split against the rules of its protocol, `check_training` one fold's recordings and augmented copies.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from stages.base.errors import InputError

EXCUSED = frozenset({"random"})  # from the rule on speakers; their results say `leaky: true`
FEWEST_TO_SEPARATE = 3  # speakers or sentences: one each to train, validate and test
N_NAMED = 3  # clips an error names before it counts the rest

Rule = Callable[[pd.DataFrame], pd.DataFrame]


class LeakError(InputError):
    """A clip would be judged by a model that has heard what it must not."""


def leaky(protocol: str) -> bool:
    """Returns whether test speakers may be heard in training, so that the score says so beside it."""
    return protocol in EXCUSED


def shared_speakers(splits: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows whose speaker has two roles in one fold.

    Where there are only two speakers, train and validation may share theirs; test never shares.
    """
    return _in_two_roles(splits, "speaker")


def shared_sentences(splits: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows whose sentence has two roles in one fold.

    Where there are only two sentences, train and validation may share theirs; test never shares.
    """
    return _in_two_roles(splits, "sentence")


def shared_corpora(splits: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows whose corpus is in test and in another role of one fold."""
    return straddling(splits, "corpus", splits["role"] == "test")


def shared_files(splits: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows whose file, byte for byte, has two roles in one fold."""
    return straddling(splits, "sha256", splits["role"])


def shared_audio(splits: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows whose sound, sample for sample, has two roles in one fold."""
    return straddling(splits, "audio_sha256", splits["role"])


def rules(protocol: str) -> dict[str, tuple[str, Rule]]:
    """Returns the protocol's rules: what a rule says, the column it looks at, and its function."""
    chosen: dict[str, tuple[str, Rule]] = {
        "one file in one role": ("sha256", shared_files),
        "one recording in one role": ("audio_sha256", shared_audio),
    }
    if protocol not in EXCUSED:
        chosen["one speaker in one role"] = ("speaker", shared_speakers)
    if protocol == "speaker_and_text_independent":
        chosen["one sentence in one role"] = ("sentence", shared_sentences)
    if protocol == "cross_corpus":
        chosen["no test corpus outside test"] = ("corpus", shared_corpora)
    return chosen


def check(splits: pd.DataFrame, protocol: str) -> None:
    """Holds every fold against the protocol's rules.

    Args:
        splits: a table of schema SPLITS.
        protocol: a name of `core.protocols`.

    Raises:
        LeakError: names the rule, the fold, the first clips that break it and how many more do.
    """
    for rule, (column, broken_by) in rules(protocol).items():
        rows = broken_by(splits)
        if len(rows):
            (fold, value), shared = next(iter(rows.groupby(["fold", column])))
            roles = " and ".join(
                f"{role} ({_named(clips)})" for role, clips in shared.groupby("role")["clip"]
            )
            raise LeakError(
                f"params.split.protocol {protocol}, fold {fold}: the {column} '{value}' is in {roles}. "
                f"{len(rows)} rows break the rule '{rule}'."
            )


def copies_outside_train(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the augmented copies that would validate or test."""
    return rows[(rows["clip"] != rows["parent"]) & (rows["role"] != "train")]


def copies_of_strangers(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the augmented copies whose parent does not train."""
    originals = rows[(rows["clip"] == rows["parent"]) & (rows["role"] == "train")]
    return rows[(rows["clip"] != rows["parent"]) & ~rows["parent"].isin(originals["clip"])]


def check_training(rows: pd.DataFrame) -> None:
    """Holds the augmented copies of one fold against their rules.

    Args:
        rows: columns clip, parent and role; a copy is a row whose clip is not its own parent.

    Raises:
        LeakError: a copy is outside train, or its parent is; names the first and how many more.
    """
    for rule, broken in {
        "augmented copies are for training only": copies_outside_train(rows),
        "a copy trains only beside its parent": copies_of_strangers(rows),
    }.items():
        if len(broken):
            raise LeakError(
                f"train: {_named(broken['clip'])} in {', '.join(sorted(broken['role'].unique()))} "
                f"break the rule '{rule}'."
            )


def check_pretrained(before: pd.DataFrame, test: pd.DataFrame, own: pd.DataFrame, source: Path) -> None:
    """Holds weights that a fold starts from against whom it tests.

    Where the fold itself trains on its test speakers (`random`, which says so) the weights may have heard
    them too, though never a recording that is tested.

    Args:
        before: what the weights have heard, of schema HEARD.
        test: what the fold tests, likewise.
        own: what the fold trains and validates on, likewise.
        source: where `before` was read, for the error.

    Raises:
        LeakError: names the rule, the first clips that break it and how many more do.
    """
    broken = {"no tested recording": test[test["audio_sha256"].isin(before["audio_sha256"])]}
    if not own["speaker"].isin(test["speaker"]).any():
        broken["no test speaker"] = test[test["speaker"].isin(before["speaker"])]
    for rule, rows in broken.items():
        if len(rows):
            raise LeakError(
                f"{source}: these weights have heard {_named(rows['clip'])} or their speakers, who test. "
                f"{len(rows)} clips break the rule 'weights to start from have heard {rule}'."
            )


def straddling(splits: pd.DataFrame, column: str, side: pd.Series) -> pd.DataFrame:
    """Returns the rows whose `column` is, within one fold, on more than one `side`."""
    n_sides = side.groupby([splits["fold"], splits[column]]).transform("nunique")
    return splits[n_sides > 1]


def _in_two_roles(splits: pd.DataFrame, column: str) -> pd.DataFrame:
    """Returns the rows whose value straddles roles; with two values in all, only test stands apart."""
    if splits[column].nunique() < FEWEST_TO_SEPARATE:
        return straddling(splits, column, splits["role"] == "test")
    return straddling(splits, column, splits["role"])


def _named(clips: pd.Series) -> str:
    """Returns the first names, and how many more there are."""
    names = ", ".join(clips.iloc[:N_NAMED])
    more = len(clips) - N_NAMED
    return f"{names} and {more} more" if more > 0 else names
