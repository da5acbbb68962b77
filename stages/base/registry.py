"""Folders as registries: each file in `stages/<kind>/` is an entry, and its stem is the entry's name."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from stages.base.errors import InputError, extra, unknown

STAGES = Path(__file__).resolve().parents[1]

# What every file of a registry must define, and what it is for. A corpus may also define
# `Config`, a base.params.Block, if it has settings in params.yaml,
# `downloads(config) -> list[Download]`, the official files, if the publisher states their checksums,
# `annotate(table, folder) -> table`, which adds to the manifest what other files in its folder say,
# `METADATA`, the names of those files (csv and txt without it),
# `synthesise(folder, config, seed) -> int`, which makes its recordings if data/sources has none, and
# `CHECKSUMS` and `CHECKSUMS_OF`, of each speaker's published recordings, as data.published computes them; a
# feature `OWN_FRAMES = True`, if its frames are not those of the spectrum, and `FILE`, the key of its block
# that names a file, or a folder of which it needs `FILES`; their checksum is the key `sha256`.
CONTRACTS: dict[str, dict[str, str]] = {
    "corpora": {
        "ABOUT": "a data.vocabulary.Corpus: licence, citation, address, counts",
        "parse": "parse(path) -> data.vocabulary.ParsedName | None, if the name does not fit",
    },
    "features": {
        "Config": "a base.params.Block: the feature's block in params.yaml",
        "compute": "compute(spectrum, config) -> float32 (n_frames, n_dims)",
    },
    "augmentations": {
        "Config": "a base.params.Augmentation: the ranges that a copy's parameters are drawn from",
        "apply": "apply(signal, sample_rate_hz, rng, **drawn) -> float32 (n_samples,)",
    },
    "models": {
        "Config": "a base.params.Block: the model's block in params.yaml",
        "LAYOUTS": "a tuple of the learning.preprocessing layouts it takes",
        "trainer": "trainer(config) -> learning.trainer.Trainer: fits, stores and applies the model",
    },
}

TABLE = "_table"  # stages/corpora/_table.py serves every corpus whose block names a table


def names(kind: str) -> list[str]:
    """Returns the entries of `stages/<kind>/`, sorted."""
    return sorted(path.stem for path in (STAGES / kind).glob("*.py") if not path.stem.startswith("_"))


def check(kind: str, name: str, place: str) -> None:
    """Raises InputError, at `place`, if there is no entry of this name."""
    if name not in names(kind):
        raise unknown(place, name, names(kind))


def load(kind: str, name: str, place: str) -> ModuleType:
    """Returns the entry's module, its contract checked.

    Args:
        kind: folder below `stages/`.
        name: file stem.
        place: where the name was given, for the error (`model`, `corpus`).

    Raises:
        InputError: there is no such file, it does not define what its registry requires, or it is a network
            and TensorFlow is not installed.
    """
    if name == TABLE:
        return importlib.import_module(f"stages.{kind}.{name}")
    check(kind, name, place)
    with extra("cpu", f"{place} '{name}'", "tensorflow"):
        module = importlib.import_module(f"stages.{kind}.{name}")
    for attribute, meaning in CONTRACTS[kind].items():
        if not hasattr(module, attribute):
            raise InputError(f"stages/{kind}/{name}.py: does not define `{attribute}`. Add {meaning}.")
    return module


def has_own_frames(feature: str, place: str) -> bool:
    """Returns whether a feature's frames are not those of the spectrum; raises InputError as `load` does."""
    return getattr(load("features", feature, place), "OWN_FRAMES", False)
