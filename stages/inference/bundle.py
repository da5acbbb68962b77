"""Applies a trained model to recordings of any length: `bundle.load(path).predict(samples, rate)`.

Needs numpy, scipy.fft, soxr, soundfile, pydantic and onnxruntime: no DVC, TensorFlow, librosa or pandas. The
features are computed by the code that made the training features.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import asdict, dataclass, replace
from itertools import groupby, islice
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stages.audio import extractor, quality, recording
from stages.audio.recording import AudioError, Recording, Samples
from stages.base import params
from stages.base.errors import InputError, unknown
from stages.inference import facts as facts_file
from stages.inference import onnx, silero, windows
from stages.inference.facts import Facts
from stages.learning import normalization, profile
from stages.learning.normalization import BY_SPEAKER_MEAN, SPEAKER_MEANS, SpeakerMeans
from stages.learning.preprocessing import WITHOUT_TIME_AXIS, Clips, Frames
from stages.learning.windows import Preparation, means

Status = Literal["answered", "unsure", "warned", "abstained", "failed"]
DONE: dict[str, Status] = {
    "answer": "answered",
    "warn": "warned",
    "abstain": "abstained",
}  # as params.predict
SPEECH = ("levels", "silero")
LEAST_SPEECH = 0.25  # of a window, for Silero's answer to count as speech
N_SHOWN = 3  # reasons in a message
AT_ONCE = 64  # windows whose features are in memory together
OF_SPEAKER = ("enrol", "speaker")  # `train.normalize` that needs others of the same speaker, not of a batch


@dataclass(frozen=True)
class Window:
    """A part of a recording, or all of it.

    Attributes:
        start_s, end_s: in the recording.
        speech: whether it has usable speech.
        status: `answered`; `unsure`: the answer's confidence was too often wrong in validation; `warned`:
            unlike the training data; `abstained`: no usable speech; `failed`: not a recording.
        reason: for a status other than `answered`.
        probabilities: by emotion, their sum is 1; empty where the status is `abstained` or `failed`.
    """

    start_s: float
    end_s: float
    speech: bool
    status: Status
    reason: str
    probabilities: dict[str, float]

    @property
    def emotion(self) -> str:
        """The most probable emotion, "" without an answer."""
        return max(self.probabilities, key=self.probabilities.__getitem__, default="")

    @property
    def confidence(self) -> float:
        """The probability of `emotion`, 0 without an answer."""
        return max(self.probabilities.values(), default=0.0)

    def top(self, n: int) -> list[tuple[str, float]]:
        """Returns the `n` most probable emotions and their probabilities, the most probable first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])[:n]


@dataclass(frozen=True)
class Prediction(Window):
    """What a model says about a recording: of several windows, the mean of those with speech.

    Attributes:
        timeline: the windows, in order; one for a recording that is not longer than the training clips.
    """

    timeline: tuple[Window, ...] = ()


@dataclass(frozen=True)
class Fold:
    """One of the models whose mean is the answer.

    Attributes:
        preparation: makes its input of clips.
        probabilities: of that input, float64 (n_windows, n_classes).
        profile: of its training clips.
        means: of `train.normalize: enrol` and `cluster`, else None.
        standardize: standardises a clip by the statistics of others: see `Bundle.adapted`.
    """

    preparation: Preparation
    probabilities: Callable[[Clips], NDArray[np.float64]]
    profile: profile.Profile
    means: SpeakerMeans | None = None
    standardize: Callable[[Frames], Frames] | None = None

    def prepared(self, clips: Sequence[Frames]) -> tuple[Clips, NDArray[np.int64]]:
        """Returns what `preparation` does, of clips standardised by the statistics of others."""
        begun = self.preparation.before_statistics(clips)
        if self.standardize is not None:
            begun = [self.standardize(each) for each in begun]
        return self.preparation.after_statistics(begun)


SpeechFraction = Callable[[Samples, int], float]
_Examined = tuple[Window, Frames | None]


