"""MELD: utterances of the television series Friends, by seven emotions, with a published partition.

Names: `train_splits/dia0_utt1.mp4`: partition, dialogue, utterance. Speakers, emotions and texts are in the
tables train_sent_emo.csv, dev_sent_emo.csv and test_sent_emo.csv. Its partition has the same speakers in
training and test, so the protocol `official` stops.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import pandas as pd

from stages.acquire.table import one_of_each
from stages.base.errors import InputError, one_line
from stages.data.vocabulary import Corpus, Emotion, ParsedName

ABOUT = Corpus(
    title="MELD, the multimodal EmotionLines dataset",
    licence="not stated; from a television series",
    citation="Poria et al. 2018, MELD: a multimodal multi-party dataset for emotion recognition in "
    "conversation",
    url="https://affective-meld.github.io/",
    n_clips=13_706,
    n_speakers=304,
    emotions=("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"),
    name_pattern="<folder of the partition>/dia<dialogue>_utt<utterance>, as in train_splits/dia0_utt1.wav, "
    "with folders train_splits, dev_splits_complete, output_repeated_splits_test",
    access="Take MELD.Raw.tar.gz by the link on https://affective-meld.github.io/, unpacked, and install the "
    "extra `av`, which reads its mp4 files.",
    language="en",
)

EMOTIONS: dict[str, Emotion] = {
    "anger": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "joy": "happiness",
    "neutral": "neutral",
    "sadness": "sadness",
    "surprise": "surprise",
}
PARTITIONS = {
    "train_splits": "train",
    "dev_splits_complete": "validation",
    "output_repeated_splits_test": "test",
}
TABLES = {"train": "train", "dev": "validation", "test": "test"}  # beginning of the table's name
METADATA = ("*_sent_emo.csv",)

_NAME = re.compile(r"dia(\d{1,4})_utt(\d{1,3})", re.ASCII)


def parse(path: PurePosixPath) -> ParsedName | None:
    """Returns what the names of file and folder say, None if they do not follow this corpus's pattern."""
    match = _NAME.fullmatch(path.stem)
    partition = PARTITIONS.get(path.parent.name)
    if match is None or partition is None:
        return None
    clip = f"{partition}_{int(match[1])}_{int(match[2])}"
    return ParsedName(clip, speaker=None, sex=None, sentence=None, emotion=None, partition=partition)


def annotate(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Returns the manifest's rows with what the publisher's tables below `folder` say.

    Raises:
        InputError: a table is missing, or does not have the publisher's columns or labels.
    """
    corpus, _, clip = (table["clip"].str.partition("/")[part] for part in range(3))
    said = pd.concat([_read(folder, name, partition) for name, partition in TABLES.items()])
    said["Utterance"] = one_of_each(said["Utterance"].str.strip())  # "Yeah." and "yeah!" are the same words
    known = said.reindex(clip)
    table = table.assign(emotion=known["Emotion"].map(EMOTIONS).to_numpy())
    for column, theirs in {"speaker": "Speaker", "sentence": "Utterance"}.items():
        table[column] = (corpus + "/" + known[theirs].str.strip().set_axis(table.index)).to_numpy()
    return table


def _read(folder: Path, name: str, partition: str) -> pd.DataFrame:
    """Returns the table of one partition, indexed by clip."""
    path = next(iter(sorted(folder.rglob(f"{name}_sent_emo.csv"))), None)
    if path is None:
        raise InputError(f"{folder}: {name}_sent_emo.csv is missing, which has the emotions. {ABOUT.access}")
    try:
        table = pd.read_csv(path, dtype=str, usecols=["Utterance", "Speaker", "Emotion", *_KEYS])
        clips = [f"{partition}_{int(a)}_{int(b)}" for a, b in table[_KEYS].to_numpy()]
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not MELD's table of this name ({one_line(error)}).") from error
    if strange := sorted(set(table["Emotion"].astype(str)) - set(EMOTIONS)):
        raise InputError(f"{path}: Emotion '{strange[0]}' is not one of {', '.join(EMOTIONS)}.")
    return table.assign(clip=clips).drop_duplicates("clip").set_index("clip")


_KEYS = ["Dialogue_ID", "Utterance_ID"]
