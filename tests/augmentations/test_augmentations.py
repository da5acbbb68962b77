"""Every augmentation against its contract, and each for its effect on the signal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
from scipy.signal import correlate

from stages.audio import recording
from stages.audio.chain import draw
from stages.augmentations import (
    babble,
    band_limit,
    codec,
    gain,
    noise,
    pitch,
    reverberation,
    speed,
    stretch,
)
from stages.base import params, registry
from stages.base.errors import InputError
from tests.support import shipped

ROOT = Path(__file__).resolve().parents[2]
RATE_HZ = 16_000
NAMES = registry.names("augmentations")


def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def voice(f0_hz: float = 200.0, n_samples: int = 2 * RATE_HZ) -> np.ndarray:
    """A buzz with seven harmonics."""
    time_s = np.arange(n_samples) / RATE_HZ
    return sum(0.2 / k * np.sin(2 * np.pi * k * f0_hz * time_s) for k in range(1, 8)).astype(np.float32)


def fundamental_hz(signal: np.ndarray) -> float:
    """YIN's median (de Cheveigné & Kawahara 2002), as librosa has it."""
    return float(np.median(librosa.yin(signal, fmin=80, fmax=800, sr=RATE_HZ)))


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def block(name: str) -> dict[str, Any]:
    """The augmentation's block in the project's params.yaml."""
    return dict(shipped.read().augmentations[name])


def test_contract(name: str, block: dict[str, Any]) -> None:
    entry = registry.load("augmentations", name, "test")
    config = params.check(entry.Config, block, name)
    drawn = draw(config, rng())
    assert drawn
    for parameter, value in drawn.items():
        low, high = block[parameter]
        assert type(value) is float
        assert low <= value <= high
    signal = voice(n_samples=4000)
    before = signal.copy()
    augmented = entry.apply(signal, RATE_HZ, rng(), **drawn)
    assert augmented.dtype == np.float32
    assert augmented.ndim == 1
    assert np.isfinite(augmented).all()
    np.testing.assert_array_equal(augmented, entry.apply(signal, RATE_HZ, rng(), **drawn))
    np.testing.assert_array_equal(signal, before)
    assert augmented.shape != signal.shape or not np.array_equal(augmented, signal)


def test_drawn_parameters_fill_the_range(name: str, block: dict[str, Any]) -> None:
    entry = registry.load("augmentations", name, "test")
    config = params.check(entry.Config, block, name)
    generator = rng()
    draws = [draw(config, generator) for _ in range(500)]
    for parameter in draws[0]:
        low, high = block[parameter]
        values = [drawn[parameter] for drawn in draws]
        assert min(values) < low + 0.02 * (high - low)
        assert max(values) > high - 0.02 * (high - low)


@pytest.mark.parametrize(
    ("entry", "changes", "message"),
    [
        (noise, {"snr_db": [30.0, 10.0]}, r"x\.snr_db: .*30 .*10"),
        (noise, {"snr_db": [10.0, 300.0]}, r"x\.snr_db\.1: 300\.0 "),
        (noise, {"snr_db": [10.0]}, r"x\.snr_db: \[10\.0\] "),
        (noise, {"probability": 1.5}, r"x\.probability: 1\.5 "),
        (noise, {"snr": [1.0, 2.0]}, r"x\.snr: .*'snr_db'"),
        (pitch, {"semitones": [-30.0, 0.0]}, r"x\.semitones\.0: -30\.0 "),
        (stretch, {"rate": [0.0, 1.0]}, r"x\.rate\.0: 0\.0 "),
        (speed, {"factor": ["slow", 1.0]}, r"x\.factor\.0: 'slow' "),
        (gain, {"gain_db": [0.0, 100.0]}, r"x\.gain_db\.1: 100\.0 "),
    ],
)
def test_impossible_ranges_are_an_error(entry: Any, changes: dict[str, Any], message: str) -> None:
    block = shipped.read().augmentations[entry.__name__.rpartition(".")[2]]
    with pytest.raises(InputError, match=message):
        params.check(entry.Config, block | changes, "x")


