"""What the page says about training clips is what the tables and evaluate say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stages.base import params
from stages.base.errors import InputError
from stages.base.files import FEATURES, PREDICTIONS
from stages.data import shards, tables
from stages.learning import dataset
from stages.page.training_clips import TrainingClips
from tests.faults import trained
from tests.support import long_splits
from tests.test_train import N_DIMS


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainingClips:
    monkeypatch.chdir(tmp_path)
    trained.leave(tmp_path, "svm", features__mfcc__n_mfcc=N_DIMS, train__fold="all")
    return TrainingClips(params.read())


def test_the_lesson_has_each_clip_with_and_without_its_speaker(clips: TrainingClips) -> None:
    lesson = clips.lesson
    assert set(lesson.groupby("clip")["role"].agg(frozenset)) == {frozenset({"test", "train"})}
    predictions = tables.read(PREDICTIONS, tables.PREDICTIONS).set_index("clip")
    unknown = lesson[lesson["role"] == "test"]
    expected = [predictions.loc[row.clip, f"p_{row.label}"] for row in unknown.itertuples()]
    np.testing.assert_allclose(unknown["p_label"], expected, atol=1e-6)


def test_other_splits_than_the_models_are_refused(clips: TrainingClips) -> None:
    splits = long_splits.read()
    folds = splits["fold"].max() - splits["fold"]  # who was trained on whom is another
    long_splits.write(splits.assign(fold=folds))
    with pytest.raises(InputError, match="is not the one that"):
        TrainingClips(params.read())


def test_a_leaky_protocol_has_no_lesson(clips: TrainingClips) -> None:
    split = clips.params.split.model_copy(update={"protocol": "random"})
    clips.params = clips.params.model_copy(update={"split": split})
    assert clips.lesson.empty


def test_the_nearest_clip_of_each_label_is_found(
    clips: TrainingClips, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = clips.rows.iloc[7]
    index = tables.read(dataset.INDEX, tables.FEATURES)
    stored = shards.read_features(index[index["clip"] == own["clip"]], ["mfcc"], FEATURES)
    monkeypatch.setattr(clips, "_extract", lambda samples: {"mfcc": stored[own["clip"]]})
    found = clips.nearest(np.zeros(1, np.float32))
    assert found["clip"].iloc[0] == own["clip"] and found["distance"].iloc[0] < 1e-5
    assert sorted(found["label"]) == sorted(set(clips.rows["label"]))
    assert found["distance"].is_monotonic_increasing and found["distance"].iloc[-1] < 1.2
