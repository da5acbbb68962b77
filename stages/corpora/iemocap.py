"""IEMOCAP: ten actors, a woman and a man in each of five sessions, play scripts and improvise.

Names: `Ses01F_impro01_F000.wav`: session, which of the two wears markers, dialogue, who speaks and turn.
Emotions are the listeners' majority, from the files in dialog/EmoEvaluation.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import pandas as pd

from stages.base.errors import InputError
from stages.data.vocabulary import Corpus, Emotion, ParsedName

ABOUT = Corpus(
    title="IEMOCAP, the interactive emotional dyadic motion capture database",
    licence="for research, on signing a licence",
    citation="Busso et al. 2008, Language Resources and Evaluation 42, 335-359",
    url="https://sail.usc.edu/iemocap/",
    n_clips=10_039,
    n_speakers=10,
    emotions=(
        *("anger", "disgust", "excitement", "fear", "frustration", "happiness", "neutral", "other"),
        *("sadness", "surprise"),
    ),
    name_pattern="Ses<session><sex>_<dialogue>_<sex><turn>.wav, as in Ses01F_impro01_F000.wav",
    access="Request it on https://sail.usc.edu/iemocap/iemocap_release.htm; take sentences/wav and "
    "dialog/EmoEvaluation of each session.",
    language="en",
)

EMOTIONS: dict[str, Emotion] = {
    "ang": "anger",
    "dis": "disgust",
    "exc": "excitement",
    "fea": "fear",
    "fru": "frustration",
    "hap": "happiness",
    "neu": "neutral",
    "oth": "other",
    "sad": "sadness",
    "sur": "surprise",
}
NO_MAJORITY = "xxx"
METADATA = ("EmoEvaluation/*.txt",)

_NAME = re.compile(r"Ses0([1-5])[FM]_(?:impro|script)\w+?_([FM])\w{3}", re.ASCII)
# [6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]
_LABEL = re.compile(r"\[[\d.]+ - [\d.]+\]\t(Ses\w+)\t(\w{3})\t", re.ASCII)


def parse(path: PurePosixPath) -> ParsedName | None:
    """Returns what the file's name says, None if it does not follow this corpus's pattern."""
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    session, sex = match.groups()
    return ParsedName(
        clip=path.stem,
        speaker=f"{session}{sex}",
        sex="female" if sex == "F" else "male",
        sentence=None,
        emotion=None,
        session=session,
    )


def annotate(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Returns the manifest's rows with the emotions that the label files below `folder` give.

    Raises:
        InputError: there is no label file, or one of them has an unknown label.
    """
    table = table.copy()
    codes = table["clip"].str.rpartition("/")[2].map(_labels(folder))
    table["emotion"] = codes.map(EMOTIONS)
    disputed = (codes == NO_MAJORITY) & (table["problem"] == "")
    table.loc[disputed, "problem"] = f"no label: the listeners do not agree ({NO_MAJORITY})"
    return table


def _labels(folder: Path) -> dict[str, str]:
    """Returns the code of each turn's emotion."""
    found: dict[str, str] = {}
    paths = sorted(folder.rglob("EmoEvaluation/*.txt"))
    for path in paths:
        for turn, code in _LABEL.findall(path.read_text(encoding="utf-8", errors="replace")):
            if code not in {*EMOTIONS, NO_MAJORITY}:
                raise InputError(f"{path}: '{code}' of {turn} is not one of {', '.join(EMOTIONS)}.")
            found[turn] = code
    if not paths:
        raise InputError(f"{folder}: no dialog/EmoEvaluation/*.txt, which have the emotions. {ABOUT.access}")
    return found
