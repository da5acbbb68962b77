"""Make augmented copies of every usable recording.

The copies do not depend on the split: train decides which to use, so a new split augments nothing again.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.audio.chain import PLACE, Chain
from stages.audio.recording import load_listed
from stages.base.files import AUGMENTED, MANIFEST, RAW
from stages.base.params import Params, read
from stages.base.stage import check_unchanged, run
from stages.compute.fill import fill
from stages.data import code, shards, tables
from stages.data.keys import fingerprint
from stages.data.shards import Shard

COLUMNS = ["clip", "speaker", "path", "sha256", "audio_sha256", "problem"]


def main() -> None:
    params = read()
    manifest = tables.read(MANIFEST, tables.MANIFEST, COLUMNS)
    augmentations = {name: params.config("augmentations", name, PLACE) for name in params.augment.chain}
    chain = Chain(augmentations, params.seed, params.audio.sample_rate_hz)
    clips = manifest[manifest["problem"] == ""]
    planned = plan(clips, chain, params)
    check_unchanged()  # since the code was loaded: shards are named by the present one
    fill(AUGMENTED, planned, params.compute, "augment")
    index = list_copies(planned, params.audio.sample_rate_hz)
    index.attrs.update(shards.copies_origin(params, clips))
    index.attrs[shards.CONTENTS] = shards.contents(AUGMENTED, [shard.name for shard in planned])
    tables.write(index, tables.AUGMENTED, AUGMENTED / shards.INDEX)


def plan(clips: pd.DataFrame, chain: Chain, params: Params) -> list[Shard]:
    """Returns the shards to compute. No shard mixes copy numbers, so one more copy keeps all others valid.

    Args:
        clips: columns clip, speaker, path and sha256.
    """
    sources = shards.sources("augment", "augmentations", chain.augmentations)
    stamps = code.stamps(sources, params.compute)  # first, so that no edit is missed
    recipe = shards.recipe(
        sources,
        augmentations=[[name, config.model_dump()] for name, config in chain.augmentations.items()],
        seed=chain.seed,
        sample_rate_hz=chain.sample_rate_hz,
    )
    planned = []
    for copy in range(1, params.augment.copies + 1):
        for stem, rows in shards.chunks(clips, params.featurize.clips_per_shard, f"_aug{copy}"):
            names, paths = rows["clip"].tolist(), [RAW / path for path in rows["path"]]
            content = fingerprint(recipe, copy, names, rows["sha256"].tolist())
            make = partial(make_copies, names, paths, rows["sha256"].tolist(), copy, chain)
            planned.append(Shard(stem, len(rows), content, make, stamps))
    return planned


def make_copies(
    clips: list[str], paths: list[Path], sha256: list[str], copy: int, chain: Chain
) -> dict[str, NDArray]:
    """Returns the arrays of a shard of copies.

    Returns:
        `samples` float32, the copies one after the other; and per copy its length `n_samples` int64, and
        `clips` and `drawn` (JSON) as text.
    """
    copies = [
        chain(load_listed(path, chain.sample_rate_hz), clip, copy)
        for clip, path in zip(clips, paths, strict=True)
    ]
    shards.check_recordings(paths, sha256)
    return {
        "samples": np.concatenate([signal for signal, _ in copies]),
        "n_samples": np.array([len(signal) for signal, _ in copies], np.int64),
        "clips": np.array([f"{clip}#{copy}" for clip in clips]),
        "drawn": np.array([json.dumps(drawn) for _, drawn in copies]),
    }


def list_copies(planned: list[Shard], sample_rate_hz: int) -> pd.DataFrame:
    """Returns the table AUGMENTED of the shards, which have been computed, sorted by clip."""
    rows = []
    for shard in planned:
        stored = shards.read(AUGMENTED / shard.name, ["clips", "n_samples", "drawn"])
        columns = (stored[name].tolist() for name in ("clips", "n_samples", "drawn"))
        for clip, n_samples, drawn in zip(*columns, strict=True):
            parent, _, copy = clip.rpartition("#")
            rows.append((clip, parent, int(copy), shard.name, n_samples / sample_rate_hz, drawn))
    return tables.build(sorted(rows), tables.AUGMENTED)


if __name__ == "__main__":
    run(main)
