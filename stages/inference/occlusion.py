"""Which seconds of a recording its answer rests on: what changes if a part of it is nearly silent.

Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks", cover parts of an image.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from stages.audio.recording import Samples
from stages.inference.bundle import Bundle

N_PARTS = 16
QUIETER_DB = 40.0  # than the part is


@dataclass(frozen=True)
class Part:
    """A part of a recording.

    Attributes:
        start_s, end_s: in the recording.
        effect: by how much the probability of the answer falls without the part, -1 to 1; NaN if nothing that
            can be answered is left.
    """

    start_s: float
    end_s: float
    effect: float


def effects(model: Bundle, samples: Samples, rate_hz: int) -> list[Part]:
    """Returns N_PARTS equal parts of a recording and the effect of each; none if it has no answer.

    Args:
        model: answers once for each part, about the whole recording with this part quieter.
        samples: float32 (n_samples,), full scale = 1.
    """
    edges = np.linspace(0, len(samples), N_PARTS + 1).astype(int).tolist()
    covered = []
    for start, end in pairwise(edges):
        quiet = samples.copy()
        quiet[start:end] *= np.float32(10 ** (-QUIETER_DB / 20))
        covered.append(quiet)
    whole, *others = model.predict_batch([samples, *covered], rate_hz)
    if not whole.probabilities:
        return []
    left = [other.probabilities.get(whole.emotion, np.nan) for other in others]
    return [
        Part(start / rate_hz, end / rate_hz, whole.confidence - p)
        for (start, end), p in zip(pairwise(edges), left, strict=True)
    ]
