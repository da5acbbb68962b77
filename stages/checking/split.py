"""What can be checked of a split before any recording is read: from names and tables alone."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import pandas as pd

from stages.acquire import archive, sources
from stages.base.files import SOURCES
from stages.base.params import Params
from stages.data import tables
from stages.learning import dataset, normalization, trained_fold, training
from stages.splitting import labels, leak, protocols

COLUMNS = (
    *("clip", "corpus", "speaker", "sex", "sentence", "emotion", "channel", "problem"),
    *("session", "group", "partition", "language", "age", "intensity", "repetition"),
)


def check_split(params: Params) -> pd.DataFrame | None:
    """Checks that the chosen corpora can be split as params.split says, as far as names and tables say.

    Returns the usable clips with their `label`, by names and tables. Returns None, and checks nothing, where
    a corpus is not in data/sources, or is in an archive that would have to be unpacked. Does not split where
    the column `group_by` is not known before the recordings are read.

    Raises:
        InputError: see `labels.usable_clips`, `protocols.assign`, `leak.check`, `trained_fold.trainings` and
            `normalization.check_speakers`.
    """
    found = [named(name, params.corpus_of(name), params) for name in params.corpus]
    if any(table is None for table in found):
        return None
    manifest = pd.concat(found, ignore_index=True).drop_duplicates("clip")
    manifest = manifest.reindex(columns=[*tables.MANIFEST.columns])
    # Hashes of the recordings, which nothing here reads: all are different.
    manifest = manifest.assign(sha256=manifest["clip"], audio_sha256=manifest["clip"])
    clips, _ = labels.usable_clips(manifest, params, source=None)
    if params.split.protocol == "group" and _comes_later(params.split.group_by, clips, params):
        return clips
    splits = protocols.assign(clips, params.split, params.seed)
    leak.check(splits, params.split.protocol)
    folds = {fold for fold, _ in trained_fold.trainings(params, splits).values()}
    if params.train.normalize in normalization.BY_SPEAKER:
        _, trainer = training.selected(params)
        trained_on = dataset.SEEN if trainer.trains_on_validation else ("train",)
        for fold in sorted(folds):
            rows = splits.fold(fold, *trained_on).assign(role="train")
            normalization.check_speakers(params.train.normalize, rows)
    return clips


def _comes_later(column: str, clips: pd.DataFrame, params: Params) -> bool:
    """Returns whether the recordings, or files beside them, may fill gaps of a column. Tables have all."""
    by_table = {name for name in params.corpus if hasattr(params.corpus_of(name), "names")}
    final = clips["corpus"].isin(by_table if column in COLUMNS else [])
    return column in clips and bool(clips.loc[~final, column].isna().any())


def named(name: str, corpus: Any, params: Params) -> pd.DataFrame | None:
    """Returns what the names or the table of a corpus say; None where that takes reading its recordings."""
    if hasattr(corpus, "names"):
        return pd.DataFrame(corpus.names()).assign(corpus=name).reindex(columns=list(COLUMNS))
    source = sources.find(name)
    if source is None:
        return None
    paths = sources.walk(source) if source.is_dir() else [source]
    if any(path.name.lower().endswith(archive.TAR_SUFFIXES) for path in paths):
        return None
    with ExitStack() as stack:
        files = list(sources.unpacked(paths, source if source.is_dir() else SOURCES, params.ingest, stack))
    parsed = [corpus.parse(file.path) for file in files if sources.is_audio(file.path)]
    rows = [asdict(each) for each in parsed if each is not None]
    table = pd.DataFrame(rows).reindex(columns=list(COLUMNS)).assign(corpus=name, problem="")
    for column in ("clip", "speaker", "sentence", "session"):
        table[column] = (name + "/" + table[column].astype(str)).where(table[column].notna())
    labelled = table[["emotion", "speaker"]].notna().all(axis=None)  # by names, not by other files
    return table if len(table) and labelled else None