@pytest.mark.parametrize("snr_db", [-5.0, 10.0, 30.0])
@pytest.mark.parametrize("amplitude", [1e-3, 1.0])
def test_noise_has_the_snr_asked_for(snr_db: float, amplitude: float) -> None:
    signal = np.float32(amplitude) * voice(n_samples=10 * RATE_HZ)
    added = noise.apply(signal, RATE_HZ, rng(), snr_db=snr_db) - signal
    measured_db = 10 * np.log10(np.mean(signal**2) / np.mean(added**2))
    assert measured_db == pytest.approx(snr_db, abs=0.1)


def test_noise_is_white() -> None:
    signal = np.full(2**17, 0.1, np.float32)
    added = noise.apply(signal, RATE_HZ, rng(), snr_db=0.0) - signal
    bands = np.mean(np.abs(np.fft.rfft(added)[1:]).reshape(16, -1) ** 2, axis=1)
    assert bands.max() / bands.min() < 1.15


def test_noise_leaves_silence_silent() -> None:
    assert not noise.apply(np.zeros(100, np.float32), RATE_HZ, rng(), snr_db=10.0).any()


@pytest.mark.parametrize("semitones", [-3.0, -1.0, 0.5, 2.0, 12.0])
def test_pitch_moves_the_fundamental_and_keeps_the_duration(semitones: float) -> None:
    shifted = pitch.apply(voice(), RATE_HZ, rng(), semitones=semitones)
    assert shifted.shape == voice().shape
    assert 12 * np.log2(fundamental_hz(shifted) / 200) == pytest.approx(semitones, abs=0.05)


@pytest.mark.parametrize("rate", [0.8, 1.0, 1.25])
def test_stretch_keeps_the_fundamental_and_changes_the_duration(rate: float) -> None:
    stretched = stretch.apply(voice(), RATE_HZ, rng(), rate=rate)
    assert len(stretched) == round(2 * RATE_HZ / rate)
    assert fundamental_hz(stretched) == pytest.approx(200, abs=1)


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_speed_changes_both(factor: float) -> None:
    sped = speed.apply(voice(), RATE_HZ, rng(), factor=factor)
    assert abs(len(sped) - 2 * RATE_HZ / factor) <= 1
    assert fundamental_hz(sped) == pytest.approx(200 * factor, abs=1)


def test_gain_goes_beyond_full_scale_unharmed() -> None:
    louder = gain.apply(np.array([0.5, -0.5], np.float32), RATE_HZ, rng(), gain_db=20.0)
    np.testing.assert_allclose(louder, [5, -5], rtol=1e-6)


def level_db(signal: np.ndarray, low_hz: float, high_hz: float) -> float:
    """The mean power between two frequencies, in dB."""
    power = np.abs(np.fft.rfft(signal)) ** 2
    frequency_hz = np.fft.rfftfreq(len(signal), 1 / RATE_HZ)
    return float(10 * np.log10(power[(frequency_hz >= low_hz) & (frequency_hz < high_hz)].mean()))


def test_a_lower_rate_removes_what_is_above_its_half() -> None:
    signal = rng().standard_normal(4 * RATE_HZ).astype(np.float32)
    limited = band_limit.apply(signal, RATE_HZ, rng(), rate_hz=8000.0)
    assert level_db(limited, 4200, 8000) < level_db(signal, 4200, 8000) - 60
    assert level_db(limited, 100, 3400) == pytest.approx(level_db(signal, 100, 3400), abs=0.1)
    assert len(limited) == len(signal)


