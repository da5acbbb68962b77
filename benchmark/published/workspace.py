"""A folder in which one row of the benchmark runs: the pipeline, its own params.yaml, the corpora it needs.

It is a DVC repository of its own, so rows never touch the user's workspace, may run side by side, and run
again only where something changed. All share one cache, which stores equal files once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from benchmark.published.overlay import Experiment, merged
from stages.acquire import archive
from stages.base import workspace
from stages.base.files import MANIFEST, MODEL, PREDICTIONS, PRETRAINED, SOURCES
from stages.base.params import PARAMS, checked, load
from stages.data import tables
from stages.learning import training
from stages.learning.record import folder_name
from stages.splitting import labels, protocols

RUNS = Path("benchmark/published/runs")
WEIGHTS = {  # titles of what is in data/pretrained
    "imagenet": "ImageNet weights of ResNet34",
    "imagenet_lite0": "ImageNet weights of EfficientNet-Lite0",
    "byol_s.npz": "weights of BYOL-S",
    "efficientnet_lite0.npz": "weights of EfficientNet-Lite0",
}
CACHE = "../../../cache"  # of DVC, for all rows, from a workspace's folder .dvc


def inputs(experiment: Experiment) -> dict[str, list[Path]]:
    """Returns what the row reads, by title: the files and folders of corpora and of pretrained weights."""
    found = {}
    params = experiment.params()
    for name in params.corpus:
        corpus = params.corpus_of(name)
        if not hasattr(corpus, "synthesise"):
            paths = _sources(name, corpus)
            title = corpus.ABOUT.title.partition(",")[0]
            found[title] = paths
            for channel in _missing_channels(corpus, paths, experiment.values["split"]["channels"]):
                found[f"{title} {channel}"] = []
    for name in _weights(experiment):
        found[WEIGHTS.get(name, name)] = list(PRETRAINED.glob(name))
    return found


def _weights(experiment: Experiment) -> Iterator[str]:
    """Yields the names of what the row reads in data/pretrained: initial weights, frozen networks."""
    initial = experiment.block.get("training", {}).get("init_from")
    if initial and experiment.pretraining is None:
        yield initial
    for feature in experiment.values["featurize"]["features"]:
        for value in experiment.values["features"][feature].values():
            if isinstance(value, str) and Path(value).parent == PRETRAINED:
                yield Path(value).name


def available(values: dict[str, Any]) -> list[str]:
    """Returns the corpora of a params.yaml with the content `values` that are in data/sources, sorted."""
    params = checked(values)
    return [name for name in sorted(params.corpora) if _sources(name, params.corpus_of(name))]


def _sources(name: str, corpus: Any) -> list[Path]:
    """Returns the files and folders of data/sources that a corpus is read from; none if it is missing."""
    if not hasattr(corpus, "sources"):
        return [path for path in sorted(SOURCES.glob("*")) if name in (path.name, archive.stem(path))]
    table = Path(corpus.config.table)
    top = {SOURCES / path.relative_to(SOURCES).parts[0] for path in (table, corpus.root)}
    return sorted(top) if table.exists() else []


def _missing_channels(corpus: Any, paths: list[Path], channels: list[str]) -> list[str]:
    """Returns the channels of which no file's name says that it is there."""
    if hasattr(corpus, "sources"):
        return []  # a table lists its channels itself
    inside = [path.relative_to(folder) for folder in paths for path in folder.rglob("*")]
    present = {parsed.channel for path in inside if (parsed := corpus.parse(PurePosixPath(path)))}
    if not present or any(archive.stem(path) for path in inside):
        return []  # ingest reports wrong names and opens archives
    return [channel for channel in channels if channel not in present]


def missing(experiment: Experiment) -> list[str]:
    """Returns what the row and its pretraining read and is not here, by title."""
    read = inputs(experiment)
    if experiment.pretraining is not None:
        read |= inputs(experiment.pretraining)
    return [title for title, paths in read.items() if not paths]


