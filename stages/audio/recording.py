"""Decoding audio files into samples. The format is detected from a file's content, not from its name."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from stages.audio import lfs
from stages.base import errors
from stages.base.errors import InputError

Samples = NDArray[np.float32]

SUFFIXES = (".aif", ".aiff", ".flac", ".mp3", ".ogg", ".opus", ".wav")  # of the files that are examined
LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1000, 768_000
LOUDEST = 2.0**31  # times full scale: the range of 32-bit integers stored unscaled as floats
BLOCK_SAMPLES = 1 << 16  # decoded at a time, all channels together
# libsndfile shortens a chunk whose header gives more bytes than the file has, and only its log says so.
SHORT_CHUNK = re.compile(r"^\s*(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
# Programs that write to a pipe do not know the length: ffmpeg writes 2^32 - 1, SoX 2^31 - 4096.
UNKNOWN_BYTES = 0x7FFFF000
UNKNOWN_FRAMES = 2**63 - 1  # libsndfile's SF_COUNT_MAX, for a FLAC stream of unknown length
SYSTEM_ERROR = 2  # libsndfile's SF_ERR_SYSTEM
MPEG_FRAME_SAMPLES = 1152  # without a Xing header, an MP3's length is estimated to within one frame


class AudioError(Exception):
    """A file cannot be decoded into a usable recording; the message gives the reason."""


class UnreadableError(AudioError):
    """The system does not return a file's content, which says nothing about the recording."""


@dataclass(frozen=True)
class Recording:
    """A decoded file.

    Attributes:
        samples: float32 (n_samples,), the mean of the channels, full scale = 1.
        sample_rate_hz: of the file.
        n_channels: of the file.
    """

    samples: Samples
    sample_rate_hz: int
    n_channels: int

    @property
    def duration_s(self) -> float:
        """Duration of the recording."""
        return len(self.samples) / self.sample_rate_hz


def decode(path: Path, longest_s: float = math.inf) -> Recording:
    """Returns the recording in `path`, in any format that libsndfile reads.

    Memory, 8 bytes per sample of one channel, is bounded by `longest_s` and by what the file contains,
    whatever length its header gives.

    Raises:
        AudioError: the file is empty, not audio, truncated, damaged or longer than `longest_s`, or some
            samples are not finite.
        UnreadableError: the file is missing, or the disk or the operating system reports an error.
    """
    _check_content(path)
    try:
        with soundfile.SoundFile(path) as file:
            rate_hz = file.samplerate
            _check_header(file, longest_s)
            blocks = list(_blocks(file))
            n_samples = sum(map(len, blocks))
            if n_samples + MPEG_FRAME_SAMPLES < file.frames:
                header_s, found_s = file.frames / rate_hz, n_samples / rate_hz
                raise AudioError(f"truncated: {header_s:.3f} s by its header, {found_s:.3f} s found")
            n_channels = file.channels
    except soundfile.LibsndfileError as error:
        if error.code == SYSTEM_ERROR:
            raise UnreadableError("unreadable: the system reports an error to libsndfile") from error
        raise AudioError(f"not audio or damaged: {error.error_string.rstrip('.')}") from error
    if n_samples == 0:
        raise AudioError("empty: no samples")
    n_bad = sum(int(np.count_nonzero(~(np.abs(block) <= LOUDEST))) for block in blocks)
    if n_bad:
        raise AudioError(f"not finite: {n_bad} of {n_samples} samples are NaN, infinite or above {LOUDEST:g}")
    return Recording(np.concatenate(blocks) if len(blocks) > 1 else blocks[0], rate_hz, n_channels)


def resample(recording: Recording, sample_rate_hz: int) -> Samples:
    """Returns the samples at another rate (soxr, high quality), float32 (n_samples,).

    Raises:
        AudioError: the recording is so short that no sample is left.

    Examples:
        >>> second = Recording(np.ones(48_000, np.float32), sample_rate_hz=48_000, n_channels=1)
        >>> resample(second, sample_rate_hz=16_000).shape
        (16000,)
    """
    if recording.sample_rate_hz == sample_rate_hz:
        return recording.samples
    samples = np.asarray(soxr.resample(recording.samples, recording.sample_rate_hz, sample_rate_hz, "HQ"))
    if not len(samples):
        raise AudioError(f"too short: {recording.duration_s:g} s have no sample at {sample_rate_hz} Hz")
    return samples


def pre_emphasize(samples: Samples, coefficient: float) -> Samples:
    """Returns y[n] = x[n] - coefficient x[n - 1], float32 (n_samples,); a coefficient of 0 changes nothing.

    The first sample becomes 3 x[0] - x[1], as in `librosa.effects.preemphasis`.

    Examples:
        >>> pre_emphasize(np.array([1, 2, 2], np.float32), coefficient=0.5)
        array([1. , 1.5, 1. ], dtype=float32)
    """
    if coefficient == 0 or len(samples) < 2:
        return samples
    first = 3 * samples[:1] - samples[1:2]
    return np.concatenate([first, samples[1:] - np.float32(coefficient) * samples[:-1]])


def load(path: Path, sample_rate_hz: int) -> Samples:
    """Returns the recording in `path` at one rate, float32 (n_samples,), mono.

    Raises:
        AudioError: see `decode`.
    """
    return resample(decode(path), sample_rate_hz)


def load_listed(path: Path, sample_rate_hz: int) -> Samples:
    """Does what `load` does, for a recording that the manifest lists as usable.

    Raises:
        InputError: the recording cannot be decoded after all, or not read on this machine.
    """
    try:
        return load(path, sample_rate_hz)
    except UnreadableError as error:
        raise errors.unreadable(path, str(error)) from error
    except AudioError as error:
        raise InputError(
            f"{path}: {error}, although the manifest lists it as usable. If the file has changed since, "
            "run `dvc repro manifest`."
        ) from error


def _check_content(path: Path) -> None:
    """Raises AudioError if a file's first bytes show that it is not audio, or if they cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(lfs.MAX_BYTES)
    except OSError as error:
        raise UnreadableError(f"unreadable: {error.strerror}") from error
    if not head:
        raise AudioError("empty: 0 bytes")
    if lfs.parse(head):
        raise AudioError("a Git LFS pointer instead of audio: run `git lfs pull` in the clone it came from")


def _check_header(file: soundfile.SoundFile, longest_s: float) -> None:
    """Raises AudioError for an impossible rate or length, or a length above what the file contains."""
    if not LOWEST_RATE_HZ <= file.samplerate <= HIGHEST_RATE_HZ:
        raise AudioError(f"impossible header: {file.samplerate} Hz")
    for in_header, found in SHORT_CHUNK.findall(file.extra_info):
        if int(found) < int(in_header) < UNKNOWN_BYTES:
            raise AudioError(f"truncated: {in_header} bytes of audio by its header, {found} found")
    if file.frames == UNKNOWN_FRAMES:
        raise AudioError("unfinished header: it gives no length; encode the file again, not into a pipe")
    if file.frames > longest_s * file.samplerate:
        raise AudioError(
            f"too long: {file.frames / file.samplerate:.1f} s by its header, limit {longest_s:g} s"
        )


def _blocks(file: soundfile.SoundFile) -> Iterator[Samples]:
    """Yields the file's samples block by block, float32 (n_samples,), mixed to mono."""
    n_frames = max(1, BLOCK_SAMPLES // file.channels)
    while len(block := file.read(n_frames, dtype="float32", always_2d=True)):
        with np.errstate(invalid="ignore", over="ignore"):  # `decode` reports them
            yield block.mean(axis=1) if file.channels > 1 else block[:, 0]
