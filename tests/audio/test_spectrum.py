from __future__ import annotations

import librosa
import numpy as np
import pytest

from stages.audio.spectrum import Spectrum, mel_filters
from stages.base import params
from stages.base.errors import InputError


def settings(**changes: object) -> params.Spectrum:
    values = {
        "n_fft": 1024,
        "hop_length": 256,
        "n_mels": 128,
        "fmin_hz": 0.0,
        "fmax_hz": 8000.0,
        "top_db": 80.0,
    }
    return params.Spectrum(**(values | changes))


@pytest.mark.parametrize(
    ("rate_hz", "n_fft", "n_mels", "fmin_hz", "fmax_hz"),
    [
        (16_000, 1024, 128, 0.0, 8000.0),
        (16_000, 400, 40, 20.0, 7600.0),
        (22_050, 2048, 64, 1500.0, 11_025.0),
        (8000, 255, 13, 50.0, 900.0),
    ],
)
def test_mel_filters_equal_librosas(
    rate_hz: int, n_fft: int, n_mels: int, fmin_hz: float, fmax_hz: float
) -> None:
    expected = librosa.filters.mel(sr=rate_hz, n_fft=n_fft, n_mels=n_mels, fmin=fmin_hz, fmax=fmax_hz)
    filters = mel_filters(rate_hz, n_fft, n_mels, fmin_hz, fmax_hz)
    assert filters.dtype == np.float32
    np.testing.assert_allclose(filters, expected, atol=1e-6 * expected.max())


def test_mel_bands_without_a_bin_are_an_error() -> None:
    with pytest.raises(InputError, match=r"params\.spectrum\.n_mels: .*128 bands"):
        mel_filters(16_000, 256, 128, 0.0, 8000.0)


@pytest.mark.parametrize("n_fft", [512, 1024, 401])
@pytest.mark.parametrize("n_samples", [1, 2, 255, 256, 511, 512, 1023, 5000])
def test_power_equals_librosas_with_time_first(n_samples: int, n_fft: int) -> None:
    signal = np.random.default_rng(0).normal(0, 0.1, n_samples).astype(np.float32)
    spectrum = Spectrum(signal, 16_000, settings(n_fft=n_fft, n_mels=20))
    padded = np.pad(signal, n_fft // 2)  # librosa's own centring warns about short signals
    stft = librosa.stft(padded, n_fft=n_fft, hop_length=256, center=False)
    assert spectrum.power.dtype == np.float32
    assert spectrum.power.shape == (spectrum.n_frames, n_fft // 2 + 1)
    np.testing.assert_allclose(spectrum.power, (np.abs(stft) ** 2).T, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("top_db", "tolerance_db"), [(80.0, 2e-3), (120.0, 0.2)])
@pytest.mark.parametrize("noise_rms", [2e-5, 2e-6])
def test_bands_far_below_the_maximum_are_within_the_stated_tolerance(
    top_db: float, tolerance_db: float, noise_rms: float
) -> None:
    """A tone at 200 Hz over weak white noise, where the error of single precision is largest."""
    noise = np.random.default_rng(4).normal(0, noise_rms, 16_000)
    signal = (0.5 * np.sin(2 * np.pi * 200 * np.arange(16_000) / 16_000) + noise).astype(np.float32)
    mel = librosa.feature.melspectrogram(y=signal, sr=16_000, n_fft=1024, hop_length=256)
    expected = librosa.power_to_db(mel, top_db=top_db).T
    mel_db = Spectrum(signal, 16_000, settings(top_db=top_db)).mel_db
    np.testing.assert_allclose(mel_db, expected, atol=tolerance_db, rtol=0)


def test_a_long_recording_equals_its_parts() -> None:
    """Frames are transformed in blocks: none is lost or repeated between two blocks."""
    hop, n_fft = 256, 1024
    signal = np.random.default_rng(2).normal(0, 0.1, 300 * hop).astype(np.float32)
    whole = Spectrum(signal, 16_000, settings()).power
    part = Spectrum(signal[50 * hop :], 16_000, settings()).power
    inner = n_fft // hop // 2  # frames that include the zeros before the part
    np.testing.assert_allclose(part[inner:], whole[50 + inner :], rtol=1e-5, atol=1e-7)


def test_decibels_have_a_floor_below_the_maximum() -> None:
    signal = np.sin(np.arange(4000) * 0.5).astype(np.float32)
    mel_db = Spectrum(signal, 16_000, settings(top_db=30.0)).mel_db
    assert mel_db.min() == pytest.approx(mel_db.max() - 30, abs=1e-5)


def test_silence_is_at_minus_100_db() -> None:
    mel_db = Spectrum(np.zeros(4000, np.float32), 16_000, settings()).mel_db
    np.testing.assert_allclose(mel_db, -100, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"hop_length": 2048},
            r"params\.spectrum: hop_length 2048 .*n_fft 1024",
        ),
        ({"fmin_hz": 8000.0}, r"params\.spectrum: fmin_hz 8000 .*fmax_hz 8000"),
        ({"n_fft": 16}, r"params\.spectrum\.n_fft: 16 "),
        ({"top_db": 0.0}, r"params\.spectrum\.top_db: 0\.0 "),
    ],
)
def test_invalid_settings_are_an_error(changes: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        params.check(params.Spectrum, settings().model_dump() | changes, "params.spectrum")
