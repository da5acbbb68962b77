"""From a waveform to its features, for the stored recordings as for new ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stages.audio.recording import pre_emphasize
from stages.audio.spectrum import Frames, Spectrum
from stages.audio.speech import speech
from stages.base import params, registry
from stages.base.errors import InputError


@dataclass(frozen=True)
class Extractor:
    """Computes features from waveforms.

    Attributes:
        audio: sample rate, trimming, level and pre-emphasis.
        spectrum: settings of the one spectrum all features share.
        features: by name, the function that computes the feature.
        own_frames: those of them that have a frame rate of their own (`OWN_FRAMES` in their file).
    """

    audio: params.Audio
    spectrum: params.Spectrum
    features: Mapping[str, Callable[[Spectrum], Frames]]
    own_frames: frozenset[str] = frozenset()

    def __call__(self, signal: NDArray[np.float32]) -> dict[str, Frames]:
        """Returns each feature by name, float32 (n_frames, n_dims), the same n_frames but for `own_frames`.

        Args:
            signal: float32 (n_samples,) at `audio.sample_rate_hz`, as recorded.

        Raises:
            InputError: a feature returned another type or shape, or does not match the block `spectrum`.
        """
        used = speech(signal, self.audio.sample_rate_hz, self.audio)
        emphasized = pre_emphasize(used, self.audio.pre_emphasis)
        spectrum = Spectrum(emphasized, self.audio.sample_rate_hz, self.spectrum)
        features = {name: compute(spectrum) for name, compute in self.features.items()}
        for name, frames in features.items():
            n_frames = len(frames) if name in self.own_frames else spectrum.n_frames
            if frames.dtype != np.float32 or frames.ndim != 2 or len(frames) != n_frames or not n_frames:
                raise InputError(
                    f"stages/features/{name}.py: `compute` returned {frames.dtype} {frames.shape} instead of "
                    f"float32 ({n_frames}, n_dims)."
                )
        return features


class Settings(Protocol):
    """What determines features: parameters, or what a bundle stores of them."""

    @property
    def audio(self) -> params.Audio: ...

    @property
    def spectrum(self) -> params.Spectrum: ...

    def config(self, kind: str, name: str, place: str) -> Any:
        """Returns the checked `Config` of an entry of the registry `kind`."""


def extractor(settings: Settings, names: Sequence[str], place: str) -> Extractor:
    """Returns the extractor of the named features, after trying it on one second of silence.

    Args:
        names: entries of stages/features.
        place: the key in params.yaml that selects them.

    Raises:
        InputError: a feature is unknown, or its block is invalid or does not match the block `spectrum`.
    """
    features = {}
    for name in names:
        config = settings.config("features", name, place)
        features[name] = partial(registry.load("features", name, place).compute, config=config)
    own_frames = frozenset(name for name in names if registry.has_own_frames(name, place))
    made = Extractor(settings.audio, settings.spectrum, features, own_frames)
    made(np.zeros(settings.audio.sample_rate_hz, np.float32))
    return made