class Bundle:
    """A trained model with all that is needed to use it.

    Attributes:
        facts: its settings, labels, thresholds and origin.
        folds: the models; the answer is the mean of their probabilities.
        left_out: of the recordings given to `adapted`, why each of those without usable speech was not used.
    """

    left_out: tuple[str, ...] = ()

    def __init__(self, facts: Facts, folds: list[Fold], speech: str = "levels") -> None:
        """Takes the parts of a bundle.

        Args:
            folds: in the order of `facts.folds`.
            speech: how windows without speech are found: `levels`, by their levels and bandwidth, or
                `silero`, which also knows music from speech (extra `speech`).

        Raises:
            InputError: `speech` is neither, or the features' settings are not valid.
        """
        if speech not in SPEECH:
            raise unknown("speech", speech, SPEECH)
        self.facts, self.folds = facts, folds
        self._extract = extractor.extractor(facts, list(facts.features), "features")
        self._speech = silero.detector() if speech == "silero" else None
        self.window_s = facts.quantile_s(profile.QUANTILES.index(0.5))
        self.whole_s = max(self.window_s, facts.quantile_s(-1) * facts.predict.duration_factor)

    @property
    def classes(self) -> list[str]:
        """The emotions it knows."""
        return self.facts.classes

    def adapted(self, paths: Iterable[Path]) -> Bundle:
        """Returns the bundle with the statistics of recordings, which need no labels.

        A model that was trained with another `train.normalize` than `global` answers with them only. In the
        layouts without a time axis, the vectors of all windows are in memory together.

        Args:
            paths: with `enrol` and `speaker`, of recordings of the speaker whose others are to be predicted;
                with `corpus` and `cluster`, of the batch to be predicted.

        Raises:
            InputError: the model needs none, or no recording has usable speech.
        """
        train = self.facts.train
        if train.normalize == "global":
            raise InputError(
                f"{self.facts.model} was trained with train.normalize 'global', which uses no statistics of "
                "other recordings. Predict without them, or train with another value: docs/protocols.md."
            )
        left_out: list[str] = []
        clips = self._usable(paths, left_out)
        made = copy(self)
        if all(fold.preparation.preprocessor.layout in WITHOUT_TIME_AXIS for fold in self.folds):
            vectors = [
                [fold.preparation.before_statistics([frames])[0] for fold in self.folds] for frames in clips
            ]
            made.folds = [
                replace(fold, standardize=normalization.by_statistics_of(of_fold, train, fold.means))
                for fold, of_fold in zip(self.folds, zip(*vectors, strict=True), strict=True)
            ]
        else:
            standardize = normalization.by_statistics_of(clips, train, None)
            made.folds = [replace(fold, standardize=standardize) for fold in self.folds]
        made.left_out = tuple(left_out)
        return made

    def _usable(self, paths: Iterable[Path], left_out: list[str]) -> Iterator[Frames]:
        """Yields the features of each window with usable speech, and adds to `left_out` what has none.

        Raises:
            InputError: at the end, if there was no such window.
        """
        n_used = 0
        for path in paths:
            n_windows, reason = 0, ""
            for window, frames in self._of_file(path):
                reason = window.reason
                if frames is not None:
                    n_windows += 1
                    yield frames
            n_used += n_windows > 0
            if not n_windows:
                left_out.append(f"{path}: {reason}")
        if not n_used:
            shown = "; ".join(left_out[:N_SHOWN])
            raise InputError(
                f"none of the {len(left_out)} recordings for statistics has usable speech ({shown})."
            )

    def predict(self, samples: ArrayLike, rate_hz: int) -> Prediction:
        """Returns what the model says about a recording.

        Args:
            samples: float (n_samples,) or (n_samples, n_channels), full scale = 1; or int16.
            rate_hz: of the samples; any, they are resampled.

        Raises:
            InputError: the samples have another type or shape, are none, or are not finite; or the model
                needs the statistics of others: see `adapted`.

        Examples:
            >>> from stages.inference import bundle                     # doctest: +SKIP
            >>> model = bundle.load("model_bundle")                     # doctest: +SKIP
            >>> model.predict(samples, 16_000).emotion                  # doctest: +SKIP
            'happiness'
        """
        return self.predict_batch([samples], rate_hz)[0]

    def predict_batch(self, recordings: Sequence[ArrayLike], rate_hz: int) -> list[Prediction]:
        """Returns what `predict` does of each recording; the features of all are in memory together."""
        examined = [[*self._of_samples(samples, rate_hz)] for samples in recordings]
        answered = iter(self._answered([window for each in examined for window in each]))
        return [self._summary([*islice(answered, len(each))]) for each in examined]

    def predict_files(self, paths: Iterable[Path]) -> Iterator[Prediction]:
        """Yields what the model says about each file; memory does not grow with their number or length.

        A file that cannot be decoded has the status `failed` and the reason.

        Raises:
            InputError: the model needs the statistics of others: see `adapted`.
        """
        examined = ((number, each) for number, path in enumerate(paths) for each in self._of_file(path))
        for _, of_file in groupby(self._in_batches(examined), key=lambda pair: pair[0]):
            yield self._summary([window for _, window in of_file])

    def how_often_right(self, confidence: float) -> float | None:
        """Returns how often answers of such confidence were right on validation clips; None if unknown."""
        right = self.facts.right
        return right[min(int(confidence * len(right)), len(right) - 1)] if right else None

    def _of_samples(self, samples: ArrayLike, rate_hz: int) -> Iterator[_Examined]:
        array = full_scale(samples)
        array = array[:, None] if array.ndim == 1 else array
        if array.ndim != 2:
            raise InputError(f"samples: shape {array.shape}; give (n_samples,) or (n_samples, n_channels).")
        try:
            yield from self._examined([array], rate_hz)
        except AudioError as error:
            raise InputError(f"samples: {error}.") from error

    def _of_file(self, path: Path) -> Iterator[_Examined]:
        if unreadable := quality.why_unreadable(path):
            yield Window(0.0, 0.0, False, "failed", unreadable, {}), None
            return
        try:
            with recording.opened(path) as (rate_hz, _, blocks):
                yield from self._examined(blocks, rate_hz)
        except AudioError as error:
            yield Window(0.0, 0.0, False, "failed", str(error), {}), None

    def _examined(self, blocks: Iterable[Samples], rate_hz: int) -> Iterator[_Examined]:
        """Yields each window of a recording, not answered yet, and its features if it is to be answered."""
        for start_s, samples in windows.cut(blocks, rate_hz, self.whole_s, self.window_s, self.window_s / 2):
            mono = recording.mixed(samples, rate_hz)
            profiles = [fold.profile for fold in self.folds]
            action, reason, speech = judge(mono, profiles, self.facts, self._speech)
            window = Window(start_s, start_s + mono.duration_s, speech, DONE[action], reason, {})
            if action == "abstain":
                yield window, None
                continue
            features = self._extract(recording.resample(mono, self.facts.audio.sample_rate_hz))
            yield window, np.concatenate([*features.values()], axis=1)

    def _in_batches(self, examined: Iterable[tuple[int, _Examined]]) -> Iterator[tuple[int, Window]]:
        """Yields each window answered, with its number. A model that has to be loaded is so once a batch."""
        waiting = iter(examined)
        while batch := [*islice(waiting, AT_ONCE)]:
            numbers, some = zip(*batch, strict=True)
            yield from zip(numbers, self._answered(some), strict=True)

    def _answered(self, examined: Sequence[_Examined]) -> list[Window]:
        clips = [frames for _, frames in examined if frames is not None]
        rows = iter(self._probabilities(clips) if clips else ())
        return [
            window if frames is None else self._with(window, next(rows).tolist())
            for window, frames in examined
        ]

    def _probabilities(self, clips: list[Frames]) -> NDArray[np.float64]:
        """Returns the mean over the folds, float64 (n_clips, n_classes)."""
        normalize = self.facts.train.normalize
        if normalize != "global" and self.folds[0].standardize is None:
            raise InputError(
                f"{self.facts.model} was trained with train.normalize '{normalize}', so it needs other "
                f"recordings{' of the speaker' if normalize in OF_SPEAKER else ''}. "
                "Pass them to `Bundle.adapted`, or use `ser predict`."
            )
        of_folds = []
        for fold in self.folds:
            prepared, n_windows = fold.prepared(clips)
            of_folds.append(means(fold.probabilities(prepared), n_windows))
        return np.asarray(np.mean(of_folds, axis=0))

    def _with(self, window: Window, probabilities: list[float]) -> Window:
        """Returns the window with an answer; `unsure` if nothing is worse and its confidence is too low."""
        answered = replace(window, probabilities=dict(zip(self.classes, probabilities, strict=True)))
        sure_above = self.facts.sure_above
        if window.status != "answered" or sure_above is None or answered.confidence > sure_above:
            return answered
        reason = f"not sure: {answered.emotion} at {answered.confidence:.2f}, below {sure_above:.2f}"
        return replace(answered, status="unsure", reason=reason)

    def _summary(self, timeline: list[Window]) -> Prediction:
        """Returns a recording's prediction from those of its windows."""
        first, last = timeline[0], timeline[-1]
        failed = [window for window in timeline if window.status == "failed"]
        if failed or len(timeline) == 1:
            return Prediction(**vars((failed or timeline)[0]), timeline=() if failed else (first,))
        answered = [window for window in timeline if window.probabilities]
        used = [window for window in answered if window.speech] or answered
        unlike = [window for window in used if window.status == "warned"]
        warned = 2 * len(unlike) > len(used)
        status: Status = "abstained" if not used else "warned" if warned else "answered"
        reasons = Counter(window.reason for window in (unlike if used else timeline))
        reason = "" if status == "answered" else reasons.most_common(1)[0][0]
        whole = Prediction(first.start_s, last.end_s, bool(used), status, reason, {}, tuple(timeline))
        if not used:
            return whole
        mean = np.mean([[*window.probabilities.values()] for window in used], axis=0)
        return self._with(whole, mean.tolist())  # type: ignore[return-value]


