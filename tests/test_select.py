"""What select refuses before anything is computed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages import select
from stages.base.errors import InputError
from stages.base.files import SELECTED
from stages.base.params import PARAMS
from tests.support.workspace import ROOT, Workspace, pretend_edit
from tests.tools.test_ser import EXTRAS


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


def test_weights_may_be_missing_where_features_are_stored_but_must_not_be_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Workspace(tmp_path).set(featurize__features=["mfcc", "zcr", "rms", "logmel", "byol_s"])
    select.main()
    weights = Path("data/pretrained/byol_s.npz")
    assert f"params.features.byol_s.weights: {weights} missing" in caplog.text
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.write_bytes(b"other weights")
    with pytest.raises(InputError, match=r"^params\.features\.byol_s\.sha256: "):
        select.main()


def test_git_can_undo_what_dvc_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # DVC restores and changes params.yaml within a second, and Git compares whole seconds and sizes.
    monkeypatch.chdir(tmp_path)
    Workspace(tmp_path)
    os.utime(PARAMS, (1_700_000_000, 1_700_000_000))
    select.main()
    assert PARAMS.stat().st_mtime > 1_700_000_000


def test_it_needs_no_extra(tmp_path: Path) -> None:
    Workspace(tmp_path)
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({EXTRAS})); from stages import select; select.main()"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / SELECTED / "models.json").is_file()


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
        "robustness.json",
    ]


@pytest.mark.parametrize(
    "edited", ["tools/robustness.py", "augmentations/noise.py", "inference/bundle.py", "learning/profile.py"]
)
def test_an_edit_of_what_robustness_runs_makes_the_report_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edited: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Workspace(tmp_path)
    select.main()
    before = (SELECTED / "robustness.json").read_bytes()
    pretend_edit(edited, monkeypatch)
    select.main()
    assert (SELECTED / "robustness.json").read_bytes() != before
    pipeline = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())
    assert str(SELECTED / "robustness.json") in pipeline["stages"]["report"]["deps"]
