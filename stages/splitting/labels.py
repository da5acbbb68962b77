"""Which clips are used, and under which label."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import pandas as pd

from stages.base.errors import InputError, unknown
from stages.base.files import MANIFEST
from stages.base.params import Params, Split
from stages.data.vocabulary import CHANNELS, EMOTIONS, UNKNOWN
from stages.splitting import leak

logger = logging.getLogger(__name__)


def usable_clips(manifest: pd.DataFrame, chosen: Params) -> tuple[pd.DataFrame, dict[str, int]]:
    """Returns the usable clips with their `label`, and the number of clips excluded for each reason.

    Clips of unknown speakers are excluded where the protocol needs speakers.

    Raises:
        InputError: no clip of a chosen corpus is left, or the protocol needs speakers and none is known.
    """
    policy = chosen.split.labels
    clips = manifest[manifest["corpus"].isin(chosen.corpus)]
    check_names(chosen.split, clips["emotion"].dropna())
    n_excluded = {}
    for reason, usable in {
        "problem": clips["problem"] == "",
        "channel": clips["channel"].isin(chosen.split.channels),
        "label": ~clips["emotion"].isin(policy.drop),
    }.items():
        kept = clips[usable[clips.index]]
        n_excluded[reason] = len(clips) - len(kept)
        clips = kept
    for corpus in chosen.corpus:
        if corpus not in set(clips["corpus"]):
            n_listed = (manifest["corpus"] == corpus).sum()
            raise InputError(
                f"params.corpus: no clip of '{corpus}' is left after excluding problems, "
                f"params.split.channels and params.split.labels.drop; {MANIFEST} lists {n_listed}."
            )
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
    return clips.assign(label=clips["emotion"].replace(dict(policy.merge))), n_excluded


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
