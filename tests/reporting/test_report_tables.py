from __future__ import annotations

import numpy as np
import pandas as pd

from stages.evaluation import metrics
from stages.reporting import page, report_tables
from tests.support import long_splits, manifests
from tests.support.predictions import of_speakers, predictions


def cells(table: page.Table) -> dict[str, list[str]]:
    return {row[0]: row[1:] for row in table.rows}


def test_scores_have_intervals_and_undefined_ones_are_left_out() -> None:
    table = of_speakers([1, 2, 3, 4], 4)
    test = metrics.summarize(table, "speaker_independent", 100, seed=0)
    made = report_tables.of_results(test, table, 100, seed=0)
    scores = cells(made["scores"])
    assert scores["UAR: mean recall of the emotions"] == [
        "0.625",
        f"{test['uar_low']:.3f} to {test['uar_high']:.3f}",
    ]
    assert scores["log loss, nats (best is 0)"][1] == ""
    assert not any("AUC, each" in name for name in scores)  # all clips are anger
    of_all = f"{test['accuracy_low']:.3f} to {test['accuracy_high']:.3f}"  # all clips are anger
    assert cells(made["emotions"]) == {"anger": ["0.625", of_all, "16"]}
    assert cells(made["groups"])["c"] == ["0.625", of_all, "0.625", "16"]
    assert cells(made["groups"])["worst speaker, c/00"] == ["0.250", "", "0.250", "4"]


def test_a_clip_of_several_seeds_counts_once_with_its_emotion() -> None:
    twice = pd.concat([of_speakers([1, 2], 4).assign(seed=seed) for seed in (20, 21)], ignore_index=True)
    assert report_tables.of_emotions(twice, 100, seed=0)["clips"].tolist() == [8]


def test_one_speaker_has_no_interval() -> None:
    table = of_speakers([3], 4)
    test = metrics.summarize(table, "speaker_independent", 100, seed=0)
    made = report_tables.of_results(test, table, 100, seed=0)
    assert all(interval == "" for _, interval in cells(made["scores"]).values())
    assert cells(made["emotions"]) == {"anger": ["0.750", "", "4"]}


def test_listeners_are_listed_with_the_groups() -> None:
    table = of_speakers([1, 2], 4)
    test = metrics.summarize(table, "speaker_independent", 100, seed=0) | {
        "human_uar": 0.43,
        "human_n_clips": 8,
    }
    assert cells(report_tables.of_results(test, table, 100, seed=0)["groups"])[
        "human listeners, audio only"
    ] == [
        "0.430",
        "",
        "",
        "8",
    ]


def test_speakers_are_named_without_the_corpus_if_there_is_only_one() -> None:
    table = of_speakers([1, 4], 4)
    alone = report_tables.of_speakers(table)
    assert alone.to_numpy().tolist() == [["00", "female", 0.25], ["01", "female", 1.0]]
    other = table.assign(corpus="d", speaker="d" + table["speaker"].str[1:], clip="d" + table["clip"].str[1:])
    both = report_tables.of_speakers(pd.concat([table, other], ignore_index=True))
    assert both["speaker"].tolist() == ["c/00", "c/01", "d/00", "d/01"]


def test_each_sex_has_its_interval_and_its_listeners() -> None:
    table = predictions(
        ["anger", "fear"] * 4,
        ["anger", "fear", "anger", "anger"] * 2,
        speaker=np.repeat(["c/1", "c/2", "c/3", "c/4"], 2),
        sex=np.repeat(["female", "male"], 4),
    )
    votes = pd.Series({"c/0000": "anger", "c/0001": "anger+fear"})  # women's first two clips
    scores = report_tables.of_sexes(table, votes, 100, seed=0)
    assert scores["uar"].tolist() == [0.75, 0.75, 0.75]
    assert scores["listeners"].tolist()[:2] == [0.5, 0.5]
    assert np.isnan(scores.loc["male", "listeners"])
    assert (scores["uar_low"] <= 0.75).all()


def test_roles_are_means_over_folds() -> None:
    clips = manifests.ravdess().assign(label=lambda table: table["emotion"])
    number = clips["speaker"].str[-2:].astype(int)
    splits = pd.concat(
        [
            clips.assign(fold=fold, role=np.where(number <= n_test, "test", "train"))
            for fold, n_test in enumerate([2, 4])
        ],
        ignore_index=True,
    )
    made = report_tables.of_split(long_splits.of_rows(splits))
    assert made["roles"].header == ["mean over folds", "train", "test"]
    assert list(cells(made["roles"]))[:5] == ["clips", "speakers", "female", "male", "anger"]
    assert [test for _, test in cells(made["roles"]).values()][:5] == ["180", "3", "1.5", "1.5", "24"]
    assert cells(made["folds"])["0"] == ["1320", "120", "01, 02"]


def test_many_speakers_are_counted() -> None:
    clips = manifests.ravdess().assign(label="anger", fold=0, role="test")
    assert cells(report_tables.of_split(long_splits.of_rows(clips))["folds"])["0"] == ["1440", "24 speakers"]


def test_usable_and_excluded_recordings_are_counted() -> None:
    manifest = manifests.ravdess().assign(duration_s=3.0, intensity="normal")
    manifest.loc[0, "problem"] = "silent: peak -80.0 dBFS"
    made = report_tables.of_recordings(manifest)
    assert cells(made["corpora"]) == {"ravdess, speech": ["1439", "24", "2", "72.0", "3.00 s"]}
    assert cells(made["by_sex"]) == {"ravdess, speech": ["720", "719"]}
    assert made["excluded"].header == ["corpus", "silent"]
    assert cells(made["excluded"]) == {"ravdess": ["1"]}
