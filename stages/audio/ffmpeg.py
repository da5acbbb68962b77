"""Decoding what libsndfile does not read (m4a, mp4, webm, wma, aac, amr) with FFmpeg: the extra `av`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# FFmpeg's demuxer by the bytes at an offset. It is named, so that no other one tries to read the file.
SIGNATURES = (
    (4, b"ftyp", "mp4"),
    (0, b"\x1a\x45\xdf\xa3", "matroska"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (0, b"#!AMR", "amr"),
    (0, b"\xff\xf1", "aac"),
    (0, b"\xff\xf9", "aac"),
)
SUFFIXES = (".3gp", ".aac", ".amr", ".m4a", ".m4b", ".mka", ".mp4", ".webm", ".wma")
MISSING_S = 0.25  # by which the header may exceed the sound: encoders count their delay and padding


class FfmpegError(Exception):
    """A file cannot be decoded; the message gives the reason."""


def container(head: bytes) -> str:
    """Returns the name of FFmpeg's demuxer for a file that begins with `head`, "" for other files.

    Examples:
        >>> container(b"\\0\\0\\0 ftypM4A ")
        'mp4'
        >>> container(b"RIFF")
        ''
    """
    return next((name for at, magic, name in SIGNATURES if head[at : at + len(magic)] == magic), "")


@contextmanager
def opened(path: Path, demuxer: str) -> Iterator[tuple[int, int, float, Iterator[NDArray[np.float32]]]]:
    """Yields rate in Hz, number of channels, duration in s by the header (NaN: unknown) and the blocks of the
    first audio stream, each float32 (n_samples, n_channels).

    Raises:
        FfmpegError: the extra `av` is not installed, or the file has no audio stream or is damaged.
    """
    try:
        import av
    except ImportError as error:
        raise FfmpegError(
            f"no decoder for {demuxer}: install the extra `av`, or convert the file "
            "(`ffmpeg -i clip.m4a clip.wav`)"
        ) from error
    try:
        # A file object, not a name: FFmpeg's protocols and playlists open other files.
        with path.open("rb") as file, av.open(file, "r", format=demuxer) as opened_container:
            if not opened_container.streams.audio:
                raise FfmpegError("no audio stream")
            stream = opened_container.streams.audio[0]
            length_s = math.nan
            if stream.duration and stream.time_base:
                length_s = float(stream.duration * stream.time_base)
            elif opened_container.duration:
                length_s = opened_container.duration / av.time_base
            yield stream.rate, stream.channels, length_s, _blocks(av, opened_container, stream)
    except (av.error.FFmpegError, ValueError) as error:
        raise FfmpegError(f"not audio or damaged: {getattr(error, 'strerror', None) or error}") from error


def _blocks(av: Any, opened_container: Any, stream: Any) -> Iterator[NDArray[np.float32]]:
    convert = av.AudioResampler(format="fltp", layout=stream.layout.name, rate=stream.rate)
    for frame in opened_container.decode(stream):
        for converted in convert.resample(frame):
            yield np.ascontiguousarray(converted.to_ndarray().T, dtype=np.float32)
