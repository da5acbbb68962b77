"""Example recordings for the report, chosen by fixed rules, so that equal data give equal examples."""

from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
import pandas as pd
import soundfile

from stages.audio import recording
from stages.base.files import AUGMENTED, RAW
from stages.data import shards
from stages.evaluation import metrics

LONGEST_PLAYED_S = 6.0  # of one clip in the page; 16 kHz audio takes about 20 kB/s
SAMPLE_FORMAT = "PCM_16"


def one_per_emotion(clips: pd.DataFrame) -> pd.DataFrame:
    """Returns a clip per emotion, of the same speaker and sentence as far as possible.

    The clips are those of the (channel, speaker, sentence) with the most emotions, the first by name, speech
    before song. Emotions missing there are taken from the same speaker, or else from any speaker.

    Args:
        clips: columns emotion, channel, speaker, sentence, intensity, repetition and clip.
    """
    place = ["channel", "speaker", "sentence"]
    clips = clips.assign(**clips[["sentence", "intensity"]].fillna(""))
    n_emotions = clips.groupby(place)["emotion"].nunique().reset_index()
    fullest = n_emotions.sort_values(
        ["emotion", *place],
        ascending=[False, False, True, True],  # "speech" after "song"
    ).iloc[0]
    distance = clips[place].ne(fullest[place])
    order = distance.assign(**clips[["intensity", "repetition", "clip"]])
    nearest = clips.loc[order.sort_values(list(order.columns)).index].drop_duplicates("emotion")
    return nearest.sort_values("emotion", ignore_index=True)


def speech_and_song(clips: pd.DataFrame) -> pd.DataFrame | None:
    """Returns two clips, a speaker's sentence in one emotion spoken and sung; None if there are none.

    Args:
        clips: columns channel, corpus, speaker, sentence, emotion, intensity, repetition and clip.
    """
    key = ["speaker", "sentence", "emotion", "intensity", "repetition"]
    rows = clips.sort_values(["clip"]).dropna(subset=key).drop_duplicates([*key, "channel"])
    both = rows[rows.groupby(key)["channel"].transform("nunique") == 2].sort_values([*key, "channel"])
    return both.head(2).sort_values("channel", ascending=False) if len(both) else None


def augmented_copy(copies: pd.DataFrame, parents: pd.Series) -> pd.Series | None:
    """Returns the copy to show: of these parents, the one with the most augmentations; None if there is none.

    Args:
        copies: a table of schema AUGMENTED.
        parents: clips to choose from.
    """
    own = copies[copies["parent"].isin(parents)]
    if own.empty:
        return None
    own = own.assign(n_steps=own["drawn"].str.count(r"\{") - 1)
    return own.sort_values(["n_steps", "clip"], ascending=[False, True]).iloc[0]


def read_copy(copy: pd.Series) -> recording.Samples:
    """Returns the samples of an augmented copy, a row of schema AUGMENTED."""
    stored = shards.read(AUGMENTED / copy["shard"], ["clips", "n_samples", "samples"])
    parts = shards.split(stored["samples"], stored["n_samples"])
    samples: recording.Samples = parts[stored["clips"].tolist().index(copy["clip"])]
    return samples


def hardest(predictions: pd.DataFrame, n: int) -> pd.DataFrame:
    """Returns the `n` clips whose true emotion has the lowest predicted probability, the mean over seeds.

    Their columns: clip, speaker, label, p_label, predicted and p_predicted.
    """
    by_clip = predictions.groupby(["fold", "clip"], as_index=False)
    names = {name: "mean" for name in predictions.columns if name.startswith("p_")}
    predictions = by_clip.agg({"speaker": "first", "label": "first", **names})
    truth, predicted, probabilities = metrics.arrays(predictions)
    column = np.searchsorted(metrics.class_names(predictions), truth)
    clips = predictions[["clip", "speaker", "label"]].assign(
        p_label=probabilities[np.arange(len(column)), column],
        predicted=predicted,
        p_predicted=probabilities.max(axis=1),
    )
    return clips.sort_values(["p_label", "clip"]).head(n)


def player(path: str, sample_rate_hz: int) -> str:
    """Returns the beginning of a recording as a `data:` URL of mono FLAC, with the same bytes every time.

    Args:
        path: below data/raw.
    """
    samples = recording.load_listed(RAW / path, sample_rate_hz)[: round(LONGEST_PLAYED_S * sample_rate_hz)]
    buffer = BytesIO()
    soundfile.write(buffer, np.clip(samples, -1, 1), sample_rate_hz, format="FLAC", subtype=SAMPLE_FORMAT)
    return f"data:audio/flac;base64,{base64.b64encode(buffer.getvalue()).decode()}"
