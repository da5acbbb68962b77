"""Manifests of whole corpora without their audio, by the corpora's own naming schemes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import product
from typing import Any

import pandas as pd

from stages.data import tables

RAVDESS_EMOTIONS = dict(
    enumerate(["neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise"], start=1)
)
TESS_EMOTIONS = {
    "angry": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happiness",
    "neutral": "neutral",
    "ps": "surprise",
    "sad": "sadness",
}
SAVEE_EMOTIONS = {
    "a": "anger",
    "d": "disgust",
    "f": "fear",
    "h": "happiness",
    "n": "neutral",
    "sa": "sadness",
    "su": "surprise",
}
SAVEE_REPEATED = [  # by the neutral recordings from 16 on
    *("common01", "common02", "common03", "a04", "a05", "d04", "d05", "f04", "f05"),
    *("su04", "su05", "sa04", "sa05", "h04", "h05"),
]
CREMA_D_SENTENCES = ["IEO", "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI"]


def manifest(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Returns a table of schema MANIFEST; rows give corpus, clip, speaker, sex, sentence and emotion.

    Other columns are filled in. Clips, speakers and sentences are given without their corpus.
    """
    table = pd.DataFrame([{"channel": "speech", "problem": "", "notices": "", **row} for row in rows])
    for column in ("clip", "speaker", "sentence"):
        table[column] = table["corpus"] + "/" + table[column]
    table["path"] = table["clip"] + ".wav"
    for column in ("sha256", "audio_sha256"):
        if column not in table:
            table[column] = [
                hashlib.sha256(f"{column} {path}".encode()).hexdigest() for path in table["path"]
            ]
    table["n_bytes"] = 1
    for column, schema in tables.MANIFEST.columns.items():
        if column not in table:
            table[column] = pd.Series([None] * len(table), dtype=schema.dtype.type)
    return tables.MANIFEST.validate(table[list(tables.MANIFEST.columns)])


def ravdess(channel: str = "speech") -> pd.DataFrame:
    """RAVDESS speech: 24 actors, even numbers female, 8 emotions, 2 statements; neutral is never strong."""
    return manifest(
        {
            "corpus": "ravdess",
            "clip": f"03-01-{emotion:02}-{intensity:02}-{statement:02}-{repetition:02}-{actor:02}",
            "speaker": f"{actor:02}",
            "sex": "male" if actor % 2 else "female",
            "sentence": f"{statement:02}",
            "emotion": RAVDESS_EMOTIONS[emotion],
            "channel": channel,
        }
        for actor, emotion, intensity, statement, repetition in product(
            range(1, 25), RAVDESS_EMOTIONS, (1, 2), (1, 2), (1, 2)
        )
        if (emotion, intensity) != (1, 2)
    )


def tess(n_words: int = 200) -> pd.DataFrame:
    """TESS: two women speak every word in 7 emotions."""
    return manifest(
        {
            "corpus": "tess",
            "clip": f"{speaker}_word{word}_{emotion}",
            "speaker": speaker,
            "sex": "female",
            "sentence": f"word{word}",
            "emotion": TESS_EMOTIONS[emotion],
        }
        for speaker, word, emotion in product(("OAF", "YAF"), range(n_words), TESS_EMOTIONS)
    )


def savee() -> pd.DataFrame:
    """SAVEE: 4 men, 15 sentences an emotion of which 3 are common to all, and 15 of them again as neutral."""
    return manifest(
        {
            "corpus": "savee",
            "clip": f"{speaker}_{code}{number:02}",
            "speaker": speaker,
            "sex": "male",
            "sentence": _savee_sentence(code, number),
            "emotion": emotion,
        }
        for speaker in ("DC", "JE", "JK", "KL")
        for code, emotion in SAVEE_EMOTIONS.items()
        for number in range(1, 31 if code == "n" else 16)
    )


def _savee_sentence(code: str, number: int) -> str:
    if number > 15:
        return SAVEE_REPEATED[number - 16]
    return f"common{number:02}" if number <= 3 else f"{code}{number:02}"


def crema_d() -> pd.DataFrame:
    """CREMA-D without its levels: 91 actors, 48 of them men, 12 sentences in 6 emotions."""
    return manifest(
        {
            "corpus": "crema_d",
            "clip": f"{actor}_{sentence}_{emotion}",
            "speaker": f"{actor}",
            "sex": "male" if actor <= 1048 else "female",
            "sentence": sentence,
            "emotion": emotion,
        }
        for actor, sentence, emotion in product(
            range(1001, 1092),
            CREMA_D_SENTENCES,
            ("anger", "disgust", "fear", "happiness", "neutral", "sadness"),
        )
    )
