"""From the features of clips to what a trained model takes: a clip that is longer than its input has windows.

Imports no pandas table, no classifier and no network, so that a bundle starts quickly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.learning.pooling import FittedPooling, Pooling
from stages.learning.preprocessing import WITHOUT_TIME_AXIS, Clips, Frames, Preprocessor, pool

PREPROCESSOR = "preprocessor.npz"
POOLING = "pooling.npz"  # of the layout `pooled`


@dataclass(frozen=True)
class Preparation:
    """Makes a fold's input of clips.

    Attributes:
        preprocessor: standardises clips and pads them to one length.
        pooling: of the layout `pooled`, else None.
    """

    preprocessor: Preprocessor
    pooling: FittedPooling | None = None

    @classmethod
    def load(cls, folder: Path, pooling: Pooling | None) -> Preparation:
        """Returns what train wrote to a fold's folder.

        Args:
            pooling: the model's block of the layout `pooled`, None for the others.

        Raises:
            InputError: a file is missing or was not written by train.
        """
        fitted = FittedPooling.load(pooling, folder / POOLING) if pooling is not None else None
        return cls(Preprocessor.load(folder / PREPROCESSOR), fitted)

    def __call__(self, clips: Sequence[Frames]) -> tuple[Clips, NDArray[np.int64]]:
        """Returns the model's input for each window of the clips, and each clip's number of windows.

        Args:
            clips: float32 (n_frames, n_dims) each, the config's features side by side.
        """
        return self.after_statistics(self.before_statistics(clips))

    def before_statistics(self, clips: Sequence[Frames]) -> list[Frames]:
        """Returns what is standardised of each clip: its frames, without a time axis float32 (1, n_dims)."""
        if self.preprocessor.layout not in WITHOUT_TIME_AXIS:
            return list(clips)
        if self.pooling is not None:
            return [self.pooling(frames) for frames in clips]
        return [pool(frames, self.preprocessor.layout) for frames in clips]

    def after_statistics(self, clips: Sequence[Frames]) -> tuple[Clips, NDArray[np.int64]]:
        """Returns what a call does, of what `before_statistics` returned, standardised or not."""
        fitted = self.preprocessor
        if fitted.layout not in WITHOUT_TIME_AXIS:
            steps = [pool(frames, fitted.layout, fitted.frames_per_step) for frames in clips]
            split = [windows(each, fitted.n_steps) for each in steps]
            every = [window for each in split for window in each]
            return fitted.transform(every), np.array([len(each) for each in split], np.int64)
        inputs = fitted.transform(clips)
        if self.pooling is not None:
            inputs = self.pooling.weigh(inputs)
        return inputs, np.ones(len(clips), np.int64)


def windows(steps: Frames, n_steps: int) -> list[Frames]:
    """Returns as few windows as cover the clip, evenly spaced, each at most (n_steps, n_dims).

    Examples:
        >>> [window.ravel().tolist() for window in windows(np.arange(5.0)[:, None], n_steps=3)]
        [[0.0, 1.0, 2.0], [2.0, 3.0, 4.0]]
    """
    last = max(0, len(steps) - n_steps)
    starts = np.linspace(0, last, max(1, math.ceil(len(steps) / n_steps))).round().astype(int)
    return [steps[start : start + n_steps] for start in starts]


def means(probabilities: NDArray[np.float64], n_windows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns each clip's mean over its windows, float64 (n_clips, n_classes).

    Examples:
        >>> means(np.array([[0.2, 0.8], [0.4, 0.6], [1.0, 0.0]]), np.array([2, 1])).round(1).tolist()
        [[0.3, 0.7], [1.0, 0.0]]
    """
    starts = np.cumsum(n_windows) - n_windows
    return np.add.reduceat(probabilities, starts, axis=0) / n_windows[:, None]
