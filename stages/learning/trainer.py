"""What every kind of model offers: a trainer that fits, stores and applies it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.learning.live import Follow, ignore
from stages.learning.preprocessing import Clips, Partition

# A stored model: returns logits or decision values, float64 (n_clips, n_classes).
Model = Callable[[Clips], NDArray[np.float64]]


class Trainer(Protocol):
    """Fits one model per fold. A model file in stages/models returns one from `trainer(config)`.

    Attributes:
        file: name of the stored model in the fold's folder.
        trains_on_validation: whether it trains on the validation speakers too, because it chooses nothing on
            them; its temperature is then its own, or from cross-validation over speakers.
        started_from: a folder in data/pretrained with the initial weights; None without.
        epochs: that a training may take; None for a model whose `fit` follows no epochs.
    """

    file: str
    trains_on_validation: bool
    started_from: str | None
    epochs: int | None

    def fit(
        self,
        train: Partition,
        validation: Partition | None,
        folder: Path,
        seed: int,
        follow: Follow = ignore,
    ) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Fits the model and writes it to `folder`; calls `follow` with the learning curve after each epoch.

        Returns:
            The learning curve, a row per epoch, and further entries of the record (`n_parameters`, ...). One
            that validates itself adds `held_out`: scores and labels of clips that it was not fitted on.
            One that continued an interrupted training adds `earlier_s`, the seconds of the epochs before.
        """

    def load(self, folder: Path, n_classes: int) -> Model:
        """Returns the model that `fit` wrote to `folder`; it is read once."""


class CrossValidated(Trainer, Protocol):
    """A trainer with `trains_on_validation`: scores of its training clips need models without them."""

    def learned(self, train: Partition, seed: int, place: str) -> Model:
        """Returns a model fitted on `train`, which is not stored; `place` is for error messages."""
