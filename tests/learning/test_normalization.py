"""Operating points: what is removed from clips, and that it is estimated as the method says."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.base.errors import InputError
from stages.learning import normalization
from stages.learning.normalization import N_VOICE, SpeakerMeans, standardized

N_SPEAKERS, N_CLIPS, N_DIMS = 16, 30, 20
RNG = np.random.default_rng(5)


def spoken(spread: float, n_speakers: int = N_SPEAKERS) -> tuple[np.ndarray, pd.DataFrame]:
    """Returns clips of unit variance whose speakers' means have the standard deviation `spread`."""
    means = RNG.normal(0, spread, (n_speakers, N_DIMS))
    speaker = np.repeat(np.arange(n_speakers), N_CLIPS)
    vectors = (means[speaker] + RNG.normal(size=(len(speaker), N_DIMS))).astype(np.float32)
    names = [f"c/{i:03d}" for i in range(len(speaker))]
    return vectors, pd.DataFrame({"clip": names, "parent": names, "speaker": [f"s{i}" for i in speaker]})


@pytest.fixture(scope="module")
def fitted() -> SpeakerMeans:
    vectors, rows = spoken(2.0)
    return SpeakerMeans.fit(vectors, rows["speaker"].to_numpy(str), voice=True)


def test_each_speaker_is_standardised_by_their_own_recordings() -> None:
    vectors, rows = spoken(1.0, n_speakers=2)
    copies = pd.DataFrame({"clip": ["c/000#1"], "parent": ["c/000"], "speaker": ["s0"]})
    every = [*vectors[:, None], vectors[:1] + 5]
    out = standardized(every, pd.concat([rows, copies]), "speaker")
    for own in (out[:N_CLIPS], out[N_CLIPS:-1]):
        np.testing.assert_allclose(np.concatenate(own).mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(np.concatenate(own).std(axis=0), 1, atol=1e-5)
    assert (out[-1] > out[0]).all()  # the copy stays as far from its parent as augmentation put it


def test_validation_clips_are_standardised_apart_from_their_corpus_in_training() -> None:
    vectors, rows = spoken(1.0, n_speakers=2)
    rows = rows.assign(corpus="c", role=np.where(rows["speaker"] == "s0", "train", "validation"))
    out = standardized([*vectors[:, None]], rows, "corpus")
    np.testing.assert_allclose(np.concatenate(out[:N_CLIPS]).mean(axis=0), 0, atol=1e-5)


def test_the_ratio_of_variances_is_that_of_the_clips(fitted: SpeakerMeans) -> None:
    assert np.median(fitted.ratio) == pytest.approx(1 / 2.0**2, rel=0.4)
    assert fitted.voice.shape == (N_DIMS, min(N_VOICE, N_SPEAKERS - 1))


def test_speakers_who_do_not_differ_are_enrolled_with_the_training_mean() -> None:
    vectors, rows = spoken(0.0)
    means = SpeakerMeans.fit(vectors, rows["speaker"].to_numpy(str), voice=True)
    off = np.abs(means.of(vectors[:1] + 3) - means.mean)
    assert np.median(off) < 0.3  # of 3, a clip that far away


def test_a_mean_is_between_that_of_training_and_that_of_the_clips(fitted: SpeakerMeans) -> None:
    np.testing.assert_allclose(fitted.of(np.zeros((0, N_DIMS), np.float32)), fitted.mean, rtol=1e-12)
    clips = np.full((4, N_DIMS), 7, np.float32)
    by_hand = (4 * 7 + fitted.ratio * fitted.mean) / (4 + fitted.ratio)
    np.testing.assert_allclose(fitted.of(clips), by_hand)


def test_a_clip_is_not_enrolled_with_itself_or_with_others_clips(fitted: SpeakerMeans) -> None:
    vectors, rows = spoken(2.0, n_speakers=2)
    before = fitted.enrolled(vectors, rows, 3, seed=1)
    changed = vectors.copy()
    changed[0] += 10
    after = fitted.enrolled(changed, rows, 3, seed=1)
    np.testing.assert_allclose(after[0] - before[0], 10, atol=1e-4)
    np.testing.assert_array_equal(after[N_CLIPS:], before[N_CLIPS:])


def test_more_enrolled_clips_estimate_a_speakers_mean_better(fitted: SpeakerMeans) -> None:
    vectors, rows = spoken(2.0)
    rest = [
        np.abs(fitted.enrolled(vectors, rows, n, seed=1).reshape(N_SPEAKERS, N_CLIPS, -1).mean(axis=1)).mean()
        for n in (0, 1, 4, 16)
    ]
    assert rest == sorted(rest, reverse=True)
    assert rest[-1] < rest[0] / 5


def test_clusters_are_the_speakers_of_a_batch(fitted: SpeakerMeans) -> None:
    vectors, rows = spoken(2.0, n_speakers=4)
    clustered = fitted.clustered(vectors, 4, seed=0)(vectors)
    by_speaker = fitted.removed_by_speaker(vectors, rows)
    assert np.abs(clustered - by_speaker).mean() < 0.1
    assert len(fitted.clustered(vectors[:2], 4, seed=0)(vectors[:2])) == 2  # fewer clips than clusters


def test_clusters_without_scikit_learn_are_a_sentence(
    fitted: SpeakerMeans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)  # as where it is not installed
    vectors, _ = spoken(2.0, n_speakers=4)
    with pytest.raises(InputError, match="scikit-learn"):
        fitted.clustered(vectors, 4, seed=0)


def test_one_training_speaker_is_an_error() -> None:
    vectors, rows = spoken(1.0, n_speakers=1)
    with pytest.raises(InputError, match=r"^params\.train\.normalize: "):
        SpeakerMeans.fit(vectors, rows["speaker"].to_numpy(str), voice=True)


def test_what_is_saved_is_loaded_and_others_files_are_rejected(fitted: SpeakerMeans, tmp_path: Path) -> None:
    path = tmp_path / "speaker_means.npz"
    fitted.save(path)
    first = path.read_bytes()
    SpeakerMeans.load(path).save(path)
    assert path.read_bytes() == first
    np.savez(path, mean=np.zeros(3), ratio=np.zeros(3), std=np.zeros(3), voice=np.zeros((3, 1)))
    with pytest.raises(InputError, match=r"speaker_means\.npz: .*`dvc repro train`"):
        SpeakerMeans.load(path)


@pytest.mark.parametrize("normalize", ["speaker", "enrol", "cluster"])
def test_speakers_with_one_recording_are_counted_and_only_such_are_refused(
    normalize: str, caplog: pytest.LogCaptureFixture
) -> None:
    rows = pd.DataFrame({"clip": list("abc"), "parent": list("abc"), "speaker": list("xyz"), "role": "train"})
    rows = pd.concat([rows, rows.assign(clip=rows["clip"] + "#1"), rows.assign(role="test")])
    normalization.check_speakers("global", rows)
    with pytest.raises(InputError, match=rf"^params\.train\.normalize: '{normalize}'"):
        normalization.check_speakers(normalize, rows)
    assert not caplog.records
    more = pd.DataFrame({"clip": ["d"], "parent": ["d"], "speaker": ["x"], "role": ["train"]})
    normalization.check_speakers(normalize, pd.concat([rows, more]))
    normalization.warn_of_single_recordings("global", pd.concat([rows, more]))
    assert not caplog.records
    normalization.warn_of_single_recordings(normalize, pd.concat([rows, more]))
    assert "2 of 3" in caplog.text


@pytest.mark.parametrize("normalize", ["enrol", "cluster"])
def test_one_training_speaker_has_none_to_be_compared_with(normalize: str) -> None:
    rows = pd.DataFrame({"clip": list("abc"), "speaker": list("xxy"), "role": ["train", "train", "test"]})
    normalization.check_speakers("speaker", rows)
    with pytest.raises(InputError, match=rf"^params\.train\.normalize: '{normalize}' .* x\."):
        normalization.check_speakers(normalize, rows)