def full_scale(samples: ArrayLike) -> Samples:
    """Returns float32 samples, full scale = 1, of the same shape, from floats or int16.

    Raises:
        InputError: they are of another type, whose scale is not known.

    Examples:
        >>> full_scale(np.array([-32768, 16384], np.int16)).tolist()
        [-1.0, 0.5]
    """
    array = np.asarray(samples)
    if array.dtype == np.int16:
        return np.asarray(array / np.float32(2**15))
    if array.dtype.kind != "f":
        raise InputError(f"samples: type {array.dtype}; give floats, full scale = 1, or int16.")
    return array.astype(np.float32, copy=False)


class Limits(Protocol):
    """By what a recording is judged: parameters, or the facts of a bundle."""

    audio: params.Audio
    manifest: params.Manifest
    predict: params.Predict


def judge(
    mono: Recording, profiles: Sequence[profile.Profile], limits: Limits, speech: SpeechFraction | None = None
) -> tuple[str, str, bool]:
    """Returns answer, warn or abstain, the reason, and whether there is usable speech.

    Args:
        mono: the recording.
        profiles: of the training clips of each fold; it is unlike them if it is unlike each.
        limits: see `params.manifest` and `params.predict`.
        speech: returns which fraction of samples at a rate is speech; None trusts the levels.
    """
    measured = quality.measure(mono)
    if unusable := quality.problem(measured, limits.manifest):
        return limits.predict.excluded, unusable, False
    if speech is not None and (fraction := speech(mono.samples, mono.sample_rate_hz)) < LEAST_SPEECH:
        return limits.predict.excluded, f"no speech: {fraction:.0%} of the time by Silero", False
    values = profile.measures(asdict(measured), limits.audio.sample_rate_hz)
    unlike = [profile.unlike(values, each, limits.predict) for each in profiles]
    if all(unlike):
        return limits.predict.unlike, f"unlike the training data: {'; '.join(unlike[0])}", True
    return "answer", "", True


def load(path: str | Path, speech: str = "levels") -> Bundle:
    """Returns the bundle in a folder, ready to predict. Nothing in it is executed or unpickled.

    Args:
        path: of the folder that `ser bundle` wrote.
        speech: see `Bundle`.

    Raises:
        InputError: the folder is no bundle, a file in it is damaged or not one of the bundle's, or
            onnxruntime is missing.
    """
    folder = Path(path)
    facts = facts_file.read(folder)
    folds = []
    for fold in facts.folds:
        preparation = Preparation.load(folder / fold.folder, facts.pooling)
        file = folder / fold.folder / facts_file.PROBABILITIES
        answer = onnx.probabilities(file, preparation.preprocessor.shape, fold.padded, len(facts.classes))
        by_mean = facts.train.normalize in BY_SPEAKER_MEAN
        means = SpeakerMeans.load(folder / fold.folder / SPEAKER_MEANS) if by_mean else None
        folds.append(Fold(preparation, answer, fold.profile, means))
    return Bundle(facts_file.located(facts, folder), folds, speech)
