"""Decide which clips train, validate and test: data/splits.parquet and metrics/split.json."""

from __future__ import annotations

from typing import Any

import pandas as pd

from stages.base import params
from stages.base.files import MANIFEST, METRICS, SPLITS, write_json
from stages.base.stage import run
from stages.data import keys, tables
from stages.data.splits import Splits
from stages.splitting import labels, leak, protocols


def main() -> None:
    chosen = params.read()
    split = chosen.split
    manifest = tables.read(MANIFEST, tables.MANIFEST)
    clips, n_excluded = labels.usable_clips(manifest, chosen)
    splits = protocols.assign(clips, split, chosen.seed)
    leak.check(splits, split.protocol)
    splits.clips.attrs["made_with"] = protocols.made_with(chosen)
    splits.clips.attrs["made_from"] = protocols.made_from(manifest, chosen)
    splits.write()
    n_excluded["protocol"] = len(set(clips["clip"]) - set(splits.clips["clip"]))
    described = describe(splits, split.protocol, n_excluded)
    if excluded := sorted(set(clips["label"]) - set(splits.clips["label"])):
        described["excluded_labels"] = ", ".join(excluded)
    described["sha256"] = {SPLITS.as_posix(): keys.sha256(SPLITS)}
    write_json(described, METRICS / "split.json")


def describe(splits: Splits, protocol: str, n_excluded: dict[str, int]) -> dict[str, Any]:
    """Returns the content of metrics/split.json, nested scalars; a role's numbers are means over folds."""
    roles = {}
    n_speakers = pd.concat([rows.groupby(["fold", "role"])["speaker"].nunique() for rows in splits])
    for role, counts in splits.counts.groupby("role"):
        n_clips = counts.groupby("fold").sum()
        fractions = counts.div(n_clips, level="fold").groupby("label").sum() / len(n_clips)
        roles[str(role)] = {
            "clips": float(n_clips.mean()),
            "speakers": float(n_speakers.xs(role, level="role").mean()),
            "fraction": {str(label): float(fraction) for label, fraction in fractions.items()},
        }
    return {
        "protocol": protocol,
        "leaky": leak.leaky(protocol),
        "validation_shares_speakers": leak.trains_and_validates(splits, "speaker"),
        "validation_shares_sentences": leak.trains_and_validates(splits, "sentence"),
        "n_folds": splits.n_folds,
        "n_clips": len(splits.clips),
        "n_speakers": int(splits.clips["speaker"].nunique()),
        "n_excluded": n_excluded,
        **roles,
    }


if __name__ == "__main__":
    run(main)
