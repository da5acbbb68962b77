"""From a recording to its augmented copies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.base import registry
from stages.base.params import Augmentation
from stages.data.keys import rng

PLACE = "params.augment.chain"


@dataclass(frozen=True)
class Chain:
    """Applies augmentations one after the other, each with its own probability.

    Attributes:
        augmentations: by name, in order.
        seed: of all random parameters.
        sample_rate_hz: of recordings and copies.
    """

    augmentations: dict[str, Augmentation]
    seed: int
    sample_rate_hz: int

    def __call__(
        self, signal: NDArray[np.float32], clip: str, copy: int
    ) -> tuple[NDArray[np.float32], dict[str, dict[str, float]]]:
        """Returns an augmented copy, and the parameters drawn for each augmentation that was applied.

        Each augmentation has its own random stream, so adding or removing one does not change the others.
        """
        drawn = {}
        for name, config in self.augmentations.items():
            generator = rng(self.seed, clip, copy, name)
            if generator.random() < config.probability:
                entry = registry.load("augmentations", name, PLACE)
                drawn[name] = draw(config, generator)
                signal = entry.apply(signal, self.sample_rate_hz, generator, **drawn[name])
        return signal, drawn


def draw(config: Augmentation, generator: np.random.Generator) -> dict[str, float]:
    """Returns a value of each range, uniformly distributed, by the name and in the order of the fields."""
    return {name: generator.uniform(*limits) for name, limits in config if name != "probability"}
