"""Decide which clips train, validate and test: data/splits.parquet and metrics/split.json."""

from __future__ import annotations

from typing import Any

import pandas as pd

from stages.base import params
from stages.base.files import MANIFEST, METRICS, SPLITS, write_json
from stages.base.stage import run
from stages.data import keys, tables
from stages.splitting import labels, leak, protocols


def main() -> None:
    chosen = params.read()
    split = chosen.split
    manifest = tables.read(MANIFEST, tables.MANIFEST)
    clips, n_excluded = labels.usable_clips(manifest, chosen)
    splits = protocols.assign(clips, split, chosen.seed)
    leak.check(splits, split.protocol)
    splits.attrs["made_with"] = protocols.made_with(chosen)
    splits.attrs["made_from"] = protocols.made_from(manifest, chosen)
    tables.write(splits, tables.SPLITS, SPLITS)
    n_excluded["protocol"] = len(set(clips["clip"]) - set(splits["clip"]))
    described = describe(splits, split.protocol, n_excluded)
    if excluded := sorted(set(clips["label"]) - set(splits["label"])):
        described["excluded_labels"] = ", ".join(excluded)
    described["sha256"] = {SPLITS.as_posix(): keys.sha256(SPLITS)}
    write_json(described, METRICS / "split.json")


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
