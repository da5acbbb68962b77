from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stages.base.errors import InputError
from stages.learning.preprocessing import Clips, Partition
from stages.learning.ridge import RidgeTrainer, clip_groups, held_out


@pytest.fixture
def train() -> Partition:
    rng = np.random.default_rng(4)
    y = np.tile(np.arange(3), 20)
    x = (rng.normal(size=(60, 5)) + 2 * np.eye(5)[y]).astype(np.float32)
    return Partition(x, np.ones(60, np.int64), y, ["a", "b", "c"], np.repeat([*"pqrs"], 15))


def test_held_out_scores_equal_those_of_fits_without_the_speaker(train: Partition) -> None:
    x, targets = train.x.astype(float), np.eye(3)[train.y]
    kernel = x @ x.T + 1
    penalties = 0.4 / np.random.default_rng(7).uniform(0.5, 2, len(x))
    scores = held_out(kernel, targets, train.speakers, penalties)
    for speaker in "pqrs":
        own = train.speakers == speaker
        dual = np.linalg.solve(kernel[np.ix_(~own, ~own)] + np.diag(penalties[~own]), targets[~own])
        np.testing.assert_allclose(scores[own], kernel[np.ix_(own, ~own)] @ dual, rtol=1e-8)


def test_the_stored_matrix_scores_as_the_kernel_does(train: Partition, tmp_path: Path) -> None:
    trainer = RidgeTrainer([0.4])
    _, fitted = trainer.fit(train, None, tmp_path, seed=0)
    x = train.x.astype(float)
    kernel = x @ x.T + 1
    expected = kernel @ np.linalg.solve(kernel + 0.4 * np.eye(60), np.eye(3)[train.y] - 1 / 3)
    model = trainer.load(tmp_path, 3)
    (tmp_path / trainer.file).unlink()  # it was read
    np.testing.assert_allclose(model(train), expected, atol=1e-6)
    scores, labels = fitted["held_out"]
    assert fitted["n_parameters"] == 18 and 0.8 < (scores.argmax(axis=1) == labels).mean() <= 1


def test_balanced_classes_count_alike(train: Partition, tmp_path: Path) -> None:
    """A class with half the clips is fitted as if each of them were there twice."""
    few = train.y == 2
    rows = np.concatenate([np.flatnonzero(~few), np.flatnonzero(few)[::2]])  # 20, 20 and 10 clips
    part = Partition(train.x[rows], train.lengths[rows], train.y[rows], train.classes, train.speakers[rows])
    RidgeTrainer([0.4], balanced=True).fit(part, None, tmp_path, seed=0)
    twice = np.concatenate([rows, rows[part.y == 2]])  # each of the 10 counts as two of 50 / 60 each
    x, weight = train.x[twice].astype(float), 50 / 60
    targets = np.eye(3)[train.y[twice]] - 1 / 3
    kernel = x @ x.T + 1
    dual = np.linalg.solve(kernel + np.eye(60) * 0.4 / weight, targets)
    expected = (train.x @ x.T + 1) @ dual
    np.testing.assert_allclose(RidgeTrainer([0.4]).load(tmp_path, 3)(train), expected, atol=1e-6)


def test_two_fits_have_the_same_bytes(train: Partition, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        RidgeTrainer([0.1, 0.4]).fit(train, None, tmp_path / name, seed=0)
    assert (tmp_path / "one/ridge.npz").read_bytes() == (tmp_path / "two/ridge.npz").read_bytes()


def test_copies_train_and_do_not_validate(train: Partition, tmp_path: Path) -> None:
    original = np.arange(60) < 40
    part = replace(train, original=original)
    trainer = RidgeTrainer([0.4, 40.0])
    _, every = trainer.fit(train, None, tmp_path, seed=0)
    weights = (tmp_path / trainer.file).read_bytes()
    _, fitted = trainer.fit(part, None, tmp_path, seed=0)
    scores, labels = fitted["held_out"]
    np.testing.assert_array_equal(scores, every["held_out"][0][original])
    np.testing.assert_array_equal(labels, train.y[original])
    assert (tmp_path / trainer.file).read_bytes() == weights  # they still train


def test_one_speaker_is_validated_by_held_out_clips(train: Partition, tmp_path: Path) -> None:
    one = Partition(train.x, train.lengths, train.y, train.classes, np.full(60, "p"))
    _, fitted = RidgeTrainer([0.4]).fit(one, None, tmp_path, seed=0)
    x = train.x.astype(float)
    scores = held_out(x @ x.T + 1, np.eye(3)[train.y] - 1 / 3, np.arange(60) // 12, np.full(60, 0.4))
    np.testing.assert_array_equal(fitted["held_out"][0], scores)
    assert (scores.argmax(axis=1) == train.y).mean() > 0.7


def test_held_out_clips_of_one_speaker_are_of_all_classes() -> None:
    y = np.repeat([0, 1, 2], [50, 20, 10])  # named by emotion, so that neighbours are of one class
    groups = clip_groups(y, np.arange(80))
    assert all(set(y[groups == group]) == {0, 1, 2} for group in range(5))


@pytest.mark.parametrize("n_clips", [(8, 8, 8), (200, 198, 197)])
def test_a_held_out_clip_and_its_copies_are_held_out_together(n_clips: tuple[int, ...]) -> None:
    recordings = np.arange(sum(n_clips))
    parents = np.random.default_rng(0).permutation(np.concatenate([recordings] * 3))  # copies anywhere
    groups = clip_groups(np.repeat([0, 1, 2], n_clips)[parents], parents)
    assert all(len(set(groups[parents == each])) == 1 for each in recordings)


def test_mistakes_are_named(train: Partition, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ridge\.npz"):
        RidgeTrainer([0.4]).load(tmp_path, 3)(train)
    RidgeTrainer([0.4]).fit(train, None, tmp_path, seed=0)
    with pytest.raises(InputError, match=r"ridge\.npz.*inputs \(60, 4\)"):
        RidgeTrainer([0.4]).load(tmp_path, 3)(Clips(train.x[:, :4], train.lengths))
