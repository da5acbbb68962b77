"""Samples in, an answer every quarter of a second, about the last few seconds; memory is bounded.

The recording's mean, its level and the floor of its spectrum are those of the window, as they are in a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from stages.audio.recording import HIGHEST_RATE_HZ, LOWEST_RATE_HZ, Samples
from stages.base.errors import InputError, shown
from stages.inference.bundle import Bundle, Window, full_scale

EVERY_S = 0.25
LONGEST_S = 3600.0  # of a window, and between answers


class Stream:
    """Answers about the last seconds of a sound that goes on.

    Examples:
        >>> listening = Stream(bundle.load("model_bundle"), 16_000)     # doctest: +SKIP
        >>> for answer in listening.add(block):                        # doctest: +SKIP
        ...     print(answer.end_s, answer.emotion, answer.confidence)
    """

    def __init__(
        self, model: Bundle, rate_hz: int, window_s: float | None = None, every_s: float = EVERY_S
    ) -> None:
        """Takes a bundle and the rate of the samples.

        Args:
            model: what answers.
            window_s: how much of the past an answer is about; None for what the training clips last (median).
            every_s: between two answers.

        Raises:
            InputError: a rate or duration is too small or too large.
        """
        window_s = model.window_s if window_s is None else window_s
        is_possible = LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ and all(
            1 / rate_hz <= seconds <= LONGEST_S for seconds in (window_s, every_s)
        )
        if not is_possible:
            raise InputError(
                f"stream: {shown(rate_hz)} Hz, or a window of {window_s:g} s every {every_s:g} s, is not "
                f"possible. Choose {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz, and times from one sample to "
                f"{LONGEST_S:g} s."
            )
        self.n_window, self.n_every = round(window_s * rate_hz), round(every_s * rate_hz)
        self.model, self.rate_hz = model, rate_hz
        self._held: Samples = np.zeros(0, np.float32)
        self._n_received = self._n_new = 0

    @property
    def received_s(self) -> float:
        """How long the sound is until now."""
        return self._n_received / self.rate_hz

    @property
    def first_s(self) -> float:
        """How long the sound has to be for an answer."""
        return -(-self.n_window // self.n_every) * self.n_every / self.rate_hz

    def add(self, samples: ArrayLike) -> Iterator[Window]:
        """Yields an answer for each `every_s` that the samples complete; none before the first `window_s`.

        Args:
            samples: float (n_samples,), full scale = 1, or int16; the next ones of the sound.

        Raises:
            InputError: they are of another type, not finite or not of one channel.
        """
        array = full_scale(samples)
        if array.ndim != 1:
            raise InputError(f"stream: samples of shape {array.shape}; give one channel, (n_samples,).")
        while len(array):
            n = min(self.n_every - self._n_new, len(array))
            self._held = np.concatenate([self._held, array[:n]])[-self.n_window :]
            self._n_received, self._n_new, array = self._n_received + n, self._n_new + n, array[n:]
            if self._n_new == self.n_every:
                self._n_new = 0
                if len(self._held) == self.n_window:
                    start_s = (self._n_received - self.n_window) / self.rate_hz
                    answer = self.model.predict(self._held, self.rate_hz)
                    yield replace(answer, start_s=start_s, end_s=start_s + answer.end_s, timeline=())
