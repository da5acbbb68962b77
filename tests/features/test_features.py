"""Every feature without weights against its contract, and librosa's function of the same name, if any."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest

from stages.audio import recording
from stages.audio.extractor import Extractor, extractor
from stages.audio.spectrum import Spectrum
from stages.base import params, registry
from stages.base.errors import InputError
from stages.features import chroma, mfcc
from tests.support import shipped

ROOT = Path(__file__).resolve().parents[2]
RATE_HZ = 16_000
STFT = {"n_fft": 1024, "hop_length": 256}
MEL = {"sr": RATE_HZ, "n_mels": 128, "fmin": 0, "fmax": 8000}
SPECTRUM = params.Spectrum(**STFT, n_mels=128, fmin_hz=0.0, fmax_hz=8000.0, top_db=80.0)
AS_RECORDED = params.Audio(sample_rate_hz=RATE_HZ, trim_db=None, level_db=None, pre_emphasis=0.0)

# librosa transforms in double precision and rounds afterwards; ours is in single precision.
# Log-mel in dB: `Spectrum.mel_db` states 2e-3. MFCC sum over 128 bands, with weights of 0.125 or less.
LIBROSA: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "logmel": (lambda y: librosa.power_to_db(librosa.feature.melspectrogram(y=y, **STFT, **MEL)), 2e-3),
    "mfcc": (lambda y: librosa.feature.mfcc(y=y, n_mfcc=40, **STFT, **MEL), 2e-3),
    "zcr": (lambda y: librosa.feature.zero_crossing_rate(y, frame_length=1024, hop_length=256), 1e-7),
    "rms": (lambda y: librosa.feature.rms(y=y, frame_length=1024, hop_length=256), 1e-7),
    "chroma": (lambda y: librosa.feature.chroma_stft(y=y, sr=RATE_HZ, tuning=0.0, **STFT), 1e-5),
}

WITHOUT_WEIGHTS = [
    name
    for name in registry.names("features")
    if not hasattr(registry.load("features", name, "test"), "FILE")
]


def tone(hz: float, amplitude: float = 0.5, n_samples: int = RATE_HZ) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(n_samples) / RATE_HZ + 0.1)).astype(np.float32)


@pytest.fixture(scope="module")
def extract() -> Extractor:
    """Every feature without weights, with its block of params.yaml, of recordings as they are."""
    changes = {"spectrum": SPECTRUM, "audio": AS_RECORDED}
    settings = shipped.read().model_copy(update=changes)
    return extractor(settings, WITHOUT_WEIGHTS, "test")


def assert_equal_librosas(features: dict[str, np.ndarray], signal: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="n_fft=1024 is too large")
        for name, (function, tolerance) in LIBROSA.items():
            np.testing.assert_allclose(
                features[name], function(signal).T, atol=tolerance, rtol=0, err_msg=name
            )


@pytest.mark.parametrize("corpus", ["ravdess", "tess"])
def test_features_of_real_clips_equal_librosas(corpora: Path, extract: Extractor, corpus: str) -> None:
    paths = sorted((corpora / corpus).rglob("*.flac"))
    for path in paths[:: len(paths) // 12]:
        signal = recording.load(path, RATE_HZ)
        assert_equal_librosas(extract(signal), signal)


@pytest.mark.parametrize("n_samples", [1, 2, 100, 511, 512, 1023, 1024, 4000])
@pytest.mark.parametrize("kind", ["noise", "tone", "zeros", "ones", "click", "tiny"])
def test_features_of_synthetic_signals_equal_librosas(extract: Extractor, kind: str, n_samples: int) -> None:
    signal = {
        "noise": np.random.default_rng(3).normal(0, 0.1, n_samples),
        "tone": tone(440, n_samples=n_samples),
        "zeros": np.zeros(n_samples),
        "ones": np.full(n_samples, 0.3),
        "click": np.eye(1, n_samples, n_samples // 2)[0],
        "tiny": 1e-11 * np.random.default_rng(3).normal(size=n_samples),
    }[kind].astype(np.float32)
    assert_equal_librosas(extract(signal), signal)


@pytest.mark.parametrize("n_samples", [1, 255, 256, 1024, 16_001])
def test_contract(extract: Extractor, n_samples: int) -> None:
    signal = np.random.default_rng(5).normal(0, 0.1, n_samples).astype(np.float32)
    before = signal.copy()
    features, again = extract(signal), extract(signal)
    assert set(features) == {*WITHOUT_WEIGHTS} >= {*LIBROSA}
    for name, frames in features.items():
        assert frames.dtype == np.float32, name
        assert frames.shape[0] == 1 + n_samples // 256 or name in extract.own_frames, name
        assert frames.ndim == 2, name
        assert np.isfinite(frames).all(), name
        np.testing.assert_array_equal(frames, again[name])
    np.testing.assert_array_equal(signal, before)


def test_zcr_of_a_tone_is_twice_its_frequency(extract: Extractor) -> None:
    inner = extract(tone(1000))["zcr"][4:-4]
    np.testing.assert_allclose(inner, 2 * 1000 / RATE_HZ, atol=1 / 1024)


def test_rms_of_a_tone_is_its_amplitude_over_root_two(extract: Extractor) -> None:
    inner = extract(tone(1000, 0.5))["rms"][4:-4]
    np.testing.assert_allclose(inner, 0.5 / np.sqrt(2), rtol=1e-4)


@pytest.mark.parametrize(
    ("hz", "pitch_class"), [(261.63, 0), (329.63, 4), (440.0, 9), (880.0, 9), (987.77, 11)]
)
def test_chroma_of_a_note_is_its_pitch_class(extract: Extractor, hz: float, pitch_class: int) -> None:
    inner = extract(tone(hz))["chroma"][4:-4]
    assert (inner.argmax(axis=1) == pitch_class).all()
    np.testing.assert_array_equal(inner.max(axis=1), 1)


def test_log_mel_peaks_at_the_tones_band(extract: Extractor) -> None:
    inner = extract(tone(1000))["logmel"][4:-4]
    centres_hz = librosa.mel_frequencies(130, fmin=0, fmax=8000)[1:-1]
    assert (abs(centres_hz[inner.argmax(axis=1)] - 1000) < 25).all()


@pytest.mark.parametrize(("rate_hz", "n_fft"), [(16_000, 1024), (22_050, 2048), (8000, 333)])
def test_chroma_filters_equal_librosas(rate_hz: int, n_fft: int) -> None:
    expected = librosa.filters.chroma(sr=rate_hz, n_fft=n_fft, tuning=0.0)
    np.testing.assert_allclose(chroma.chroma_filters(rate_hz, n_fft), expected, atol=1e-6)


def test_more_coefficients_than_bands_are_an_error() -> None:
    spectrum = Spectrum(tone(440), RATE_HZ, SPECTRUM.model_copy(update={"n_mels": 20}))
    with pytest.raises(InputError, match=r"params\.features\.mfcc\.n_mfcc: 40 .*20 mel bands"):
        mfcc.compute(spectrum, mfcc.Config(n_mfcc=40))


def test_a_feature_that_breaks_its_contract_is_named() -> None:
    def transposed(spectrum: Spectrum) -> Any:
        return spectrum.mel_db.T

    broken = Extractor(AS_RECORDED, SPECTRUM, {"mine": transposed})
    with pytest.raises(InputError, match=r"stages/features/mine\.py: `compute` .*float32 \(128, 63\)"):
        broken(tone(440))


def test_pre_emphasis_reaches_the_features(extract: Extractor) -> None:
    emphasized = replace(extract, audio=AS_RECORDED.model_copy(update={"pre_emphasis": 0.97}))
    signal = tone(200)
    expected = librosa.effects.preemphasis(signal)
    np.testing.assert_allclose(emphasized(signal)["rms"], extract(expected)["rms"], rtol=1e-5)
