"""The front end as a TensorFlow graph: from samples to the features that `audio.extractor` computes.

Every filter is the pipeline's. Only the Fourier transform is another: a convolution with cosines and sines,
which every runtime has, and what is cut off is decided in single precision: LiteRT has no other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from stages.audio import quality, spectrum, speech
from stages.base import registry
from stages.base.errors import InputError
from stages.base.params import Audio, Spectrum


class FrontEnd:
    """Computes features of a signal, with operations that ONNX has.

    Attributes:
        audio: sample rate, trimming, level and pre-emphasis.
        settings: of the spectrum.
    """

    def __init__(self, audio: Audio, settings: Spectrum, features: dict[str, Any]) -> None:
        """Takes the blocks of params.yaml; `features`: the checked `Config` of each feature by name.

        Raises:
            InputError: a feature is not one of COMPUTED.
        """
        for name in features:
            if name not in COMPUTED:
                raise InputError(
                    f"export: the feature '{name}' has no graph, only {', '.join(sorted(COMPUTED))} have. "
                    "Use the bundle, which computes every feature."
                )
        self.audio, self.settings, self.features = audio, settings, features

    def __call__(self, samples: tf.Tensor) -> tf.Tensor:
        """Returns float32 (n_frames, n_dims) of float32 (n_samples,) at the model's rate."""
        samples = samples - tf.reduce_mean(samples)  # as decoding does
        signal = _pre_emphasized(speech_of(samples, self.audio), self.audio.pre_emphasis)
        graph = SpectrumGraph(signal, self.audio.sample_rate_hz, self.settings)
        return tf.concat([COMPUTED[name](graph, config) for name, config in self.features.items()], axis=1)


