"""Decide which clips train, validate and test: data/splits.parquet and metrics/split.json."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from stages.base import params
from stages.base.errors import InputError, run, unknown
from stages.base.files import MANIFEST, METRICS, SPLITS, write_json
from stages.data import tables
from stages.data.vocabulary import CHANNELS, EMOTIONS
from stages.splitting import leak, protocols


def main() -> None:
    chosen = params.read()
    split = chosen.split
    manifest = tables.read(MANIFEST, tables.MANIFEST)
    clips, n_excluded = usable_clips(manifest, chosen)
    splits = protocols.assign(clips, split, chosen.seed)
    leak.check(splits, split.protocol)
    tables.write(splits, tables.SPLITS, SPLITS)
    n_excluded["protocol"] = len(set(clips["clip"]) - set(splits["clip"]))
    write_json(describe(splits, split.protocol, n_excluded), METRICS / "split.json")


def usable_clips(manifest: pd.DataFrame, chosen: params.Params) -> tuple[pd.DataFrame, dict[str, int]]:
    """Returns the usable clips with their `label`, and the number of clips excluded for each reason.

    Raises:
        InputError: no clip of a chosen corpus is left.
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
    return clips.assign(label=clips["emotion"].replace(dict(policy.merge))), n_excluded


def check_names(split: params.Split, labels: Iterable[str]) -> None:
    """Checks that params.split names known channels, and drops and merges known labels only.

    Args:
        labels: of the corpora; besides, the names in EMOTIONS are known.

    Raises:
        InputError: it names another.
    """
    known = {*EMOTIONS, *labels}
    place = "params.split.labels"
    named = [("params.split.channels", name, CHANNELS) for name in split.channels]
    named += [(f"{place}.drop", name, known) for name in split.labels.drop]
    named += [(f"{place}.merge", name, known) for name in split.labels.merge]
    for place, name, choices in named:
        if name not in choices:
            raise unknown(place, name, choices)


def describe(splits: pd.DataFrame, protocol: str, n_excluded: dict[str, int]) -> dict[str, Any]:
    """Returns the content of metrics/split.json, nested scalars; a role's numbers are means over folds."""
    roles = {}
    for role, rows in splits[["fold", "role", "clip", "speaker", "label"]].groupby("role"):
        folds = rows.groupby("fold")
        fractions = folds["label"].value_counts(normalize=True).groupby("label").sum() / folds.ngroups
        roles[str(role)] = {
            "clips": float(folds.size().mean()),
            "speakers": float(folds["speaker"].nunique().mean()),
            "fraction": {str(label): float(fraction) for label, fraction in fractions.items()},
        }
    seen = splits.loc[splits["role"] != "test", ["fold", "role", "speaker", "sentence"]]
    return {
        "protocol": protocol,
        "leaky": leak.leaky(protocol),
        "validation_shares_speakers": len(leak.straddling(seen, "speaker", seen["role"])) > 0,
        "validation_shares_sentences": len(leak.straddling(seen, "sentence", seen["role"])) > 0,
        "n_folds": int(splits["fold"].nunique()),
        "n_clips": int(splits["clip"].nunique()),
        "n_speakers": int(splits["speaker"].nunique()),
        "n_excluded": n_excluded,
        **roles,
    }


if __name__ == "__main__":
    run(main)
