"""Which clips are used, and under which label."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from stages.base.errors import InputError, shown, unknown
from stages.base.files import MANIFEST
from stages.base.params import Params, Split
from stages.data.vocabulary import CHANNELS, EMOTIONS, UNKNOWN
from stages.splitting import leak

logger = logging.getLogger(__name__)


def usable_clips(
    manifest: pd.DataFrame, chosen: Params, source: Path | None = MANIFEST
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Returns the usable clips with their `label`, and the number of clips excluded for each reason.

    Clips of unknown speakers are excluded where the protocol needs speakers.

    Args:
        source: the file that the manifest was read from, for errors; None if it was not read.

    Raises:
        InputError: no clip of a chosen corpus is left, or the protocol needs speakers and none is known.
    """
    clips = manifest[manifest["corpus"].isin(chosen.corpus)]
    check_names(chosen.split, clips["emotion"].dropna())
    n_excluded = {}
    for reason, usable in _usable(clips, chosen.split).items():
        kept = clips[usable[clips.index]]
        n_excluded[reason] = len(clips) - len(kept)
        clips = kept
    for corpus in chosen.corpus:
        if corpus not in set(clips["corpus"]):
            raise _none_left(manifest[manifest["corpus"] == corpus], corpus, chosen.split, source)
    unknown_speakers = clips["speaker"].str.endswith(f"/{UNKNOWN}").astype(bool)
    if unknown_speakers.any() and not leak.leaky(chosen.split.protocol):
        first = clips.loc[unknown_speakers, "clip"].iloc[0]
        left_out = f"the speakers of {unknown_speakers.sum()} clips are {UNKNOWN}, the first is {first}"
        if unknown_speakers.all():
            raise InputError(
                f"params.split.protocol {chosen.split.protocol}: needs the speakers, but {left_out}. "
                "Only protocol `random` works without, and its results say `leaky: true`."
            )
        logger.warning("%s: they are left out, because params.split.protocol needs the speakers", left_out)
        n_excluded["speaker"] = int(unknown_speakers.sum())
        clips = clips[~unknown_speakers]
    return clips.assign(label=clips["emotion"].replace(dict(chosen.split.labels.merge))), n_excluded


def _usable(clips: pd.DataFrame, split: Split) -> dict[str, pd.Series]:
    """Returns which clips each reason for excluding clips leaves, in the order in which they are counted."""
    return {
        "problem": clips["problem"] == "",
        "channel": clips["channel"].isin(split.channels),
        "label": ~clips["emotion"].isin(split.labels.drop),
    }


def _none_left(clips: pd.DataFrame, corpus: str, split: Split, source: Path | None) -> InputError:
    """Returns the error for a corpus without a usable clip: it names what excludes them, and no more.

    Args:
        clips: of the corpus, all of them.
    """
    names = {"channel": "params.split.channels", "label": "params.split.labels.drop"}
    excluded, left = [], clips
    for reason, usable in _usable(clips, split).items():
        kept = left[usable[left.index]]
        n_clips, left = len(left) - len(kept), kept
        if n_clips and reason == "problem":
            excluded.append(f"{n_clips} have a problem, {_most_frequent(clips[~usable])}")
        elif n_clips:
            excluded.append(f"{n_clips} are excluded by {names[reason]}")
    reasons = ": " + "; ".join(excluded) if excluded else ""
    listed = f"; {source} lists {len(clips)}" if source else ""
    return InputError(f"params.corpus: no clip of '{corpus}' is usable{reasons}{listed}.")


def _most_frequent(clips: pd.DataFrame) -> str:
    """Returns the most frequent problem, its number of rows and first clip; of equally frequent, the first.

    >>> problems = ["no label: row 2", "missing: b.wav, row 3", "missing: c.wav, row 4"]
    >>> _most_frequent(pd.DataFrame({"clip": ["x/a", "x/b", "x/c"], "path": "", "problem": problems}))
    "the most frequent one (2 rows) is that of 'x/b': missing: b.wav, row 3"
    """
    kinds = clips["problem"].str.split(":").str[0]  # what comes before the first colon is one reason
    own = clips[kinds == kinds.value_counts(sort=False).idxmax()]
    first = own["clip"].where(own["clip"].notna(), own["path"]).iloc[0]
    return f"the most frequent one ({len(own)} rows) is that of {shown(first)}: {own['problem'].iloc[0]}"


def check_names(split: Split, labels: Iterable[str]) -> None:
    """Checks that params.split names known channels, and drops and merges known labels only.

    Args:
        labels: of the corpora; besides, the names in EMOTIONS are known.

    Raises:
        InputError: it names another.
    """
    known = {*EMOTIONS, *labels}
    for key, names, choices in (
        ("channels", split.channels, CHANNELS),
        ("labels.drop", split.labels.drop, known),
        ("labels.merge", split.labels.merge, known),
    ):
        for name in names:
            if name not in choices:
                raise unknown(f"params.split.{key}", name, choices)