class SpectrumGraph:
    """A signal and its power spectrum as tensors; `audio.spectrum.Spectrum` is the same in numpy.

    Attributes:
        signal: float32 (n_samples,).
        power: float32 (n_frames, 1 + n_fft // 2).
    """

    def __init__(self, signal: tf.Tensor, sample_rate_hz: int, settings: Spectrum) -> None:
        self.signal, self.sample_rate_hz, self.settings = signal, sample_rate_hz, settings
        n_fft = settings.n_fft
        angle = 2 * np.pi * np.outer(np.arange(n_fft), np.arange(n_fft // 2 + 1)) / n_fft
        window = spectrum.hann(n_fft).astype(np.float64)[:, None]
        real, imaginary = (self.filtered(signal, window * wave(angle)) for wave in (np.cos, np.sin))
        self.power = tf.square(real) + tf.square(imaginary)

    def filtered(self, samples: tf.Tensor, kernels: np.ndarray) -> tf.Tensor:
        """Returns each frame's products with kernels (n_fft, n_kernels), float32 (n_frames, n_kernels)."""
        half = self.settings.n_fft // 2
        padded = tf.pad(samples, [[half, half]])[None, :, None]
        out = tf.nn.conv1d(padded, kernels[:, None, :].astype(np.float32), self.settings.hop_length, "VALID")
        return out[0]

    def mel_db(self) -> tf.Tensor:
        """Returns the log-mel spectrum in dB, float32 (n_frames, n_mels)."""
        settings = self.settings
        filters = spectrum.mel_filters(
            self.sample_rate_hz, settings.n_fft, settings.n_mels, settings.fmin_hz, settings.fmax_hz
        )
        mel = tf.matmul(self.power, filters.T.copy())
        floor = tf.maximum(spectrum.LEAST_POWER, tf.reduce_max(mel) * 10 ** (-settings.top_db / 10))
        return tf.math.log(tf.maximum(mel, floor)) * np.float32(10 / np.log(10))


def _mfcc(graph: SpectrumGraph, config: Any) -> tf.Tensor:
    return tf.matmul(graph.mel_db(), spectrum.cosines(graph.settings.n_mels, config.n_mfcc))


def _rms(graph: SpectrumGraph, _: Any) -> tf.Tensor:
    ones = np.ones((graph.settings.n_fft, 1))
    return tf.sqrt(graph.filtered(tf.square(graph.signal), ones / graph.settings.n_fft))


def _zcr(graph: SpectrumGraph, _: Any) -> tf.Tensor:
    negative = tf.cast(graph.signal < -_entry("zcr").SILENCE, tf.float32)
    crossings = tf.concat([[0.0], tf.abs(negative[1:] - negative[:-1])], axis=0)
    within = np.ones((graph.settings.n_fft, 1))
    within[0] = 0
    return graph.filtered(crossings, within) / graph.settings.n_fft


def _chroma(graph: SpectrumGraph, _: Any) -> tf.Tensor:
    filters = _entry("chroma").chroma_filters(graph.sample_rate_hz, graph.settings.n_fft)
    bands = tf.matmul(graph.power, filters.T.copy())
    peak = tf.reduce_max(bands, axis=1, keepdims=True)
    return bands / tf.where(peak < np.finfo(np.float32).tiny, tf.ones_like(peak), peak)


COMPUTED: dict[str, Callable[[SpectrumGraph, Any], tf.Tensor]] = {
    "chroma": _chroma,
    "logmel": lambda graph, _: graph.mel_db(),
    "mfcc": _mfcc,
    "rms": _rms,
    "zcr": _zcr,
}


def speech_of(samples: tf.Tensor, audio: Audio) -> tf.Tensor:
    """Returns what `audio.speech.speech` does, float32 (n_samples,)."""
    n = round(quality.FRAME_S * audio.sample_rate_hz)
    if audio.trim_db is not None:
        first, end = _loud(_frame_powers(samples, n), audio.trim_db)
        samples = samples[first * n : end * n]
    if audio.level_db is not None:
        powers = _frame_powers(samples, n)
        count = tf.cast(tf.size(powers), tf.float32) * speech.LOUDEST_FRACTION
        loudest = tf.math.top_k(powers, tf.maximum(1, tf.cast(tf.round(count), tf.int32))).values
        gain = tf.sqrt(10 ** (audio.level_db / 10) / tf.reduce_mean(loudest))
        samples = samples * gain
    return samples


def _frame_powers(samples: tf.Tensor, n: int) -> tf.Tensor:
    """Returns the mean power of each whole frame of `n` samples (at least one), float32 (n_frames,)."""
    n_samples = tf.size(samples)
    n_used = tf.where(n_samples < n, n_samples, n_samples // n * n)
    frames = tf.reshape(samples[:n_used], (-1, tf.minimum(n, n_samples)))
    return tf.maximum(tf.reduce_mean(tf.square(frames), axis=1), 10 ** (quality.LOWEST_DB / 10))


def _loud(powers: tf.Tensor, trim_db: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the first frame to keep and the end of the last one.

    Of so few frames that the smoothing or the median of the ends would differ, the margins keep all.
    """
    n_frames, n_smoothed = tf.size(powers), speech.SMOOTHED_FRAMES
    padded = tf.pad(powers, [[n_smoothed // 2, n_smoothed // 2]])
    smooth = tf.add_n([padded[i : i + n_frames] for i in range(n_smoothed)]) / n_smoothed
    loudest = tf.reduce_max(smooth)
    noise = tf.minimum(_median(smooth[: speech.END_FRAMES]), _median(smooth[-speech.END_FRAMES :]))
    above_noise = tf.minimum(
        noise * 10 ** (speech.ABOVE_NOISE_DB / 10), loudest * 10 ** (-speech.ALWAYS_DB / 10)
    )
    loud = tf.where(smooth >= tf.maximum(loudest * 10 ** (-trim_db / 10), above_noise))
    first, last = (tf.cast(end(loud), tf.int32) for end in (tf.reduce_min, tf.reduce_max))
    return tf.maximum(0, first - speech.MARGIN_FRAMES), last + 1 + speech.MARGIN_FRAMES


def _median(values: tf.Tensor) -> tf.Tensor:
    return tf.sort(values)[tf.size(values) // 2]


def _pre_emphasized(samples: tf.Tensor, coefficient: float) -> tf.Tensor:
    if coefficient == 0:
        return samples
    first = 3 * samples[:1] - samples[1:2]
    return tf.concat([first, samples[1:] - coefficient * samples[:-1]], axis=0)


def _entry(name: str) -> Any:
    return registry.load("features", name, "params.features")
