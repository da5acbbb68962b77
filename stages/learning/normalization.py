"""Operating points: by whose statistics clips are standardised, and so what is known of a new speaker.

What `train.normalize` names is done to a clip's vector, or to its frames in the layouts with a time axis:

- `global`: nothing; the preprocessor standardises by the training clips;
- `corpus`, `speaker`: the mean and standard deviation of a corpus's or a speaker's own clips, the unlabelled
  test clips included;
- `enrol`: the speaker's mean is removed, estimated from a few other clips of the speaker;
- `cluster`: as `enrol`, from the clips of a batch that resemble each other in voice.

Means from few clips are shrunk towards the training speakers' mean, as in the prediction of random effects:
(sum of n clips + ratio x mean) / (n + ratio), where ratio is the variance within over that between speakers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stages.base import npz
from stages.base.errors import InputError
from stages.base.params import Train
from stages.data import keys
from stages.learning.preprocessing import LARGEST, MIN_STD, WITHOUT_TIME_AXIS, Frames, moments

if TYPE_CHECKING:  # a bundle starts without it
    import pandas as pd

SPEAKER_MEANS = "speaker_means.npz"  # of a fold, for `enrol` and `cluster`
GROUPED_BY = {"corpus": ["role", "corpus"], "speaker": ["speaker"]}  # columns whose values define a group
BY_SPEAKER_MEAN = ("enrol", "cluster")
BY_SPEAKER = ("speaker", *BY_SPEAKER_MEAN)
COUNTS = {"enrol": "enrolled_clips", "cluster": "clusters"}  # the setting of `train` that belongs to it

N_PRINCIPAL = 200  # components that the voices' discriminant analysis is computed in
N_VOICE = 12  # dimensions in which voices are clustered
MOST_RATIO = 1e3  # where speakers do not differ, a mean of few clips is that of training
N_STARTS = 10  # of k-means

Vectors = NDArray[np.float32]  # (n_clips, n_dims)

logger = logging.getLogger(__name__)


def statistics(train: Mapping[str, Any]) -> str:
    """Returns which statistics of test speakers a result uses, as metric files and tables say it.

    Args:
        train: the block `train` of params.yaml.

    Examples:
        >>> statistics({"normalize": "global"}), statistics({"normalize": "enrol", "enrolled_clips": 8})
        ('none', 'enrol 8')
    """
    normalize = train["normalize"]
    if normalize in COUNTS:
        return f"{normalize} {train[COUNTS[normalize]]}"
    return "none" if normalize == "global" else str(normalize)


def check(normalize: str, layout: str, place: str) -> None:
    """Raises InputError if clips of a layout cannot be standardised in this way."""
    if normalize in BY_SPEAKER_MEAN and layout not in WITHOUT_TIME_AXIS:
        raise InputError(
            f"params.train.normalize: '{normalize}' needs a layout without a time axis "
            f"({', '.join(WITHOUT_TIME_AXIS)}), but {place}.layout is '{layout}'. "
            "Choose global, corpus or speaker."
        )


def check_speakers(normalize: str, rows: pd.DataFrame) -> None:
    """Checks that training speakers have other recordings, whose mean can be subtracted.

    Args:
        rows: of the fold; columns clip, speaker, role and, if there are copies, parent.

    Raises:
        InputError: no training speaker has; or `enrol` or `cluster` have no two speakers to compare.
    """
    n_clips = _clips_of_speakers(normalize, rows)
    if normalize in BY_SPEAKER_MEAN and len(n_clips) < 2:
        raise InputError(
            f"params.train.normalize: '{normalize}' needs two or more training speakers, and a fold has only "
            f"{n_clips.index[0]}. Choose global, corpus or speaker."
        )
    if len(n_clips) and (n_clips == 1).all():
        raise InputError(
            f"params.train.normalize: '{normalize}' subtracts the mean of each speaker's recordings, but "
            "every training speaker has only one, of which nothing is left. Choose global or corpus."
        )


def warn_of_single_recordings(normalize: str, rows: pd.DataFrame) -> None:
    """Warns of training speakers with one recording, which is subtracted from itself; `rows` as above."""
    n_clips = _clips_of_speakers(normalize, rows)
    if n_alone := int((n_clips == 1).sum()):
        logger.warning(
            "train.normalize '%s' subtracts a recording from itself for %d of %d training speakers",
            *(normalize, n_alone, len(n_clips)),
        )


def _clips_of_speakers(normalize: str, rows: pd.DataFrame) -> pd.Series:
    """Returns the number of recordings by training speaker, of none where their means are not subtracted."""
    return (
        rows[(normalize in BY_SPEAKER) & (rows["role"] == "train") & _original(rows)]
        .groupby("speaker")
        .size()
    )


def standardized(clips: Sequence[Frames], rows: pd.DataFrame, normalize: str) -> list[Frames]:
    """Returns the clips, with `corpus` or `speaker` each group's by its own mean and standard deviation.

    Both are computed without augmented copies: test speakers have none, and the noise in those of training
    speakers would make the two differ.

    Args:
        clips: (n_frames, n_dims) each.
        rows: of the clips; columns clip and, with `corpus`, corpus and role; with `speaker`, speaker. A copy
            is a row with a column parent that differs from clip.
        normalize: `params.train.normalize`.

    Examples:
        >>> import pandas as pd
        >>> rows = pd.DataFrame({"clip": ["a", "b", "c"], "speaker": ["x", "x", "y"]})
        >>> clips = [np.full((1, 1), value, np.float32) for value in (1, 3, 9)]
        >>> [clip.item() for clip in standardized(clips, rows, "speaker")]
        [-1.0, 1.0, 0.0]
    """
    if normalize not in GROUPED_BY:
        return list(clips)
    out = list(clips)
    original = _original(rows)
    for members in rows.groupby(GROUPED_BY[normalize]).indices.values():
        mean, std = moments(clips[i] for i in members if original[i])
        for i in members:
            out[i] = ((clips[i] - mean) / std).astype(np.float32)
    return out


def prepared(
    clips: Sequence[Frames], rows: pd.DataFrame, settings: Train
) -> tuple[list[Frames], SpeakerMeans | None]:
    """Returns the vectors of a fold standardised for training, and what standardises those of new speakers.

    Args:
        clips: (1, n_dims) each.
        rows: of the clips; columns clip, parent, corpus, speaker and role. Validation clips are standardised
            as those of new speakers.
    """
    if settings.normalize not in BY_SPEAKER_MEAN:
        return standardized(clips, rows, settings.normalize), None
    vectors, in_train = np.concatenate(clips), (rows["role"] == "train").to_numpy()
    own = rows[in_train]
    speakers, used = own["speaker"].to_numpy(str), _original(own)
    means = SpeakerMeans.fit(vectors[in_train][used], speakers[used], voice=settings.normalize == "cluster")
    out = np.empty_like(vectors)
    out[in_train] = means.removed_by_speaker(vectors[in_train], own)
    if not in_train.all():
        out[~in_train] = means.removed(vectors[~in_train], rows[~in_train], settings)
    return [*out[:, None]], means


def _original(rows: pd.DataFrame) -> NDArray[np.bool_]:
    """Returns of each row whether it is a recording, not a copy: (n_rows,)."""
    return (rows.get("parent", rows["clip"]) == rows["clip"]).to_numpy()


def by_statistics_of(
    clips: Iterable[Frames], settings: Train, means: SpeakerMeans | None
) -> Callable[[Frames], Frames]:
    """Returns what standardises a new clip by the statistics of others, as those of a test speaker.

    Args:
        clips: the others, of the same speaker for `enrol` and `speaker`, a batch for `corpus` and `cluster`,
            (n_frames, n_dims) each, or (1, n_dims) in the layouts without a time axis.
        settings: `params.train`; `normalize` is not `global`.
        means: of `enrol` and `cluster`, else None.
    """
    if means is None:
        mean, std = moments(clips)
        return lambda clip: np.asarray((clip - mean) / std, np.float32)
    vectors = np.concatenate([*clips])
    if settings.normalize == "cluster":
        return means.clustered(vectors, settings.clusters, settings.seed)
    of_speaker = means.of(vectors)
    return lambda clip: np.asarray(clip - of_speaker, np.float32)


@dataclass(frozen=True)
class SpeakerMeans:
    """How the training speakers' means differ, to estimate that of a new speaker from a few clips.

    Attributes:
        mean: float64 (n_dims,), over the training speakers' means.
        ratio: float64 (n_dims,), the variance within speakers over that between their means.
        std: float64 (n_dims,), over the training clips.
        voice: float32 (n_dims, n_voice), from standardised clips to the dimensions that separate the
            training speakers best: a linear discriminant analysis; none where voices are not clustered.
    """

    mean: NDArray[np.float64]
    ratio: NDArray[np.float64]
    std: NDArray[np.float64]
    voice: NDArray[np.float32]

    @classmethod
    def fit(cls, vectors: Vectors, speakers: NDArray, *, voice: bool) -> SpeakerMeans:
        """Returns what is fitted on training clips.

        Args:
            vectors: (n_clips, n_dims).
            speakers: (n_clips,).
            voice: whether to fit what `clustered` needs.

        Raises:
            InputError: there is only one speaker.
        """
        names, speaker = np.unique(speakers, return_inverse=True)
        if len(names) < 2:
            raise InputError(
                "params.train.normalize: 'enrol' and 'cluster' need two or more training speakers."
            )
        counts = np.bincount(speaker)
        means = np.stack([vectors[speaker == i].mean(axis=0, dtype=np.float64) for i in range(len(names))])
        within = np.square(vectors - means[speaker]).sum(axis=0) / max(len(vectors) - len(names), 1)
        # A mean of n clips varies by within / n more than the speakers do.
        between = np.maximum(means.var(axis=0, ddof=1) - within * (1 / counts).mean(), within / MOST_RATIO)
        ratio = np.divide(within, between, out=np.zeros_like(within), where=between > 0)
        std = np.maximum(vectors.std(axis=0, dtype=np.float64), MIN_STD)
        made = cls(means.mean(axis=0), ratio, std, np.zeros((vectors.shape[1], 0), np.float32))
        if voice:
            made = replace(made, voice=_discriminants(made._standardized(vectors), speaker))
        return made

    def _standardized(self, vectors: Vectors) -> Vectors:
        return np.clip((vectors - self.mean) / self.std, -LARGEST, LARGEST).astype(np.float32)

    def of(self, vectors: Vectors) -> NDArray[np.float64]:
        """Returns the estimated mean of one speaker, (n_dims,), from n clips (n, n_dims); n may be 0."""
        total = vectors.sum(axis=0, dtype=np.float64) + self.ratio * self.mean
        weight = len(vectors) + self.ratio
        return np.where(weight > 0, total / np.where(weight > 0, weight, 1), self.mean)

    def removed(self, vectors: Vectors, rows: pd.DataFrame, settings: Train) -> Vectors:
        """Returns the vectors of new speakers' clips without the means that `settings.normalize` estimates.

        Args:
            vectors: (n_clips, n_dims).
            rows: of the clips; columns clip, speaker and, where there are copies, parent.
        """
        if settings.normalize == "cluster":
            return self.clustered(vectors, settings.clusters, settings.seed)(vectors)
        return self.enrolled(vectors, rows, settings.enrolled_clips, settings.seed)

    def removed_by_speaker(self, vectors: Vectors, rows: pd.DataFrame) -> Vectors:
        """Returns the vectors of training clips without the mean of each speaker's recordings."""
        out, original = np.empty_like(vectors), _original(rows)
        for members in rows.groupby("speaker").indices.values():
            mean = vectors[members[original[members]]].mean(axis=0, dtype=np.float64)
            out[members] = vectors[members] - mean
        return out

    def enrolled(self, vectors: Vectors, rows: pd.DataFrame, n_clips: int, seed: int) -> Vectors:
        """Returns the vectors without their speakers' means, each from `n_clips` other clips of the speaker.

        Which ones is sampled by the clip's name, so fewer are a part of more; a speaker with fewer other
        clips is enrolled with all of them.

        Args:
            vectors: (n_clips, n_dims).
            rows: columns clip and speaker; and parent, where there are copies.
            n_clips: 0 or more.
            seed: of the sample.
        """
        out, original = np.empty_like(vectors), _original(rows)
        for members in rows.groupby("speaker").indices.values():
            for i in members:
                others = members[original[members] & (members != i)]
                chosen = keys.rng(seed, "enrol", str(rows["clip"].iloc[i])).permutation(others)[:n_clips]
                out[i] = vectors[i] - self.of(vectors[np.sort(chosen)])
        return out

    def clustered(self, vectors: Vectors, n_clusters: int, seed: int) -> Callable[[Vectors], Vectors]:
        """Returns what removes from vectors the mean of the cluster of similar voices that is nearest.

        Args:
            vectors: (n_clips, n_dims), of a batch in which k-means finds the clusters.
            n_clusters: at most; not more than there are clips.
            seed: of k-means.

        Raises:
            InputError: scikit-learn is missing.
        """
        try:
            from sklearn.cluster import KMeans
        except ImportError as error:  # a bundle needs it for nothing else
            raise InputError(
                "train.normalize 'cluster': needs scikit-learn. Run `pip install scikit-learn`."
            ) from error
        model = KMeans(min(n_clusters, len(vectors)), n_init=N_STARTS, random_state=seed)
        cluster = model.fit_predict(self._standardized(vectors) @ self.voice)
        means = np.stack([self.of(vectors[cluster == number]) for number in range(model.n_clusters)])

        def removed(some: Vectors) -> Vectors:
            nearest = model.predict(self._standardized(some) @ self.voice)
            return np.asarray(some - means[nearest], np.float32)

        return removed

    def save(self, path: Path) -> None:
        """Writes the arrays as npz, the same bytes for the same values."""
        npz.write(path, **asdict(self))

    @classmethod
    def load(cls, path: Path) -> SpeakerMeans:
        """Returns what `save` wrote.

        Raises:
            InputError: the file is missing or was not written by `save`.
        """
        with npz.written_by_train(path, "speakers' means") as stored:
            made = cls(**stored)
            vectors = (made.mean, made.ratio, made.std)
            if made.voice.ndim != 2 or any(each.shape != made.voice.shape[:1] for each in vectors):
                raise ValueError("the arrays differ in shape")
            if not all(np.isfinite(each).all() for each in (*vectors, made.voice)) or (made.std <= 0).any():
                raise ValueError("an array is out of range")
        return made


def _discriminants(standardized: Vectors, speaker: NDArray[np.int64]) -> NDArray[np.float32]:
    """Returns the directions that separate the speakers best, (n_dims, at most N_VOICE)."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    # The kernel's eigenvectors: far fewer clips than dimensions. Components without variance are left out.
    variances, left = np.linalg.eigh(standardized @ standardized.T)
    n_components = min(N_PRINCIPAL, len(standardized) - len(np.unique(speaker)))
    kept = np.flatnonzero(variances > variances[-1] * 1e-6)[::-1][: max(n_components, 1)]
    principal = standardized.T @ (left[:, kept] / np.sqrt(variances[kept]))
    analysis = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto")
    analysis.fit(standardized @ principal, speaker)
    n_voice = min(N_VOICE, len(np.unique(speaker)) - 1)
    return np.asarray(principal @ analysis.scalings_[:, :n_voice], np.float32)