@pytest.mark.parametrize("rate_hz", [8000, RATE_HZ, 22_050, 48_000])
def test_a_codec_changes_little_and_keeps_the_time(rate_hz: int) -> None:
    noise = 0.1 * rng().standard_normal(2 * rate_hz).astype(np.float32)
    signal = band_limit.apply(noise, rate_hz, rng(), rate_hz=2000.0)
    errors_db = []
    for kbit_s in (8.0, 16.0, 32.0, 48.0, 64.0, 160.0):
        decoded = codec.apply(signal, rate_hz, rng(), kbit_s=kbit_s)
        assert decoded.shape == signal.shape
        lag = correlate(decoded, signal, method="fft").argmax() - (len(signal) - 1)
        assert abs(lag) <= rate_hz * 1e-4, kbit_s
        errors_db.append(10 * np.log10(np.mean((decoded - signal) ** 2) / np.mean(signal**2)))
    assert errors_db[-1] < -20
    assert errors_db[-1] <= min(errors_db) + 1


def test_a_codec_keeps_the_end() -> None:
    signal = np.zeros(RATE_HZ, np.float32)
    signal[-800:] = 0.3 * np.sin(2 * np.pi * 500 * np.arange(800) / RATE_HZ)
    decoded = codec.apply(signal, RATE_HZ, rng(), kbit_s=16.0)
    assert np.std(decoded[-800:]) > 0.5 * np.std(signal[-800:])
    assert np.abs(decoded[: RATE_HZ - 3000]).max() < 0.01


def test_a_codec_encodes_all_frequencies_that_mpeg_2_can() -> None:
    signal = 0.1 * rng().standard_normal(48_000).astype(np.float32)
    decoded = codec.apply(signal, 48_000, rng(), kbit_s=160.0)
    power = np.abs(np.fft.rfft(decoded)) ** 2
    assert power[9000:10_500].mean() > 0.1 * power[2000:6000].mean()  # a bin is 1 Hz


@pytest.mark.parametrize("rt60_s", [0.2, 0.8])
def test_reverberation_decays_by_60_db_in_its_time(rt60_s: float) -> None:
    click = np.zeros(2 * RATE_HZ, np.float32)
    click[100] = 1
    response = reverberation.apply(click, RATE_HZ, rng(), rt60_s=rt60_s, direct_db=3.0)[100:]
    energy = np.cumsum(response[:0:-1] ** 2)[::-1]  # Schroeder's integral, without the direct sound
    assert 1 / energy[0] == pytest.approx(10**0.3, rel=1e-3)
    half = round(rt60_s / 2 * RATE_HZ)
    assert 10 * np.log10(energy[half] / energy[0]) == pytest.approx(-30, abs=1.5)


def test_babble_has_the_snr_asked_for_and_the_spectrum_of_the_recording() -> None:
    signal = voice()
    added = babble.apply(signal, RATE_HZ, rng(), snr_db=10.0) - signal
    assert 10 * np.log10(np.mean(signal**2) / np.mean(added**2)) == pytest.approx(10, abs=0.1)
    assert level_db(added, 150, 1500) > level_db(added, 2000, 8000) + 20
    assert not babble.apply(np.zeros(100, np.float32), RATE_HZ, rng(), snr_db=10.0).any()


def test_pitch_and_stretch_work_on_speech(corpora: Path) -> None:
    """YIN errs by octaves on speech, so the median over the twelve male actors' neutral clips decides."""

    def pitch_hz(signal: np.ndarray) -> float:
        track_hz = librosa.yin(signal, fmin=70, fmax=400, sr=RATE_HZ)
        level = librosa.feature.rms(y=signal)[0]
        return float(np.median(track_hz[level > 0.3 * level.max()]))

    moved = []
    for path in sorted((corpora / "ravdess").glob("*/03-01-01-01-01-01-*[13579].flac")):
        speech = recording.load(path, RATE_HZ)
        lower = pitch.apply(speech, RATE_HZ, rng(), semitones=-2.0)
        faster = stretch.apply(speech, RATE_HZ, rng(), rate=1.1)
        moved.append([12 * np.log2(pitch_hz(augmented) / pitch_hz(speech)) for augmented in (lower, faster)])
    assert len(moved) == 12
    assert np.median(moved, axis=0) == pytest.approx([-2, 0], abs=0.4)


