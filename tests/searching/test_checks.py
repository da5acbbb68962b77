"""What may be searched, what it is validated on, and what begins a new study."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pandas as pd
import pytest

from stages.base import registry
from stages.base.errors import InputError
from stages.searching import checks, space
from stages.splitting import protocols
from tests.support import long_splits, manifests, shipped
from tests.support.workspace import pretend_edit

SHIPPED = shipped.values()


def chosen(**changes: Any) -> dict[str, Any]:
    """Returns the shipped values with some changed, underscores twice for dots."""
    return space.changed(SHIPPED, {key.replace("__", "."): value for key, value in changes.items()})


def check(*settings: str, **changes: Any) -> None:
    parameters, fixed = space.parse(settings)
    checks.check(parameters, space.changed(chosen(**changes), fixed))


@pytest.mark.parametrize(
    "settings",
    [
        [
            "models.svm.c=log(0.1, 100)",
            "models.svm.gamma=choice(scale, auto)",
            "features.mfcc.n_mfcc=int(13, 40)",
        ],
        ["audio.level_db=choice(null, -20.0)", "train.use_augmented=choice(true, false)"],
        ["models.svm.inputs.features=choice([mfcc], [mfcc, rms])", "augment.copies=int(0, 2)"],
        ["augmentations.noise.probability=float(0, 1)"],
        # each is valid only beside another value of the other than the present one
        [
            *("spectrum.n_fft=choice(128, 256)", "spectrum.hop_length=choice(64, 128)"),
            *("spectrum.n_mels=10", "features.mfcc.n_mfcc=5"),
        ],
        [
            "model=ridge",
            "models.ridge.inputs.layout=mean",
            "models.ridge.class_weights=choice(none, balanced)",
        ],
        [
            "model=cnn1d",
            "training.learning_rate=log(0.0001, 0.01)",
            "models.cnn1d.convolutions.0.filters=int(8, 64)",
        ],
    ],
)
def test_what_changes_training_can_be_searched(settings: list[str]) -> None:
    check(*settings)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("models.svm.cc=log(1, 9)", r"params\.models\.svm: no 'cc'.*Choose from c, "),
        ("models.svm.c=float(-1, 9)", r"params\.models\.svm\.c: -1\.0 is not valid.*greater than 0"),
        ("models.svm.gamma=choice(scale, sacle)", r"params\.models\.svm\.gamma: 'sacle' is not valid"),
        ("features.mfcc.n_mfcc=float(13, 40)", r"params\.features\.mfcc\.n_mfcc: 13\.0 is not valid"),
        ("models.svm.inputs.features=choice([mfcc], [mfc])", r"params\.models\.svm\.inputs\.features.*'mfc'"),
        ("features.mfcc.n_mfcc=int(13, 300)", r"params\.features\.mfcc\.n_mfcc: 300 .* 128 mel bands"),
        ("split.n_folds=int(3, 6)", r"split\.n_folds cannot be searched.*models, training"),
        ("train.seed=int(1, 9)", r"train\.seed cannot be searched"),
        ("train.normalize=choice(global, speaker)", r"train\.normalize cannot be searched"),
        ("model=choice(svm, mlp)", r"model cannot be searched"),
        ("models.mlp.alpha=log(0.1, 1)", r"models\.mlp\.alpha changes nothing.*'svm'"),
        ("training.learning_rate=log(0.1, 1)", r"training\.learning_rate changes nothing.*'svm'"),
        ("features.onnx.rate_hz=int(8000, 16000)", r"features\.onnx\.rate_hz changes nothing"),
    ],
)
def test_what_cannot_be_searched_is_an_error_with_its_key(setting: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check(setting)


def test_augmentation_changes_nothing_for_a_model_that_does_not_use_it() -> None:
    with pytest.raises(InputError, match=r"augmentations\.noise\.probability changes nothing"):
        check("augmentations.noise.probability=float(0, 1)", train__use_augmented=False)


def test_a_model_whose_own_key_overrides_the_shared_one_cannot_search_that() -> None:
    with pytest.raises(InputError, match=r"training\.precision changes nothing.*'cnn1d'"):
        check("training.precision=choice(float32, bfloat16)", model="cnn1d")


def test_a_protocol_that_shares_speakers_is_rejected() -> None:
    with pytest.raises(InputError, match=r"params\.split\.protocol: 'random' validates on speakers"):
        check("models.svm.c=log(1, 9)", split__protocol="random")


def training_rows(manifest: pd.DataFrame, values: dict[str, Any]) -> pd.DataFrame:
    """Returns the train and validation rows of the splits, as the search reads them."""
    clips = manifest.assign(label=manifest["emotion"])
    splits = long_splits.rows_of(protocols.assign(clips, checks.valid(values).split, seed=20))
    rows = splits[splits["role"].isin(["train", "validation"])]
    return rows.merge(clips[["clip", "speaker", "audio_sha256"]], how="left")


@pytest.mark.parametrize(
    ("corpus", "changes", "message"),
    [
        ("ravdess", {}, None),
        ("ravdess", {"model": "mlp"}, None),
        ("ravdess", {"split__protocol": "leave_one_speaker_out", "split__validation_fraction": 0.0}, None),
        (
            "ravdess",
            {"model": "mlp", "split__protocol": "leave_one_speaker_out", "split__validation_fraction": 0.0},
            r"params\.split\.validation_fraction: 0 leaves fold 0 .*'mlp'",
        ),
        ("tess", {"split__protocol": "leave_one_speaker_out"}, r"fold 0 has one training speaker.*'svm'"),
    ],
)
def test_every_fold_needs_validation_speakers_of_its_own(
    corpus: str, changes: dict[str, Any], message: str | None
) -> None:
    values = chosen(**changes)
    rows = training_rows(getattr(manifests, corpus)(), values)
    if message is None:
        checks.check_validation(checks.valid(values), rows)
        return
    with pytest.raises(InputError, match=message):
        checks.check_validation(checks.valid(values), rows)


def test_a_validation_speaker_who_trains_too_is_rejected() -> None:
    values = chosen(model="mlp")
    rows = training_rows(manifests.ravdess(), values)
    speaker = rows.loc[rows["role"] == "validation", "speaker"].iloc[0]
    mixed = rows.assign(
        role=rows["role"].where(rows.index != rows.index[rows["speaker"] == speaker][0], "train")
    )
    with pytest.raises(InputError, match=f"validates on {speaker}, who is trained on"):
        checks.check_validation(checks.valid(values), mixed)


def differs(settings: list[str], before: tuple[Any, Any], after: tuple[Any, Any]) -> list[str]:
    """Returns of what the fingerprints differ, of two pairs of values and rows."""
    parameters, _ = space.parse(settings)
    first, second = (
        checks.made_from(parameters, params, rows, checks.code_of(params))
        for params, rows in ((checks.valid(values), rows) for values, rows in (before, after))
    )
    return [name for name in first if first[name] != second[name]]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"models__svm__c": 3.0}, []),  # what is searched
        ({"models__gru__dropout": 0.5}, []),  # of another model
        ({"compute__workers": 1}, []),
        ({"evaluate__n_resamples": 100}, []),
        ({"models__svm__kernel": "linear"}, ["settings"]),
        ({"features__mfcc__n_mfcc": 13}, ["settings"]),
        ({"seed": 21}, ["settings"]),
        ({"train__fold": 0}, ["settings"]),
        ({"model": "mlp"}, ["settings", "code"]),
        ({"featurize__features": ["logmel", "mfcc", "rms", "zcr"]}, ["settings", "code"]),
    ],
)
def test_a_study_belongs_to_the_settings_that_are_not_searched(
    changes: dict[str, Any], expected: list[str]
) -> None:
    rows = training_rows(manifests.savee(), SHIPPED)
    found = differs(["models.svm.c=log(1, 9)"], (SHIPPED, rows), (chosen(**changes), rows))
    assert found == expected


def test_a_shared_training_key_that_is_searched_is_no_setting_of_the_study() -> None:
    rows = training_rows(manifests.savee(), SHIPPED)
    before, after = (chosen(model="gru", training__learning_rate=rate) for rate in (0.1, 0.01))
    assert differs(["training.learning_rate=log(0.001, 1)"], (before, rows), (after, rows)) == []


def test_a_study_belongs_to_training_data_code_and_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = training_rows(manifests.savee(), SHIPPED)
    other = rows.assign(audio_sha256=["0" * 64, *rows["audio_sha256"].iloc[1:]])
    settings = ["models.svm.c=log(1, 9)"]
    assert differs(settings, (SHIPPED, rows), (SHIPPED, other)) == ["data"]
    (first, _), (second, _) = space.parse(settings), space.parse(["models.svm.c=log(1, 10)"])
    params = checks.valid(SHIPPED)
    code = checks.code_of(params)
    made = [checks.made_from(each, params, rows, code) for each in (first, second)]
    assert [name for name in made[0] if made[0][name] != made[1][name]] == ["parameters"]
    for file in ("models/svm.py", "audio/spectrum.py", "learning/training.py", "augmentations/noise.py"):
        with monkeypatch.context() as edited:
            pretend_edit(file, edited)
            assert checks.code_of(params) != code
    other_code = checks.made_from(first, params, rows, "other")
    assert [name for name in other_code if other_code[name] != made[0][name]] == ["code"]


@pytest.mark.slow
def test_tensorflow_is_loaded_quietly() -> None:
    code = "from stages.searching import checks; from stages.base.params import load; "
    code += "from pathlib import Path; checks.valid(load(Path('params.yaml')) | {'model': 'gru'})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=registry.STAGES.parent, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
