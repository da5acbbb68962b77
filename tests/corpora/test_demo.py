"""The synthesised corpus: deterministic, named as parsed, and acted as its rules say."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import espeakng_loader
import numpy as np
import pytest
import soundfile

from stages.acquire import espeak
from stages.base import registry
from stages.base.errors import InputError
from stages.base.params import check
from stages.corpora import demo
from stages.data.vocabulary import ParsedName

ROOT = Path(__file__).resolve().parents[2]
SEED = 20
CONFIG = demo.Config(n_speakers=8, sentences=["IEO", "MTI"], variability=1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CONFIG's corpus."""
    folder = tmp_path_factory.mktemp("demo")
    assert demo.synthesise(folder, CONFIG, SEED) == 8 * 2 * 6
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def f0_hz(path: Path) -> float:
    """Returns the median over voiced frames of the first autocorrelation peak, 60 to 500 Hz."""
    signal, rate_hz = soundfile.read(path)
    n = int(0.05 * rate_hz)
    frames = np.lib.stride_tricks.sliding_window_view(signal, n)[:: n // 4]
    frames = frames[frames.std(1) > 0.5 * signal.std()]
    spectrum = np.fft.rfft(frames - frames.mean(1, keepdims=True), 2 * n)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[:, : n // 2]
    correlation /= correlation[:, :1]
    shortest = rate_hz // 500
    candidates = correlation[:, shortest : rate_hz // 60]
    voiced = candidates.max(1) > 0.5
    # the first lag that is nearly as good as the best: later ones are its multiples
    lag = shortest + (candidates > 0.9 * candidates.max(1, keepdims=True)).argmax(1)
    return float(np.median(rate_hz / lag[voiced]))


def means(folder: Path, measure: Callable[[Path], float], code: str) -> np.ndarray:
    """Returns (n_speakers,): each speaker's mean of `measure` over the sentences acted as `code`."""
    return np.array(
        [
            np.mean([measure(path) for path in sorted(folder.glob(f"{speaker}_*_{code}_XX.wav"))])
            for speaker in list(demo.SPEAKERS)[: CONFIG.n_speakers]
        ]
    )


def seconds(path: Path) -> float:
    return float(soundfile.info(path).duration)


def test_contract() -> None:
    assert registry.load("corpora", "demo", "params.corpus") is demo
    assert "synthetic" in demo.ABOUT.title
    assert demo.ABOUT.n_speakers == 24
    assert demo.ABOUT.n_clips == 24 * 12 * 6


def test_names_say_what_was_synthesised(folder: Path) -> None:
    names = [parsed for path in folder.iterdir() if (parsed := demo.parse(PurePosixPath(path.name)))]
    assert {(parsed.speaker, parsed.sentence, parsed.emotion) for parsed in names} == {
        (str(2001 + index), sentence, emotion)
        for index in range(8)
        for sentence in ("IEO", "MTI")
        for emotion in ("anger", "disgust", "fear", "happiness", "neutral", "sadness")
    }
    assert len({parsed.clip for parsed in names}) == len(list(folder.iterdir()))


def test_parse() -> None:
    assert demo.parse(PurePosixPath("demo/2002_IEO_ANG_XX.wav")) == ParsedName(
        "2002_IEO_ANG_XX", "2002", "male", "IEO", "anger"
    )


@pytest.mark.parametrize(
    "name",
    [
        "1001_IEO_ANG_XX",
        "2001_IEO_ANG_HI",
        "2001_IEO_SUR_XX",
        "2001_ABC_ANG_XX",
        "2025_IEO_ANG_XX",
        "2001",
        "",
    ],
)
def test_parse_knows_only_its_own_names(name: str) -> None:
    assert demo.parse(PurePosixPath(f"{name}.wav")) is None


def test_same_bytes_again_and_in_another_process(folder: Path, tmp_path: Path) -> None:
    again, elsewhere = tmp_path / "again", tmp_path / "elsewhere"
    demo.synthesise(again, CONFIG, SEED)
    code = (
        "from pathlib import Path; from stages.corpora import demo; "
        f"demo.synthesise(Path({str(elsewhere)!r}), demo.Config(**{CONFIG.model_dump()!r}), {SEED})"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    assert contents(again) == contents(folder)
    assert contents(elsewhere) == contents(folder)


def test_more_speakers_leave_the_others_as_they_were(folder: Path, tmp_path: Path) -> None:
    demo.synthesise(tmp_path, CONFIG.model_copy(update={"n_speakers": 2}), SEED)
    fewer, all_of_them = contents(tmp_path), contents(folder)
    assert len(fewer) == 2 * 2 * 6
    assert fewer.items() <= all_of_them.items()


def test_another_seed_is_another_corpus(folder: Path, tmp_path: Path) -> None:
    demo.synthesise(tmp_path, CONFIG.model_copy(update={"n_speakers": 1}), SEED + 1)
    assert not set(contents(tmp_path).values()) & set(contents(folder).values())


def test_sound_is_as_specified(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
        assert 0.8 < info.duration < 5
        signal, _ = soundfile.read(path)
        assert np.abs(signal).max() < 0.99, "clipped"
        assert 20 * np.log10(signal.std()) > -50, "hardly audible"


def test_emotions_are_acted_by_the_rules(folder: Path) -> None:
    f0 = {code: means(folder, f0_hz, code) for code in ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")}
    assert (f0["FEA"] > f0["SAD"]).all()
    assert np.log2(f0["ANG"] / f0["SAD"]).mean() > 0.2
    assert np.log2(f0["HAP"] / f0["SAD"]).mean() > 0.2
    assert np.log2(f0["DIS"] / f0["NEU"]).mean() < -0.2
    assert (means(folder, seconds, "SAD") > means(folder, seconds, "ANG")).all()


def test_anger_is_louder_than_sadness(folder: Path) -> None:
    def level(path: Path) -> float:
        return float(soundfile.read(path)[0].std())

    assert np.log2(means(folder, level, "ANG") / means(folder, level, "SAD")).mean() > 1


def test_voices_have_the_pitch_of_their_sex(folder: Path) -> None:
    f0 = means(folder, f0_hz, "NEU")
    female = np.array([speaker.sex == "female" for speaker in demo.SPEAKERS.values()])[: len(f0)]
    assert female.sum() == len(f0) / 2
    assert f0[female].min() > f0[~female].max()


def test_all_voices_exist_and_differ() -> None:
    voices = [speaker.voice for speaker in demo.SPEAKERS.values()]
    variants = Path(espeakng_loader.get_data_path(), "voices", "!v")
    assert not set(voices) - {
        path.name for path in variants.iterdir()
    }  # the library takes an unknown one for none
    spoken = espeak.speak(espeak.Utterance(f"en-us+{voice}", "Slick.", 165, 50, 50) for voice in voices)
    assert len({samples.tobytes() for samples in spoken}) == len(voices)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("n_speakers", 25, r"params\.corpora\.demo\.n_speakers: 25 .*less than or equal to 24"),
        ("n_speakers", 0, r"params\.corpora\.demo\.n_speakers: 0 "),
        ("sentences", ["IEO", "ABC"], r"params\.corpora\.demo\.sentences\.1: 'ABC' .*'WSI'"),
        ("sentences", [], r"params\.corpora\.demo\.sentences: \[\] "),
        ("variability", -0.1, r"params\.corpora\.demo\.variability: -0\.1 "),
    ],
)
def test_values_out_of_range(key: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check(demo.Config, {**CONFIG.model_dump(), key: value}, "params.corpora.demo")
