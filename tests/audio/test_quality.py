"""The checks of recordings, on speech that is degraded in known ways, and on sounds that are no speech."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from stages.audio.quality import frame_levels, mark_duplicates, measure, notices, probe, problem
from stages.audio.recording import Recording, load
from stages.base.params import Manifest
from tests.support import shipped

ROOT = Path(__file__).resolve().parents[2]
RATE_HZ = 16_000
RNG = np.random.default_rng(7)


@pytest.fixture(scope="module")
def limits() -> Manifest:
    return shipped.read().manifest


def syllables(seconds: float = 1.0) -> np.ndarray:
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    buzz = sum(np.sin(2 * np.pi * k * 150 * time_s) / k for k in range(1, 50))
    return 0.15 * np.sin(2 * np.pi * time_s) ** 2 * buzz


def hum(seconds: float = 1.0, hz: float = 50.0) -> np.ndarray:
    return 0.1 * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE_HZ)) / RATE_HZ)


def within_silence(sound: np.ndarray, noise: float = 0.0) -> np.ndarray:
    silence = RNG.normal(0, noise, 2 * RATE_HZ) if noise else np.zeros(2 * RATE_HZ)
    silence[RATE_HZ : RATE_HZ + len(sound)] += sound
    return silence


def signed_8_bit() -> bytes:
    """Signed bytes in a WAV, whose 8-bit samples are unsigned."""
    return np.round(127 * syllables()).astype(np.int8).tobytes()


UNUSABLE: dict[str, tuple[Callable[[], np.ndarray], str]] = {
    "digital silence": (lambda: np.zeros(RATE_HZ), "silent"),
    "a constant": (lambda: np.full(RATE_HZ, 0.3), "silent"),
    "a muted microphone": (lambda: RNG.normal(0, 1e-4, RATE_HZ), "silent"),
    "hum": (hum, "no speech"),
    "hum at 60 Hz": (lambda: hum(hz=60), "no speech"),
    "hum that is switched on": (lambda: within_silence(hum(0.5)), "no speech: nothing above"),
    "a tone": (lambda: hum(hz=1000), "no speech"),
    "white noise": (lambda: RNG.normal(0, 0.1, RATE_HZ), "no speech: a level"),
    "a click": (lambda: within_silence(np.array([0.9, -0.5])), "no speech: sound for"),
    "a click in noise": (lambda: within_silence(np.array([0.9, -0.5]), 1e-3), "no speech"),
    "50 ms of sound": (lambda: within_silence(syllables()[3000:3800]), "no speech: sound for"),
    "20 ms": (lambda: syllables()[4000:4320], "too short"),
    "a square wave": (lambda: np.sign(syllables()), "overloaded"),
    "unscaled integers": (lambda: 2**15 * syllables(), "too loud: peak 79.0 dBFS"),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_what_is_no_speech_has_its_reason(tmp_path: Path, limits: Manifest, kind: str) -> None:
    make, reason = UNUSABLE[kind]
    soundfile.write(tmp_path / "clip.wav", make(), RATE_HZ, subtype="FLOAT")
    assert probe(tmp_path / "clip.wav", limits)["problem"].startswith(reason)


def test_signed_bytes_in_a_wav_are_overloaded(tmp_path: Path, limits: Manifest) -> None:
    path = tmp_path / "clip.wav"
    soundfile.write(path, np.zeros(RATE_HZ), RATE_HZ, subtype="PCM_U8")
    path.write_bytes(path.read_bytes()[:44] + signed_8_bit())
    assert probe(path, limits)["problem"].startswith("overloaded")


UNUSUAL: dict[str, tuple[Callable[[np.ndarray], np.ndarray], list[str]]] = {
    "as it is": (lambda x: x, []),
    "20 dB quieter": (lambda x: 0.1 * x, []),
    "an offset": (lambda x: x + 0.05, ["DC offset"]),
    "clipped": (lambda x: np.clip(x, -0.2 * x.max(), 0.2 * x.max()), ["clipped"]),
    "two channels": (lambda x: np.stack([x, x], axis=1), []),
    "channels that cancel": (lambda x: np.stack([x, -x], axis=1), ["channels cancel"]),
    "one dead channel": (lambda x: np.stack([x, 0 * x], axis=1), ["channels differ"]),
    "5 s": (lambda x: np.resize(x, 5 * RATE_HZ), ["long"]),
    "telephone": (lambda x: np.fft.irfft(np.fft.rfft(x)[: len(x) // 5], len(x)), ["narrow band"]),
}


@pytest.mark.parametrize("kind", UNUSUAL)
def test_usable_speech_is_used_and_what_is_unusual_is_noticed(
    tmp_path: Path, limits: Manifest, corpora: Path, kind: str
) -> None:
    make, expected = UNUSUAL[kind]
    speech = load(corpora / "ravdess/Actor_01/03-01-05-01-01-01-01.flac", RATE_HZ)
    soundfile.write(tmp_path / "clip.wav", make(speech), RATE_HZ, subtype="FLOAT")
    probed = probe(tmp_path / "clip.wav", limits)
    assert probed["problem"] == ""
    assert [notice.split(":")[0] for notice in probed["notices"].split("; ") if notice] == expected


def test_the_measures_of_a_sound_worked_by_hand(limits: Manifest) -> None:
    tone = np.float32(0.5) * np.sin(2 * np.pi * 1000 * np.arange(8000) / RATE_HZ).astype(np.float32)
    measured = measure(Recording(np.concatenate([np.zeros(8000, np.float32), tone]), RATE_HZ, 1))
    assert measured.duration_s == 1.0
    assert measured.active_s == pytest.approx(0.5)
    assert measured.peak_dbfs == pytest.approx(-6.02, abs=0.01)
    assert measured.level_dbfs == pytest.approx(-9.03, abs=0.01)  # RMS of a sine: peak / sqrt(2)
    assert measured.level_range_db > 100
    assert problem(measured, limits) == ""
    assert "narrow band" in {notice.split(":")[0] for notice in notices(measured, limits)}
    assert measure(Recording(tone, RATE_HZ, 1)).bandwidth_hz == pytest.approx(1000, abs=150)


def tone(hz: float, below_db: float = 0.0) -> np.ndarray:
    """A second at a frequency that is the centre of a band of the spectrum, 25 Hz wide."""
    wave = 0.25 * 10 ** (-below_db / 20) * np.sin(2 * np.pi * hz * np.arange(RATE_HZ) / RATE_HZ)
    return wave.astype(np.float32)


@pytest.mark.parametrize(("below_db", "highest_hz"), [(58.0, 3000), (62.0, 1000)])
def test_the_bandwidth_ends_60_db_below_the_strongest_frequency(below_db: float, highest_hz: float) -> None:
    sound = Recording(tone(1000) + tone(3000, below_db), RATE_HZ, 1)
    measured = measure(sound).bandwidth_hz
    assert highest_hz <= measured < highest_hz + 60  # the window widens a tone by two bands


def test_the_bandwidth_is_the_highest_band_that_is_inside() -> None:
    impulse = np.zeros(RATE_HZ, np.float32)
    impulse[8000] = 0.5
    assert measure(Recording(impulse, RATE_HZ, 1)).bandwidth_hz == RATE_HZ / 2


def test_digital_silence_has_the_lowest_level() -> None:
    np.testing.assert_allclose(frame_levels(np.zeros(RATE_HZ, np.float32), RATE_HZ), -120)


@pytest.mark.parametrize("side", [1, -1])
def test_clipping_on_one_side_is_counted(side: int) -> None:
    wave = side * np.minimum(tone(100) / 0.25, 0.5)
    assert measure(Recording(wave, RATE_HZ, 1)).clipped == pytest.approx(1 / 3, abs=0.02)


def row(name: str, emotion: str, **more: object) -> dict[str, object]:
    same = {"corpus": "a", "speaker": "a/1", "sentence": "x", "audio_sha256": "same", "problem": ""}
    own = {"path": name, "clip": name, "emotion": emotion, "authentic": True, "preferred": True}
    return own | same | more


@pytest.mark.parametrize(
    ("column", "first", "second", "kept"),
    [
        ("sentence", None, None, "a.wav"),
        ("sentence", None, "x", "b.wav"),
        ("emotion", None, None, "a.wav"),
        ("emotion", "anger", None, "a.wav"),
        ("speaker", None, None, "a.wav"),
        ("speaker", None, "a/1", "b.wav"),
        ("speaker", "a/unknown", "a/1", "b.wav"),
    ],
)
def test_what_is_unknown_contradicts_nothing(
    column: str, first: str | None, second: str | None, kept: str
) -> None:
    table = pd.DataFrame([row("a.wav", "anger") | {column: first}, row("b.wav", "anger") | {column: second}])
    for dtype in (object, "string"):
        marked = mark_duplicates(table.astype({column: dtype})).set_index("path")["problem"]
        assert marked.pop(kept) == ""
        assert marked.tolist() == [f"duplicate: the same recording as {kept}"]


def test_known_copies_contradict_one_another_beside_an_unknown_one() -> None:
    names = {"a.wav": None, "b.wav": "a/1", "c.wav": "a/2"}
    table = pd.DataFrame([row(name, "anger", speaker=speaker) for name, speaker in names.items()])
    reasons = mark_duplicates(table)["problem"].str.partition(":")[0]
    assert reasons.tolist() == ["", "contradiction", "contradiction"]


def test_only_usable_copies_contradict_one_another() -> None:
    table = pd.DataFrame(
        [
            row("a.wav", "anger"),
            row("b.wav", "fear", authentic=False),  # a stand-in, whose label nobody takes for true
            row("c.wav", "sadness", problem="too short"),
            row("d.wav", "neutral", audio_sha256="another"),
        ]
    )
    reasons = mark_duplicates(table)["problem"].str.partition(":")[0]
    assert reasons.tolist() == ["", "duplicate", "too short", ""]
    reasons = mark_duplicates(table.assign(authentic=True))["problem"].str.partition(":")[0]
    assert reasons.tolist() == ["contradiction", "contradiction", "too short", ""]


@pytest.mark.slow
@pytest.mark.parametrize("corpus", ["ravdess", "ravdess_song", "tess"])
def test_nothing_usable_is_lost_in_real_corpora(limits: Manifest, corpora: Path, corpus: str) -> None:
    paths = sorted((corpora / corpus).rglob("*.flac"))[::5]
    problems = {path.name: problem for path in paths if (problem := probe(path, limits)["problem"])}
    assert len(paths) > 200
    assert problems == {}
