"""What select refuses before anything is computed."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages import select
from stages.base.errors import InputError
from stages.base.files import SELECTED
from tests.support.workspace import Workspace


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
