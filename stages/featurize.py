"""Compute the features of every usable recording and of every augmented copy.

The features do not depend on split or model: a model selects from what is stored, so another model computes
nothing again.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd
from numpy.typing import NDArray

from stages.audio.extractor import Extractor, extractor
from stages.audio.recording import load_listed
from stages.base.errors import InputError
from stages.base.files import AUGMENTED, FEATURES, MANIFEST, RAW
from stages.base.params import Params, read
from stages.base.stage import check_unchanged, run
from stages.compute.fill import fill
from stages.data import code, keys, shards, tables
from stages.data.shards import Shard

PLACE = "params.featurize.features"


def main() -> None:
    params = read()
    columns = ["clip", "speaker", "path", "sha256", "audio_sha256", "problem"]
    manifest = tables.read(MANIFEST, tables.MANIFEST, columns)
    clips = manifest[manifest["problem"] == ""]
    copies = read_copies(AUGMENTED / shards.INDEX, clips)
    planned = plan(clips, copies, params)
    check_unchanged()  # since the code was loaded: shards are named by the present one
    fill(FEATURES, planned, params.compute, "featurize")
    index = list_features(planned, clips, copies)
    index.attrs.update(shards.origin(params, params.featurize.features, clips), copies=copies.attrs)
    index.attrs[shards.CONTENTS] = shards.contents(FEATURES, [shard.name for shard in planned])
    tables.write(index, tables.FEATURES, FEATURES / shards.INDEX)


def read_copies(path: Path, clips: pd.DataFrame) -> pd.DataFrame:
    """Returns clip, parent and shard of every augmented copy; what they are made from is in the `attrs`.

    Raises:
        InputError: a copy's parent is not in `clips`.
    """
    copies = tables.read(path, tables.AUGMENTED, ["clip", "parent", "shard"])
    orphans = copies[~copies["parent"].isin(clips["clip"])]
    if len(orphans):
        raise InputError(
            f"{path}: '{orphans['clip'].iloc[0]}' is a copy of a recording that {MANIFEST} does not list as "
            "usable. Run `dvc repro augment`."
        )
    return copies


def plan(clips: pd.DataFrame, copies: pd.DataFrame, params: Params) -> list[Shard]:
    """Returns the shards to compute: those of the recordings, and one per shard of augmented copies.

    Args:
        clips: columns clip, speaker, path and sha256.
        copies: column shard, one row per copy.
    """
    names = params.featurize.features
    extract = extractor(params, names, PLACE)
    sources = shards.sources("featurize", "features", names)
    stamps = code.stamps(sources, params.compute)  # first, so that no edit is missed
    recipe = shards.recipe(sources, settings=shards.made_with(params, names))
    planned = []
    for stem, rows in shards.chunks(clips, params.featurize.clips_per_shard):
        named, paths = rows["clip"].tolist(), [RAW / path for path in rows["path"]]
        content = keys.fingerprint(recipe, named, rows["sha256"].tolist())
        make = partial(of_recordings, named, paths, rows["sha256"].tolist(), extract)
        planned.append(Shard(stem, len(rows), content, make, stamps))
    for name, n_copies in copies["shard"].value_counts(sort=False).sort_index().items():
        stem = str(name).rsplit(".", 2)[0]
        make = partial(of_copies, AUGMENTED / str(name), extract)
        planned.append(Shard(stem, n_copies, keys.fingerprint(recipe, name), make, stamps))
    return planned


def of_recordings(
    clips: list[str], paths: list[Path], sha256: list[str], extract: Extractor
) -> dict[str, NDArray]:
    """Returns the arrays of a shard of recordings: see `shards.pack`."""
    features = [extract(load_listed(path, extract.audio.sample_rate_hz)) for path in paths]
    shards.check_recordings(paths, sha256)
    return shards.pack(clips, features)


def of_copies(path: Path, extract: Extractor) -> dict[str, NDArray]:
    """Returns the arrays of a shard of the copies in the augmented shard `path`: see `shards.pack`."""
    stored = shards.read(path, ["samples", "n_samples", "clips"])
    signals = shards.split(stored["samples"], stored["n_samples"])
    return shards.pack(stored["clips"].tolist(), [extract(signal) for signal in signals])


def list_features(planned: list[Shard], clips: pd.DataFrame, copies: pd.DataFrame) -> pd.DataFrame:
    """Returns the table FEATURES of the shards, which have been computed, sorted by clip."""
    parents = dict(zip(copies["clip"], copies["parent"], strict=True))
    speakers = dict(zip(clips["clip"], clips["speaker"], strict=True))
    rows = []
    for shard in planned:
        stored = shards.read(FEATURES / shard.name, [shards.CLIPS, shards.N_FRAMES])
        lengths = stored[shards.N_FRAMES].tolist()
        for clip, n_frames in zip(stored[shards.CLIPS].tolist(), lengths, strict=True):
            parent = parents.get(clip, clip)
            rows.append((clip, parent, speakers[parent], shard.name, n_frames))
    return tables.build(sorted(rows), tables.FEATURES)


if __name__ == "__main__":
    run(main)
