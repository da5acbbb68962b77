"""How many points of accuracy are lost when test speakers are new, or gained by a change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.base.errors import InputError
from stages.base.files import PREDICTIONS
from stages.data import tables
from stages.evaluation import metrics, paired


def predictions(places: Sequence[Path]) -> pd.DataFrame:
    """Returns the predictions in several workspaces, each of another seed, of schema PREDICTIONS."""
    found = [tables.read(place / PREDICTIONS, tables.PREDICTIONS) for place in places]
    return pd.concat(found, ignore_index=True)


def check_same_clips(changed: pd.DataFrame, base: pd.DataFrame, place: str) -> None:
    """Checks that a variant was tested on the clips of the one that it changes, with the same labels.

    Raises:
        InputError: names `place` and a clip.
    """
    columns = ["seed", "clip", "label"]
    tested = [set(each[columns].itertuples(index=False, name=None)) for each in (changed, base)]
    if different := tested[0] ^ tested[1]:
        raise InputError(
            f"{place}: {len(different)} test clips differ from those of the variant `against`, such as "
            f"{min(different)[1]}. Give both the same corpora, labels and splits."
        )


def points(
    name: str, first: pd.DataFrame, second: pd.DataFrame, n_resamples: int, seed: int
) -> dict[str, float]:
    """Returns the first accuracy minus the second and the ends of its 95 % interval, in [-1, 1].

    One of them may test fewer clips, so each accuracy is that of its own test clips. Both are computed on the
    same resamples of speakers. Over several seeds, the variance of the difference between seeds is
    added: see `paired.margin`. Without two speakers there is no interval.

    Args:
        name: of the difference; its ends are `name`_low and `name`_high.
        first, second: predictions with the same seeds, of schema PREDICTIONS.

    >>> clips = pd.DataFrame({"seed": 0, "speaker": list("aabb"), "label": "anger"})
    >>> first = clips.assign(p_anger=[1, 1, 1, 0], p_fear=[0, 0, 0, 1])
    >>> second = clips.assign(p_anger=[0, 0, 1, 0], p_fear=[1, 1, 0, 1])
    >>> found = points("lost", first, second, n_resamples=100, seed=20)
    >>> found["lost"], found["lost_low"] <= 0 <= found["lost_high"]
    (0.5, True)
    """
    both = [_counts(each) for each in (first, second)]
    speakers = sorted(set.union(*(set(counts.index.unique("speaker")) for counts in both)))
    sums = [counts.groupby("speaker").sum().reindex(speakers, fill_value=0).to_numpy() for counts in both]
    difference = float(_difference(*(each.sum(axis=0) for each in sums)))
    if len(speakers) < 2:
        return {name: difference}
    drawn = metrics.resample_speakers(len(speakers), n_resamples, seed)
    resampled = _difference(*(drawn @ each for each in sums))
    resampled = resampled[np.isfinite(resampled)]  # a resample may have only speakers that one does not test
    variances, freedoms = [metrics.standard_error(resampled, sums[1][:, 1]) ** 2], [len(speakers) - 1]
    seeds = _difference(*(counts.groupby("seed").sum().to_numpy() for counts in both))
    if len(seeds) > 1:
        variances.append(seeds.var(ddof=1) / len(seeds))
        freedoms.append(len(seeds) - 1)
    margin = paired.margin(variances, freedoms)
    return {
        name: difference,
        f"{name}_low": max(difference - margin, -1.0),
        f"{name}_high": min(difference + margin, 1.0),
    }


def _counts(tested: pd.DataFrame) -> pd.DataFrame:
    """Returns the number of right clips and of clips, by seed and speaker."""
    rows = tested[["seed", "speaker"]].assign(right=metrics.correct(tested), clips=1)
    return rows.groupby(["seed", "speaker"]).sum()


def _difference(first: NDArray[np.number], second: NDArray[np.number]) -> NDArray[np.float64]:
    """Returns the difference of accuracies of counts (..., 2): right clips and clips."""
    with np.errstate(invalid="ignore"):
        return np.asarray(first[..., 0] / first[..., 1] - second[..., 0] / second[..., 1])
