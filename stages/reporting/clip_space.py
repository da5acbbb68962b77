"""Clips as points: a few plain measures of each, all its features pooled over time, and what both separate.

Where neighbours are clips of the same speaker rather than of the same label, a test on random clips measures
who speaks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.base.files import FEATURES
from stages.data import keys, shards
from stages.learning.preprocessing import Frames, pool

Points = NDArray[np.float32]  # (n_clips, n_dims)
MOST_CLIPS = 4000  # in the space, whose time grows with the square; they are drawn by their names
N_COMPONENTS = 50  # kept before t-SNE, as van der Maaten & Hinton 2008 do
PERPLEXITY = 30.0
MEASURES = {
    "duration_s": "duration, s",
    "level_dbfs": "level of the active frames, dB re full scale",
    "active_fraction": "active fraction",
    "bandwidth_hz": "bandwidth, Hz",
    "level_range_db": "5th to 95th percentile of the level, dB",  # of few pauses, less than the SNR
    "level_std_db": "standard deviation of the level, dB",
    "tilt_db": "spectral tilt, dB",
    "zcr": "zero-crossing rate",
}


def of_clips(clips: pd.DataFrame, names: Sequence[str]) -> tuple[pd.DataFrame, Points]:
    """Returns the measures of each clip, columns of MEASURES, and its pooled features, standardised.

    Only one shard's frames are in memory at a time. Measures whose feature is not stored are left out.

    Args:
        clips: columns clip, shard, duration_s, level_dbfs, level_range_db, active_s and bandwidth_hz.
        names: the features to pool, which have the same frames.
    """
    measured: dict[str, dict[str, float]] = {}
    pooled: dict[str, Frames] = {}
    for _, rows in clips.groupby("shard"):
        stored = {name: shards.read_features(rows, [name], FEATURES) for name in names}
        for clip in rows["clip"]:
            frames = {name: stored[name][clip] for name in names}
            measured[clip] = _measures(frames)
            pooled[clip] = pool(np.concatenate([*frames.values()], axis=1), "stats")[0]
    table = clips.set_index("clip")
    active = (table["active_s"] / table["duration_s"]).clip(upper=1).rename("active_fraction")
    measures = table[["duration_s", "level_dbfs", "level_range_db", "bandwidth_hz"]].join(active)
    measures = measures.join(pd.DataFrame.from_dict(measured, orient="index"))
    points = np.array([pooled[clip] for clip in clips["clip"]])
    std = points.std(axis=0)
    points = (points - points.mean(axis=0)) / np.where(std > 0, std, 1)
    return measures[[name for name in MEASURES if name in measures]], points.astype(np.float32)


def _measures(frames: dict[str, Frames]) -> dict[str, float]:
    """Returns the measures that are made from one clip's frames."""
    found: dict[str, float] = {}
    if "rms" in frames:
        level_db = 20 * np.log10(np.maximum(frames["rms"][:, 0], 1e-6))
        found["level_std_db"] = float(level_db.std())
    if "logmel" in frames:
        middle = frames["logmel"].shape[1] // 2
        low, high = frames["logmel"][:, :middle], frames["logmel"][:, middle:]
        found["tilt_db"] = float(high.mean() - low.mean())
    if "zcr" in frames:
        found["zcr"] = float(frames["zcr"].mean())
    return found


def drawn(clips: pd.DataFrame, seed: int, most: int = MOST_CLIPS) -> pd.DataFrame:
    """Returns at most `most` of the clips, sampled by seed and name, in their order."""
    order = pd.Series([keys.fingerprint(seed, clip) for clip in clips["clip"]], index=clips.index)
    return clips[order.rank() <= most]


def eta_squared(values: pd.Series, groups: pd.Series) -> float:
    """Returns the fraction of the variance of `values` that is between groups, in [0, 1] (Fisher 1925).

    >>> eta_squared(pd.Series([1.0, 1.0, 3.0, 3.0]), pd.Series(["a", "a", "b", "b"]))
    1.0
    >>> eta_squared(pd.Series([1.0, 3.0, 1.0, 3.0]), pd.Series(["a", "a", "b", "b"]))
    0.0
    """
    values = values.astype(float)
    between = values.groupby(groups.to_numpy()).transform("mean") - values.mean()
    total = ((values - values.mean()) ** 2).sum()
    return float((between**2).sum() / total) if total > 0 else 0.0


def effects(measures: pd.DataFrame, labels: pd.Series, speakers: pd.Series) -> pd.DataFrame:
    """Returns eta squared of each measure by label, by speaker, and by label within speakers.

    Within speakers: of what is left when each speaker's mean is removed. Sorted by label.

    Args:
        measures: a row per clip; clips without a value of a measure do not count for it.
        labels: of the clips, in the same order.
        speakers: of the clips, in the same order.
    """
    rows = {}
    for name in measures:
        values = measures[name].reset_index(drop=True).dropna()
        label, speaker = (column.reset_index(drop=True)[values.index] for column in (labels, speakers))
        within = values - values.groupby(speaker).transform("mean")
        rows[name] = {
            "label": eta_squared(values, label),
            "speaker": eta_squared(values, speaker),
            "label within speakers": eta_squared(within, label),
        }
    return pd.DataFrame.from_dict(rows, orient="index").sort_values("label", ascending=False)


def neighbours(points: Points, labels: pd.Series, speakers: pd.Series) -> dict[str, tuple[float, float]]:
    """Returns how often the nearest other clip is of the same speaker or label, and how often by chance.

    `same label, other speaker` looks among clips of other speakers only: what helps with a new speaker.
    Chance is the same fraction of all pairs.
    """
    label, speaker = labels.to_numpy(), speakers.to_numpy()
    same_label, same_speaker = label[:, None] == label, speaker[:, None] == speaker
    distance = _distances(points)
    np.fill_diagonal(distance, np.inf)
    nearest = distance.argmin(axis=1)
    others = np.where(same_speaker, np.inf, distance)
    apart = np.isfinite(others).any(axis=1)
    rows = np.arange(len(points))
    off = ~np.eye(len(points), dtype=bool)
    found = {
        "same speaker": (same_speaker[rows, nearest].mean(), same_speaker[off].mean()),
        "same label": (same_label[rows, nearest].mean(), same_label[off].mean()),
    }
    if apart.any():
        elsewhere = same_label[rows, others.argmin(axis=1)][apart].mean()
        found["same label, other speaker"] = (elsewhere, same_label[~same_speaker].mean())
    return {name: (float(seen), float(chance)) for name, (seen, chance) in found.items()}


def _distances(points: Points) -> NDArray[np.float32]:
    """Returns the squared Euclidean distance of each pair: (n_clips, n_clips)."""
    squares = np.square(points).sum(axis=1)
    return np.asarray(squares[:, None] + squares - 2 * points @ points.T)


def plane(points: Points, seed: int) -> Points:
    """Returns a place in the plane for each clip, by t-SNE: (n_clips, 2). Near clips stay near.

    Distances between groups mean nothing there (van der Maaten & Hinton 2008).
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    n_kept = min(N_COMPONENTS, *points.shape)
    reduced = PCA(n_kept, random_state=seed).fit_transform(points)
    perplexity = min(PERPLEXITY, (len(points) - 1) / 3)
    placed = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(reduced)
    return np.asarray(placed, dtype=np.float32)
