from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from stages.base.files import RAW
from stages.reporting import examples
from tests.support import manifests, runs
from tests.support.predictions import predictions


def named(**columns: list[str]) -> pd.DataFrame:
    n = len(next(iter(columns.values())))
    table = pd.DataFrame(columns).assign(repetition=1, corpus="c", clip=[f"c/{i}" for i in range(n)])
    for name, value in {"channel": "speech", "intensity": "normal"}.items():
        if name not in table:
            table[name] = value
    return table


def test_clips_are_those_of_the_speaker_and_sentence_with_the_most_emotions() -> None:
    clips = named(
        emotion=["anger", "anger", "fear", "neutral", "sadness"],
        speaker=["a", "b", "b", "b", "a"],
        sentence=["1", "2", "2", "1", "2"],
    )
    chosen = examples.one_per_emotion(clips)
    # b's sentence 2 has two emotions, b said neutral too, and sadness is only a's
    assert chosen["clip"].tolist() == ["c/1", "c/2", "c/3", "c/4"]


def test_speech_is_preferred_to_song() -> None:
    clips = named(
        emotion=["anger", "fear", "anger", "fear"],
        speaker=["a", "a", "b", "b"],
        sentence=["1"] * 4,
        channel=["song", "song", "speech", "speech"],
    )
    assert examples.one_per_emotion(clips)["clip"].tolist() == ["c/2", "c/3"]


def test_all_eight_clips_of_ravdess_are_of_one_actor_and_sentence() -> None:
    chosen = examples.one_per_emotion(manifests.ravdess())
    assert chosen["emotion"].is_unique
    assert len(chosen) == 8
    assert chosen["speaker"].unique().tolist() == ["ravdess/01"]
    assert len(chosen["sentence"].unique()) == 1


def test_the_choice_does_not_depend_on_the_order_of_the_table() -> None:
    clips = manifests.ravdess()
    shuffled = clips.sample(frac=1, random_state=3)
    pd.testing.assert_frame_equal(examples.one_per_emotion(clips), examples.one_per_emotion(shuffled))


def test_song_is_paired_with_the_same_sentence_spoken() -> None:
    clips = named(
        emotion=["anger", "fear", "fear", "fear"],
        speaker=["a", "a", "b", "b"],
        sentence=["1"] * 4,
        channel=["speech", "song", "song", "speech"],
    )
    pair = examples.speech_and_song(clips)
    assert pair is not None
    assert pair["clip"].tolist() == ["c/3", "c/2"]
    assert pair["channel"].tolist() == ["speech", "song"]
    assert examples.speech_and_song(clips.iloc[:2]) is None


def test_the_copy_with_the_most_augmentations_is_shown() -> None:
    copies = pd.DataFrame(
        {
            "clip": ["a#1", "b#1", "c#1"],
            "parent": ["a", "b", "c"],
            "drawn": [
                '{"gain": {"gain_db": 1.0}}',
                '{"gain": {"gain_db": 1.0}, "noise": {"snr_db": 20.0}}',
                '{"gain": {"gain_db": 1.0}, "noise": {"snr_db": 20.0}, "pitch": {"semitones": 1.0}}',
            ],
        }
    )
    chosen = examples.augmented_copy(copies, pd.Series(["a", "b"]))
    assert chosen is not None
    assert chosen["clip"] == "b#1"
    assert examples.augmented_copy(copies, pd.Series(["d"])) is None


def test_the_samples_of_a_copy_are_read_from_its_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runs.copy(tmp_path, ["p/a", "p/bb"])
    samples = examples.read_copy(pd.Series({"clip": "p/bb#1", "shard": "copies.npz"}))
    np.testing.assert_array_equal(samples, runs.voice("p/bb", 3).astype(np.float32))


def test_the_hardest_clips_have_the_lowest_probability_of_their_label() -> None:
    table = predictions(["anger", "fear", "neutral"], ["anger", "neutral", "neutral"])
    table.loc[2, ["p_anger", "p_fear", "p_neutral"]] = [0.9, 0.05, 0.05]
    hardest = examples.hardest(table, 2)
    assert hardest["clip"].tolist() == ["c/0002", "c/0001"]
    assert hardest[["label", "p_label", "predicted", "p_predicted"]].to_numpy().tolist() == [
        ["neutral", 0.05, "anger", 0.9],
        ["fear", 0.2, "neutral", 0.7],
    ]


def test_with_several_seeds_a_clip_is_listed_once_with_its_mean_probability() -> None:
    first = predictions(["anger", "fear"], ["anger", "neutral"])
    second = predictions(["anger", "fear"], ["fear", "fear"], seed=21)
    hardest = examples.hardest(pd.concat([first, second]), 5)
    assert hardest["clip"].tolist() == ["c/0000", "c/0001"]
    assert hardest["p_label"].tolist() == pytest.approx([0.45, 0.45])


def test_a_player_contains_the_beginning_of_the_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / RAW).mkdir(parents=True)
    loud = np.sin(np.arange(8 * 16_000) / 5) * 1.5
    soundfile.write(tmp_path / RAW / "long.wav", loud, 16_000, subtype="FLOAT")
    address = examples.player("long.wav", 16_000)
    assert address == examples.player("long.wav", 16_000)
    kind, _, encoded = address.partition(";base64,")
    assert kind == "data:audio/flac"
    samples, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(encoded)))
    assert (len(samples), rate_hz) == (examples.LONGEST_PLAYED_S * 16_000, 16_000)
    without_mean = loud - loud.mean()
    assert np.abs(samples - np.clip(without_mean[: len(samples)], -1, 1)).max() < 1e-4