def folder(experiment: Experiment) -> Path:
    """Returns the folder of an experiment's workspace."""
    return RUNS / experiment.system / experiment.folder


def prepare(experiment: Experiment) -> Path:
    """Brings the row's workspace up to date with the project, and returns it.

    A new one starts with the features that the system's last row made. Weights of an earlier training are
    linked into it: they are not the user's, so not in data/pretrained, which every training reads.
    """
    place = folder(experiment)
    locks = place.parent.glob(f"*/{workspace.LOCK}")
    finished = [lock for lock in locks if lock.parent.suffix != workspace.UNFINISHED]
    if finished and not place.exists():
        workspace.start_from(max(finished, key=lambda lock: lock.stat().st_mtime).parent, place)
    if (place / PARAMS).is_file() and load(place / PARAMS) != experiment.values:
        (place / PREDICTIONS).unlink(missing_ok=True)  # of other settings: it would count as finished
    workspace.prepare(place, experiment.values, itertools.chain(*inputs(experiment).values()), CACHE)
    if (earlier := experiment.pretraining) is not None:
        weights = folder(earlier) / MODEL / folder_name(0)
        if weights.is_dir():
            workspace.link(weights, place / PRETRAINED / earlier.weights)
    return place


def pretrain(experiment: Experiment) -> None:
    """Trains the weights that an experiment starts from, where they are not up to date, if it needs any."""
    if experiment.pretraining is not None:
        reproduce(prepare(experiment.pretraining), "train")


def is_finished(run: Experiment) -> bool:
    """Returns whether a run was tested with its present settings, whatever its limit of training clips."""
    place = folder(run)
    if not (place / PREDICTIONS).is_file():
        return False
    values = load(place / PARAMS)
    return merged(values, {"split": {"train_clips": None}}) == run.values


def counts(experiment: Experiment) -> dict[str, int]:
    """Returns how many `speakers` and `clips` of an experiment's corpora in data/sources can be used."""
    manifest = tables.read(_ingested(experiment) / MANIFEST, tables.MANIFEST)
    clips, _ = labels.usable_clips(manifest, experiment.params())
    return {"speakers": int(clips["speaker"].nunique()), "clips": len(clips)}


def _ingested(experiment: Experiment) -> Path:
    """Returns a workspace of its own with the manifest of an experiment's corpora."""
    place = prepare(replace(experiment, protocol="clips"))
    reproduce(place, "manifest")
    return place


def equal_runs(experiments: Sequence[Experiment], number: int) -> list[Experiment]:
    """Returns the run `number` of experiments on the same corpora, limited to equally many training clips.

    A model that also trains on the validation clips is limited in both together.
    """
    manifest = tables.read(_ingested(experiments[0]) / MANIFEST, tables.MANIFEST)
    counts = []  # of each experiment's folds: training clips, and validation clips that are trained on
    for experiment in experiments:
        params = experiment.run(number, None).params()
        clips, _ = labels.usable_clips(manifest, params)
        splits = protocols.assign(clips, params.split, params.seed)
        of_fold = splits.counts.groupby(["fold", "role"]).sum().unstack(fill_value=0)
        _, trainer = training.selected(params)
        counts.append((of_fold["train"], of_fold.get("validation", 0) * trainer.trains_on_validation))
    fewest = min((train + validation).min() for train, validation in counts)
    limits = [int(fewest - np.max(validation)) for _, validation in counts]
    # Folds with fewer validation clips are trained on fewer clips.
    means = [
        np.mean(np.minimum(train, limit) + validation)
        for (train, validation), limit in zip(counts, limits, strict=True)
    ]
    return [
        each.run(number, limit - round(mean - min(means)))
        for each, limit, mean in zip(experiments, limits, means, strict=True)
    ]


def reproduce(place: Path, stage: str = "evaluate") -> None:
    """Brings a workspace up to date up to `stage`.

    Without DVC's run cache: it would restore a model without the seconds that its training took.

    Raises:
        InputError: a stage failed.
    """
    workspace.reproduce(place, stage, options=["--no-run-cache"])
