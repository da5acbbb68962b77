"""Pitch and stretch on one core, compared with librosa.effects.

python -m benchmark.speed.augment
"""

from __future__ import annotations

from collections.abc import Callable

import librosa
import numpy as np

from benchmark.speed import measure, record, recordings
from benchmark.speed.record import Row
from stages.audio.recording import Samples
from stages.augmentations import pitch, stretch
from stages.base import params
from stages.base.errors import run_without_arguments
from stages.compute import hardware

N_CLIPS = 24
SEMITONES, RATE = 1.3, 1.07
LIBRARIES = ("librosa", "numba", "numpy", "scipy", "soxr")
Effect = Callable[[Samples], Samples]


def main() -> None:
    hardware.limit(1)
    rate_hz = params.read().audio.sample_rate_hz
    rng = np.random.default_rng(0)  # neither uses it
    _, signals, data = recordings.some(N_CLIPS, rate_hz)

    def ours(signal: Samples) -> Samples:
        stretched: Samples = stretch.apply(signal, rate_hz, rng, rate=RATE)
        return stretched

    def librosas(signal: Samples) -> Samples:
        stretched: Samples = librosa.effects.time_stretch(signal, rate=RATE)
        return stretched

    rows = [
        _row(
            f"pitch by {SEMITONES} semitones",
            "`librosa.effects.pitch_shift`",
            signals,
            lambda signal: pitch.apply(signal, rate_hz, rng, semitones=SEMITONES),
            lambda signal: librosa.effects.pitch_shift(signal, sr=rate_hz, n_steps=SEMITONES),
        ),
        _row(f"stretch by {RATE}", "`librosa.effects.time_stretch`", signals, ours, librosas),
    ]
    exact = [librosas(signal.astype(np.float64)) for signal in signals[:10]]
    off = {
        "ours": _off([ours(signal) for signal in signals[:10]], exact),
        "librosa": _off([librosas(signal) for signal in signals[:10]], exact),
    }
    record.write("augment", data, rows, LIBRARIES, stretch_off_double_precision=off)


def _row(what: str, against: str, signals: list[Samples], ours: Effect, theirs: Effect) -> Row:
    seconds = measure.alternate(
        {"ours": lambda: [ours(s) for s in signals], "theirs": lambda: [theirs(s) for s in signals]}
    )
    return Row.per_clip(what, against, seconds, len(signals), "at least 1")


def _off(found: list[Samples], exact: list[Samples]) -> float:
    """Returns the largest difference, as a fraction of its clip's peak."""
    pairs = zip(found, exact, strict=True)
    return max(float(abs(one - other).max() / abs(other).max()) for one, other in pairs)


if __name__ == "__main__":
    run_without_arguments(main)
