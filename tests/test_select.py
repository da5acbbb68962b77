"""What select refuses before anything is computed."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages import select
from stages.base.errors import InputError
from stages.base.files import SELECTED
from tests.support.workspace import Workspace


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("models__svm__c", "abc"),
        ("models__svm__inputs__layout", "frames"),
        ("models__svm__foo", 1),
        ("train__normalize", "speakr"),
        ("spectrum__hop_length", 0),
        ("evaluate__n_resamples", 0),
        ("predict__sure", 2),
        ("report__n_audio", -1),
    ],
)
def test_every_block_is_checked_before_a_later_stage_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: object
) -> None:
    monkeypatch.chdir(tmp_path)
    Workspace(tmp_path).set(**{key: value})
    with pytest.raises(InputError, match=rf"params\.{key.replace('__', r'.')}: "):
        select.main()
    assert not SELECTED.exists()


def test_a_models_features_must_be_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    work = Workspace(tmp_path)
    work.set(model="gru", models__gru__inputs__features=["mfcc", "zcr"], featurize__features=["mfcc", "rms"])
    with pytest.raises(
        InputError, match=r"models\.gru\.inputs\.features: 'zcr' .*featurize\.features, mfcc, rms"
    ):
        select.main()
    assert not SELECTED.exists()
    work.set(featurize__features=["zcr", "mfcc"])
    select.main()
    assert sorted(path.name for path in SELECTED.iterdir()) == [
        "augmentations.json",
        "corpora.json",
        "features.json",
        "models.json",
    ]
