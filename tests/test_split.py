from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ruamel.yaml import YAML

from stages import split
from stages.base import params
from stages.base.errors import InputError
from stages.base.files import MANIFEST, METRICS, SPLITS
from stages.data import keys, tables
from tests.support import long_splits, manifests, shipped

SHIPPED = shipped.text()


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Returns a function that runs the stage on a manifest and returns its table and its metrics."""
    monkeypatch.chdir(tmp_path)

    def run(manifest: pd.DataFrame, corpus: list[str], **values: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
        block = YAML(typ="safe", pure=True).load(SHIPPED)
        block["corpus"] = corpus
        block["split"] |= values
        with params.PARAMS.open("w") as file:
            YAML().dump(block, file)
        tables.write(manifest, tables.MANIFEST, MANIFEST)
        split.main()
        return long_splits.read(), json.loads((METRICS / "split.json").read_text())

    return run


def test_the_stage_writes_table_and_metrics_the_same_each_time(stage: Any) -> None:
    manifest = manifests.ravdess()
    splits, metrics = stage(manifest, ["ravdess"])
    first = SPLITS.read_bytes()
    stage(manifest.sample(frac=1, random_state=0), ["ravdess"])
    assert SPLITS.read_bytes() == first
    assert len(splits) == 6 * 1440
    fractions = {
        emotion: pytest.approx((4 if emotion == "neutral" else 8) / 60)
        for emotion in manifest["emotion"].unique()
    }
    assert metrics == {
        "sha256": {"data/splits.parquet": keys.sha256(SPLITS)},
        "protocol": "speaker_independent",
        "leaky": False,
        "validation_shares_speakers": False,
        "validation_shares_sentences": True,
        "n_folds": 6,
        "n_clips": 1440,
        "n_speakers": 24,
        "n_excluded": {"problem": 0, "channel": 0, "label": 0, "protocol": 0},
        "train": {"clips": 960.0, "speakers": 16.0, "fraction": fractions},
        "validation": {"clips": 240.0, "speakers": 4.0, "fraction": fractions},
        "test": {"clips": 240.0, "speakers": 4.0, "fraction": fractions},
    }


def test_excluded_clips_are_counted_by_reason(stage: Any) -> None:
    speech, song = manifests.ravdess(), manifests.ravdess(channel="song").head(30)
    song["clip"] = song["clip"].str.replace("/03-01", "/03-02")
    song["path"] = song["clip"] + ".wav"
    manifest = pd.concat([speech, song, manifests.savee()], ignore_index=True)
    manifest.loc[manifest.index[:3], "problem"] = "silent"
    splits, metrics = stage(
        manifest,
        ["ravdess"],
        labels={"merge": {"calm": "neutral"}, "drop": ["surprise"]},
        protocol="random",
        n_folds=2,
    )
    # 8 strong and normal clips of surprise by each of 24 actors
    assert metrics["n_excluded"] == {"problem": 3, "channel": 30, "label": 192, "protocol": 0}
    assert metrics["leaky"] is True
    assert set(splits["corpus"]) == {"ravdess"}
    assert not {"calm", "surprise"} & set(splits["label"])
    assert (splits["label"] == "neutral").sum() == 2 * (24 * 12 - 3)


def test_labels_that_corpora_do_not_share_count_as_left_out_by_the_protocol(stage: Any) -> None:
    manifest = pd.concat([manifests.ravdess(), manifests.savee()], ignore_index=True)
    _, metrics = stage(manifest, ["savee", "ravdess"], protocol="cross_corpus")
    assert metrics["n_excluded"]["protocol"] == 192  # calm
    assert metrics["n_folds"] == 2


def test_shared_validation_speakers_are_recorded(stage: Any) -> None:
    _, metrics = stage(manifests.tess(20), ["tess"], protocol="leave_one_speaker_out")
    assert metrics["validation_shares_speakers"] is True
    assert metrics["leaky"] is False


def test_a_corpus_without_usable_clips_is_refused(stage: Any) -> None:
    with pytest.raises(InputError, match=r"^params\.corpus: .*'tess'.* 0\.$"):
        stage(manifests.ravdess(), ["ravdess", "tess"])
    with pytest.raises(InputError, match=r"^params\.corpus: .*'ravdess'.* 1440\.$"):
        stage(manifests.ravdess(), ["ravdess"], channels=["song"])


def test_the_error_for_a_corpus_without_usable_clips_names_what_excludes_them_only(stage: Any) -> None:
    manifest = manifests.ravdess()
    first, second, third = manifest["clip"].head(3)
    manifest["problem"] = "silent"
    manifest.loc[manifest.index[0], "problem"] = "short: 0.01 s"
    with pytest.raises(
        InputError,
        match=rf"^params\.corpus: .*'ravdess'.* 1440 .*\(1439 rows\) .*'{second}': silent; "
        r"data/manifest.* 1440\.$",
    ) as caught:
        stage(manifest, ["ravdess"])
    assert "params.split" not in str(caught.value)
    manifest["problem"] = ""
    manifest.loc[manifest["clip"].isin([first, third]), "problem"] = ["short: 0.01 s", "short: 0.02 s"]
    with pytest.raises(
        InputError,
        match=rf"2 have .*\(2 rows\) .*'{first}': short: 0\.01 s; "
        r"1438 are excluded by params\.split\.channels",
    ) as caught:
        stage(manifest, ["ravdess"], channels=["song"])
    assert "params.split.labels.drop" not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        ({"merge": {"calm": "neutral"}, "drop": ["calm"]}, "calm"),
        ({"merge": {"calm": "neutral"}, "drop": ["neutral"]}, "neutral"),
        ({"merge": {"calm": "neutral", "neutral": "sadness"}, "drop": []}, "neutral"),
        ({"merge": {"calm": "calm"}, "drop": []}, "calm"),
    ],
)
def test_a_label_has_one_treatment(stage: Any, labels: dict[str, Any], name: str) -> None:
    with pytest.raises(InputError, match=rf"params\.split\.labels: '{name}'"):
        stage(manifests.ravdess(), ["ravdess"], labels=labels)