@pytest.fixture(scope="module")
def speech(corpora: Path) -> list[np.ndarray]:
    """One neutral sentence of each actor of RAVDESS."""
    paths = sorted((corpora / "ravdess").glob("*/03-01-01-01-01-01-*.flac"))
    assert len(paths) == 24
    # With the mean, which load removes: then the silence between words is digital silence.
    decoded = [recording.decode(path, 60) for path in paths]
    return [recording.resample(each, RATE_HZ) + np.float32(each.dc_offset) for each in decoded]


@pytest.mark.parametrize("rate", [0.9, 1.1])
def test_stretch_equals_librosas_in_double_precision(speech: list[np.ndarray], rate: float) -> None:
    for signal in speech[::4]:
        expected = librosa.effects.time_stretch(signal.astype(np.float64), rate=rate)
        ours = stretch.apply(signal, RATE_HZ, rng(), rate=rate)
        librosas = librosa.effects.time_stretch(signal, rate=rate)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=5e-5 * abs(expected).max())
        assert abs(ours - expected).max() < 0.1 * abs(librosas - expected).max()


@pytest.mark.parametrize("semitones", [-2.0, 1.3])
def test_pitch_equals_librosas_in_double_precision(speech: list[np.ndarray], semitones: float) -> None:
    for signal in speech[::4]:
        expected = librosa.effects.pitch_shift(signal.astype(np.float64), sr=RATE_HZ, n_steps=semitones)
        shifted = pitch.apply(signal, RATE_HZ, rng(), semitones=semitones)
        np.testing.assert_allclose(shifted, expected, rtol=0, atol=5e-5 * abs(expected).max())


@pytest.mark.filterwarnings("ignore:n_fft=2048 is too large")
@pytest.mark.parametrize("n_samples", [2, 511, 2047, 4000])
@pytest.mark.parametrize("rate", [0.25, 1.3])
def test_stretch_of_few_samples_equals_librosas(n_samples: int, rate: float) -> None:
    signal = np.random.default_rng(6).normal(0, 0.1, n_samples).astype(np.float32)
    expected = librosa.effects.time_stretch(signal.astype(np.float64), rate=rate)
    np.testing.assert_allclose(stretch.apply(signal, RATE_HZ, rng(), rate=rate), expected, atol=1e-4)


@pytest.mark.parametrize("entry", [pitch, stretch])
def test_silence_stays_silent(entry: Any) -> None:
    drawn = {"semitones": 2.0} if entry is pitch else {"rate": 1.1}
    assert abs(entry.apply(np.zeros(4000, np.float32), RATE_HZ, rng(), **drawn)).max() < 1e-15


def envelope_db(signal: np.ndarray) -> np.ndarray:
    """The long-term spectrum in 40 mel bands, in dB re its maximum, not below -60 dB."""
    power = librosa.feature.melspectrogram(y=signal, sr=RATE_HZ, n_mels=40).mean(axis=1)
    return librosa.power_to_db(power / power.max(), top_db=60.0)


def test_the_spectral_envelope_is_kept_as_well_as_librosa_keeps_it(speech: list[np.ndarray]) -> None:
    """That of a stretched clip is its own; pitch moves it as a change of speed does."""
    octaves = 2 / 12
    errors_db = []
    for signal in speech[::2]:
        faster = speed.apply(signal, RATE_HZ, rng(), factor=2**octaves)
        pairs = [
            (signal, stretch.apply(signal, RATE_HZ, rng(), rate=1.1)),
            (signal, librosa.effects.time_stretch(signal, rate=1.1)),
            (faster, pitch.apply(signal, RATE_HZ, rng(), semitones=2.0)),
            (faster, librosa.effects.pitch_shift(signal, sr=RATE_HZ, n_steps=2.0)),
        ]
        errors_db.append([abs(envelope_db(one) - envelope_db(other)).mean() for one, other in pairs])
    stretched, librosas_stretched, shifted, librosas_shifted = np.mean(errors_db, axis=0)
    assert stretched < 1.01 * librosas_stretched
    assert shifted < 1.01 * librosas_shifted
    assert max(stretched, shifted) < 1.0
