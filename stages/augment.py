"""Make altered copies of every recording fit for use.

Independent of the split: which copies train is decided later, so a new split augments nothing again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.audio import recording
from stages.base import registry
from stages.base.errors import run
from stages.base.files import AUGMENTED, MANIFEST, RAW
from stages.base.params import Augmentation, Params, read
from stages.compute.fill import fill
from stages.data import shards, tables
from stages.data.keys import fingerprint, rng
from stages.data.shards import Shard

PLACE = "params.augment.chain"


@dataclass(frozen=True)
class Chain:
    """What a copy passes through.

    Attributes:
        augmentations: by name, in order.
        seed: of all that is drawn.
        sample_rate_hz: of recordings and copies.
    """

    augmentations: dict[str, Augmentation]
    seed: int
    sample_rate_hz: int

    def __call__(
        self, signal: NDArray[np.float32], clip: str, copy: int
    ) -> tuple[NDArray[np.float32], dict[str, dict[str, float]]]:
        """Returns one copy, and by augmentation what was drawn for it; one passed over is not named.

        Each augmentation has its own stream of randomness, so a changed chain leaves its draws alone.
        """
        drawn = {}
        for name, config in self.augmentations.items():
            generator = rng(self.seed, clip, copy, name)
            if generator.random() < config.probability:
                entry = registry.load("augmentations", name, PLACE)
                drawn[name] = entry.draw(config, generator)
                signal = entry.apply(signal, self.sample_rate_hz, generator, **drawn[name])
        return signal, drawn


def main() -> None:
    params = read()
    manifest = tables.read(MANIFEST, tables.MANIFEST, ["clip", "speaker", "path", "sha256", "problem"])
    augmentations = {name: params.config("augmentations", name, PLACE) for name in params.augment.chain}
    chain = Chain(augmentations, params.seed, params.audio.sample_rate_hz)
    planned = plan(manifest[manifest["problem"] == ""], chain, params)
    fill(AUGMENTED, planned, params.compute, "augment")
    index = list_copies(planned, params.audio.sample_rate_hz)
    tables.write(index, tables.AUGMENTED, AUGMENTED / shards.INDEX)


def plan(clips: pd.DataFrame, chain: Chain, params: Params) -> list[Shard]:
    """Returns the shards to be: for each copy those of its own, so that one more copy leaves the others be.

    Args:
        clips: columns clip, speaker, path and sha256.
        chain: what a copy passes through.
    """
    recipe = shards.recipe(
        [Path(__file__), *(registry.STAGES / "augmentations" / f"{name}.py" for name in chain.augmentations)],
        augmentations=[[name, config.model_dump()] for name, config in chain.augmentations.items()],
        seed=chain.seed,
        sample_rate_hz=chain.sample_rate_hz,
    )
    planned = []
    for copy in range(1, params.augment.copies + 1):
        for stem, rows in shards.chunks(clips, params.featurize.clips_per_shard, f"_aug{copy}"):
            names, paths = rows["clip"].tolist(), [RAW / path for path in rows["path"]]
            content = fingerprint(recipe, copy, names, rows["sha256"].tolist())
            make = partial(make_copies, names, paths, copy, chain)
            planned.append(Shard(stem, len(rows), content, make, tuple(paths)))
    return planned


def make_copies(clips: list[str], paths: list[Path], copy: int, chain: Chain) -> dict[str, NDArray]:
    """Returns a shard's arrays.

    Returns:
        `samples` float32, the copies end to end; `n_samples` int64, `clips` and `drawn` (JSON) unicode, one
        of each per copy.
    """
    signals, drawn = [], []
    for clip, path in zip(clips, paths, strict=True):
        signal, parameters = chain(recording.load_listed(path, chain.sample_rate_hz), clip, copy)
        signals.append(signal)
        drawn.append(json.dumps(parameters))
    return {
        "samples": np.concatenate(signals),
        "n_samples": np.array([len(signal) for signal in signals], np.int64),
        "clips": np.array([f"{clip}#{copy}" for clip in clips]),
        "drawn": np.array(drawn),
    }


def list_copies(planned: list[Shard], sample_rate_hz: int) -> pd.DataFrame:
    """Returns the table AUGMENTED of the shards, which are there by now, sorted by clip."""
    rows = []
    for shard in planned:
        stored = shards.read(AUGMENTED / shard.name, ["clips", "n_samples", "drawn"])
        clips, drawn = stored["clips"].tolist(), stored["drawn"].tolist()
        durations_s = (stored["n_samples"] / sample_rate_hz).tolist()
        for clip, duration_s, parameters in zip(clips, durations_s, drawn, strict=True):
            parent, _, copy = clip.rpartition("#")
            rows.append((clip, parent, int(copy), shard.name, duration_s, parameters))
    return tables.build(sorted(rows), tables.AUGMENTED)


if __name__ == "__main__":
    run(main)
