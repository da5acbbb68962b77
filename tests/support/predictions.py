"""Made-up predictions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from stages.data import tables

CLASSES = ["anger", "fear", "neutral"]


def predictions(truth: list[str], guess: list[str], **columns: Any) -> pd.DataFrame:
    """Returns a table of schema PREDICTIONS: 0.7 for the guess, 0.2 for the truth (or another), 0.1.

    All clips are of one speaker in one fold unless `columns` say otherwise.
    """
    probabilities = np.full((len(truth), len(CLASSES)), 0.1)
    for row, (true, guessed) in enumerate(zip(truth, guess, strict=True)):
        second = true if true != guessed else CLASSES[(CLASSES.index(guessed) + 1) % 3]
        probabilities[row, CLASSES.index(second)] = 0.2
        probabilities[row, CLASSES.index(guessed)] = 0.7
    table = pd.DataFrame(
        {
            "fold": 0,
            "seed": 20,
            "role": "test",
            "clip": [f"c/{i:04}" for i in range(len(truth))],
            "corpus": "c",
            "speaker": "c/s",
            "sex": "female",
            "sentence": "c/t",
            "audio_sha256": [f"{i:064x}" for i in range(len(truth))],
            "label": truth,
            "predicted": guess,
            **{f"p_{name}": probabilities[:, i] for i, name in enumerate(CLASSES)},
        }
    ).assign(**columns)
    return tables.PREDICTIONS.validate(table)


def of_speakers(n_right: list[int], n_clips: int) -> pd.DataFrame:
    """Returns predictions of anger, of which the first `n_right` clips of each speaker are correct."""
    guess = [name for n in n_right for name in ["anger"] * n + ["fear"] * (n_clips - n)]
    speakers = np.repeat([f"c/{i:02}" for i in range(len(n_right))], n_clips)
    return predictions(["anger"] * len(guess), guess, speaker=speakers)


def with_seeds(*tables_of_seeds: pd.DataFrame) -> pd.DataFrame:
    """Returns the predictions of the same clips by trainings with the seeds 20, 21, ..."""
    return pd.concat(
        [table.assign(seed=20 + i) for i, table in enumerate(tables_of_seeds)], ignore_index=True
    )


def pairs(
    n_speakers: int,
    n_clips: int,
    n_draws: int,
    gain: float = 0.0,
    n_seeds: int = 1,
    seed_effect: float = 0.0,
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Yields two models' predictions of newly sampled speakers, the second better by `gain`.

    The models' evidence for the true class is normal about a mean that differs from speaker to speaker, and
    for each speaker from model to model: a speaker may suit one model better, but on average neither.
    It also differs from training to training, with the standard deviation `seed_effect`.
    """
    rng = np.random.default_rng(n_speakers)
    speaker = np.repeat(np.arange(n_speakers), n_clips)
    truth = np.tile(np.arange(n_clips) % len(CLASSES), n_speakers)
    described = pd.DataFrame(
        {
            "fold": 0,
            "clip": np.char.mod("c/%05d", np.arange(len(truth))),
            "label": np.array(CLASSES)[truth],
            "speaker": np.char.mod("c/%02d", speaker),
        }
    )
    for _ in range(n_draws):
        ease = rng.normal(1.0, 0.6, n_speakers)
        both = []
        for more in (0.0, gain):
            suits = ease + more + rng.normal(0, 0.3, n_speakers)
            trainings = []
            for _ in range(n_seeds):
                evidence = rng.normal(size=(len(truth), len(CLASSES)))
                evidence[np.arange(len(truth)), truth] += suits[speaker] + rng.normal(0, seed_effect)
                probabilities = np.exp(evidence)
                probabilities /= probabilities.sum(axis=1, keepdims=True)
                columns = {f"p_{name}": probabilities[:, i] for i, name in enumerate(CLASSES)}
                trainings.append(described.assign(**columns))
            both.append(with_seeds(*trainings))
        yield both[0], both[1]
