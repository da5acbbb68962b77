"""A recording of any length as one clip, or as overlapping windows as long as the training clips."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from stages.audio.recording import Samples


def cut(
    blocks: Iterable[Samples], rate_hz: int, whole_s: float, window_s: float, hop_s: float
) -> Iterator[tuple[float, Samples]]:
    """Yields the start in s and the samples (n_samples, n_channels) of each window.

    A recording of at most `whole_s` is one window. Of a longer one, windows of `window_s` start every
    `hop_s`, and the last one ends with the recording. Only a window is in memory.

    Args:
        blocks: float32 (n_samples, n_channels).
        whole_s: not below `window_s`.
        window_s: at least one sample.
        hop_s: at least one sample.

    Examples:
        >>> blocks = [np.zeros((7, 1)), np.zeros((4, 1))]
        >>> [(start, len(window)) for start, window in cut(blocks, 1, whole_s=5, window_s=4, hop_s=2)]
        [(0.0, 4), (2.0, 4), (4.0, 4), (6.0, 4), (7.0, 4)]
    """
    whole, size, hop = (max(1, round(seconds * rate_hz)) for seconds in (whole_s, window_s, hop_s))
    held: list[Samples] = []
    start, several = 0, False
    for block in blocks:
        held.append(block)
        several = several or sum(map(len, held)) > whole
        while several and sum(map(len, held)) >= size + hop:
            held = [np.concatenate(held)]
            yield start / rate_hz, held[0][:size]
            held, start = [held[0][hop:]], start + hop
    left = np.concatenate(held)
    yield start / rate_hz, left[:size] if several else left
    if several and len(left) > size:
        yield (start + len(left) - size) / rate_hz, left[-size:]
