"""Segments of long recordings as files of their own. A long file is decoded once for all its segments."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.io import wavfile

from stages.acquire.source_file import SourceFile

EXACT = {"PCM_16": "int16", "PCM_S8": "int16", "PCM_U8": "int16", "PCM_24": "int32", "PCM_32": "int32"}
TOLERANCE_S = 0.05  # by which an end may lie behind the recording's


def cut(file: Path, place: PurePosixPath, start_s: float, end_s: float) -> SourceFile:
    """Returns the segment as a WAV file with the recording's own samples, integer samples unchanged.

    Raises:
        ValueError: the segment lies outside of the recording.
        soundfile.LibsndfileError: the recording cannot be read.
    """
    info = soundfile.info(file)
    length_s = info.frames / info.samplerate
    if start_s >= length_s or length_s + TOLERANCE_S < end_s < math.inf:
        raise ValueError(f"outside: {start_s:g} to {end_s:g} s of a recording of {length_s:g} s")
    first = round(start_s * info.samplerate)
    last = round(min(end_s, length_s) * info.samplerate)
    dtype = EXACT.get(info.subtype, "float32")
    header = len(_wav(info.samplerate, np.zeros((0, info.channels), dtype)))
    n_bytes = header + (last - first) * info.channels * np.dtype(dtype).itemsize
    return SourceFile(place, file, n_bytes, partial(_chunks, file, first, last, dtype))


def _chunks(file: Path, first: int, last: int, dtype: str) -> Iterator[bytes]:
    rate_hz, samples = _decoded(file, dtype)
    yield _wav(rate_hz, samples[first:last])


@functools.lru_cache(maxsize=1)
def _decoded(file: Path, dtype: str) -> tuple[int, NDArray]:
    samples, rate_hz = soundfile.read(file, dtype=dtype, always_2d=True)
    return rate_hz, samples


def _wav(rate_hz: int, samples: NDArray) -> bytes:
    written = io.BytesIO()  # libsndfile puts the date into files of floats
    wavfile.write(written, rate_hz, samples)
    return written.getvalue()
