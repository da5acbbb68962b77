"""Decoding audio files into samples. The format is detected from a file's content, not from its name."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from stages.audio import ffmpeg, lfs, ogg
from stages.base import errors
from stages.base.errors import InputError, uninterrupted

Samples = NDArray[np.float32]

# Of the files that are examined: what libsndfile and, with the extra `av`, FFmpeg read.
SUFFIXES = (
    *(".aif", ".aifc", ".aiff", ".au", ".avr", ".caf", ".flac", ".htk", ".iff", ".ircam", ".mp2", ".mp3"),
    *(".nist", ".oga", ".ogg", ".opus", ".paf", ".pvf", ".rf64", ".sd2", ".sds", ".sf", ".snd", ".sph"),
    *(".svx", ".voc", ".w64", ".wav", ".wave", ".wve", ".xi"),
    *ffmpeg.SUFFIXES,
)
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
LOW_BITS = 2.0**-8  # the largest sample, if 24-bit samples are in the low bits of 32
# Channels cancel if their mean has a tenth of the power that independent channels would leave.
CANCELLED = 0.1


class AudioError(Exception):
    """A file cannot be decoded into a usable recording; the message gives the reason."""


class UnreadableError(AudioError):
    """The system does not return a file's content, which says nothing about the recording."""


@dataclass(frozen=True)
class Recording:
    """A decoded file.

    Attributes:
        samples: float32 (n_samples,), without DC offset, full scale = 1: the mean of the channels, or the
            strongest channel if they cancel.
        sample_rate_hz: of the file.
        n_channels: of the file.
        dc_offset: the mean that was subtracted.
        agreement: the power of the channels' mean over their mean power: 1 for equal channels, 0 if they
            cancel.
        cancelled: whether `samples` is one channel because the channels cancel.
    """

    samples: Samples
    sample_rate_hz: int
    n_channels: int
    dc_offset: float = 0.0
    agreement: float = 1.0
    cancelled: bool = False

    @property
    def duration_s(self) -> float:
        """Duration of the recording."""
        return len(self.samples) / self.sample_rate_hz


@dataclass
class _Mix:
    """Mixes blocks to mono, and sums what is needed to compare the channels.

    Attributes:
        channel: the one to use, None for the mean.
        n_samples: of one channel, so far.
        sums, squares: float64 (1 + n_channels,), of the mixed samples and of each channel.
    """

    channel: int | None = None
    n_samples: int = 0
    sums: Any = 0.0
    squares: Any = 0.0

    def __call__(self, block: Samples) -> Samples:
        """Returns a block (n_samples, n_channels) mixed, float32 (n_samples,)."""
        self.n_samples += len(block)
        if block.shape[1] == 1:
            return block[:, 0]
        with np.errstate(invalid="ignore", over="ignore"):  # `decode` reports them
            mixed = block.mean(axis=1) if self.channel is None else block[:, self.channel].copy()
            each = np.column_stack([mixed, block]).astype(np.float64)
            self.sums = self.sums + each.sum(axis=0)
            self.squares = self.squares + np.einsum("ij,ij->j", each, each)
        return mixed


def decode(path: Path, longest_s: float = math.inf) -> Recording:
    """Returns the recording in `path`, in any format that libsndfile or, with the extra `av`, FFmpeg reads.

    Memory, 8 bytes per sample of one channel, is bounded by `longest_s` and by what the file contains,
    whatever length its header gives.

    Raises:
        AudioError: the file is empty, not audio, truncated, damaged or longer than `longest_s`, or some
            samples are not finite.
        UnreadableError: the file is missing, or the disk or the operating system reports an error.
    """
    mix = _Mix()
    samples, rate_hz, n_channels = _read(path, longest_s, mix)
    agreement, channel = _compared(mix, n_channels)
    if channel is not None:
        samples, _, _ = _read(path, longest_s, _Mix(channel))
    return _centred(samples, rate_hz, n_channels, agreement, channel is not None)


def mixed(samples: Samples, sample_rate_hz: int) -> Recording:
    """Returns samples that are already decoded as `decode` returns a file's.

    Args:
        samples: float32 (n_samples, n_channels), full scale = 1.

    Raises:
        AudioError: there are none, some are not finite, or the rate is impossible.

    Examples:
        >>> mixed(np.array([[0.5, 0.1], [0.1, 0.1]], np.float32), 16_000).samples.round(2)
        array([ 0.1, -0.1], dtype=float32)
    """
    _check_rate(sample_rate_hz)
    mix, n_channels = _Mix(), samples.shape[1]
    mono = mix(samples)
    _check_samples([mono])
    agreement, channel = _compared(mix, n_channels)
    if channel is not None:
        mono = samples[:, channel]
    return _centred(mono.copy(), sample_rate_hz, n_channels, agreement, channel is not None)


def _compared(mix: _Mix, n_channels: int) -> tuple[float, int | None]:
    """Returns the agreement of the channels, and the one to use instead of their mean if they cancel."""
    variances = np.maximum(mix.squares / mix.n_samples - (mix.sums / mix.n_samples) ** 2, 0)
    if n_channels == 1 or not variances[1:].any():
        return 1.0, None
    agreement = float(variances[0] / variances[1:].mean())
    return agreement, int(variances[1:].argmax()) if agreement * n_channels < CANCELLED else None


def _centred(samples: Samples, rate_hz: int, n_channels: int, agreement: float, cancelled: bool) -> Recording:
    """Returns the recording; its mean is removed from `samples` in place, as a copy may take much memory."""
    dc_offset = float(samples.mean(dtype=np.float64))
    samples -= np.float32(dc_offset)
    return Recording(samples, rate_hz, n_channels, dc_offset, agreement, cancelled)


def _read(path: Path, longest_s: float, mix: _Mix) -> tuple[Samples, int, int]:
    """Returns the mixed samples, float32 (n_samples,), their rate in Hz and the number of channels."""
    with opened(path, longest_s) as (rate_hz, n_channels, raw):
        blocks = []
        for block in raw:
            blocks.append(mix(block))
            if mix.n_samples > longest_s * rate_hz:
                raise AudioError(f"too long: more than {longest_s:g} s")
    _check_samples(blocks)
    return np.concatenate(blocks), rate_hz, n_channels


@contextmanager
def opened(path: Path, longest_s: float = math.inf) -> Iterator[tuple[int, int, Iterator[Samples]]]:
    """Yields a file's rate in Hz, its number of channels and its blocks, float32 (n_samples, n_channels).

    Only a block at a time is in memory. The samples are as the file has them: see `mixed`.

    Raises:
        AudioError, UnreadableError: see `decode`; some faults are found at the end of the blocks.
    """
    head = _check_content(path)
    demuxer = ffmpeg.container(head)
    try:
        with _stream(path, head, longest_s) if not demuxer else ffmpeg.opened(path, demuxer) as stream:
            rate_hz, n_channels, length_s, raw = stream
            _check_rate(rate_hz)
            allowed_s = ffmpeg.MISSING_S if demuxer else MPEG_FRAME_SAMPLES / rate_hz
            yield rate_hz, n_channels, _complete(raw, rate_hz, length_s - allowed_s, length_s)
    except soundfile.LibsndfileError as error:
        if error.code == SYSTEM_ERROR:
            raise UnreadableError("unreadable: the system reports an error to libsndfile") from error
        raise AudioError(f"not audio or damaged: {error.error_string.rstrip('.')}") from error
    except (ffmpeg.FfmpegError, TypeError) as error:  # TypeError: soundfile's, for a name ending in `.raw`
        raise AudioError(str(error) if demuxer else "not audio or damaged: samples without header") from error


def _complete(blocks: Iterator[Samples], rate_hz: int, least_s: float, length_s: float) -> Iterator[Samples]:
    """Yields the blocks.

    Raises:
        AudioError: at the end, there were no samples, or less than `least_s` of a header's `length_s`.
    """
    n_samples = 0
    for block in blocks:
        n_samples += len(block)
        yield block
    if n_samples / rate_hz < least_s:
        raise AudioError(f"truncated: {length_s:.3f} s by its header, {n_samples / rate_hz:.3f} s found")
    if n_samples == 0:
        raise AudioError("empty: no samples")


def _check_rate(rate_hz: int) -> None:
    if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
        raise AudioError(f"impossible header: {rate_hz} Hz")


def _check_samples(blocks: Sequence[Samples]) -> None:
    """Raises AudioError if there are no samples or some are not finite."""
    n_samples = sum(map(len, blocks))
    if not n_samples:
        raise AudioError("empty: no samples")
    n_bad = sum(int(np.count_nonzero(~(np.abs(block) <= LOUDEST))) for block in blocks)
    if n_bad:
        raise AudioError(f"not finite: {n_bad} of {n_samples} samples are NaN, infinite or above {LOUDEST:g}")


@contextmanager
def _stream(path: Path, head: bytes, longest_s: float) -> Iterator[tuple[int, int, float, Iterator[Samples]]]:
    """Does what `ffmpeg.opened` does, for a file that libsndfile reads."""
    if head.startswith(ogg.MAGIC) and (damage := ogg.damage(path)):
        raise AudioError(f"not audio or damaged: {damage}")
    sizes = _unknown_sizes(head)
    with (
        _Overlaid(path, sizes) if sizes else path.open("rb") as content,
        _Forward(content if sizes else path) as file,
    ):
        _check_header(file, longest_s)
        yield file.samplerate, file.channels, file.frames / file.samplerate, _blocks(file)


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


def _check_content(path: Path) -> bytes:
    """Returns a file's first bytes.

    Raises:
        AudioError: they show that the file is not audio, or it is not a file.
        UnreadableError: they cannot be read.
    """
    try:
        if path.exists() and not path.is_file():  # opening a named pipe would wait forever
            raise AudioError("unreadable: not a file")
        with path.open("rb") as file:
            head = file.read(lfs.MAX_BYTES)
    except OSError as error:
        raise UnreadableError(f"unreadable: {error.strerror}") from error
    if not head:
        raise AudioError("empty: 0 bytes")
    if lfs.parse(head):
        raise AudioError("a Git LFS pointer instead of audio: run `git lfs pull` in the clone it came from")
    return head


def _unknown_sizes(head: bytes) -> tuple[int, ...]:
    """Returns where the size fields of a streamed WAV are, whose sizes of 0 mean "to the end of the file".

    Examples:
        >>> _unknown_sizes(b"RIFF\\0\\0\\0\\0WAVEfmt \\2\\0\\0\\0..data\\0\\0\\0\\0")
        (4, 26)
    """
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return ()
    in_header = int.from_bytes(head[4:8], "little")
    at = 12
    while at + 8 <= len(head):
        name, n_bytes = head[at : at + 4], int.from_bytes(head[at + 4 : at + 8], "little")
        if name == b"data":
            # `at`: a program that was killed left the sizes of a file without samples
            return (4, at + 4) if n_bytes == 0 and in_header in (0, 2**32 - 1, at) else ()
        at += 8 + n_bytes + n_bytes % 2
    return ()


class _Forward(soundfile.SoundFile):  # type: ignore[misc] # soundfile has no types
    """A file that is read from its start to its end.

    Where a file can seek, soundfile sets the position again after each block. By that an MP3's decoder loses
    the frames before it, which it needs, and the first samples of each block are wrong.
    """

    def seekable(self) -> bool:
        return False


class _Overlaid(io.FileIO):
    """A file whose size fields read as "unknown"."""

    def __init__(self, path: Path, sizes: tuple[int, ...]) -> None:
        super().__init__(path)
        self._sizes = sizes

    def readinto(self, buffer: Any) -> int:
        start = self.tell()
        n_bytes = super().readinto(buffer)
        for at in (at for field_at in self._sizes for at in range(field_at, field_at + 4)):
            if start <= at < start + n_bytes:
                buffer[at - start : at - start + 1] = b"\xff"
        return n_bytes


def _check_header(file: soundfile.SoundFile, longest_s: float) -> None:
    """Raises AudioError for an impossible rate or length, or a length above what the file contains."""
    _check_rate(file.samplerate)
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
    """Yields the file's samples block by block, float32 (n_samples, n_channels)."""
    n_frames = max(1, BLOCK_SAMPLES // file.channels)
    low, fine = file.subtype == "PCM_32", False
    while len(block := _next_block(file, n_frames)):
        if low:
            low = bool(np.abs(block).max() <= LOW_BITS)
            fine = fine or bool((block * 2**23 % 1).any())  # finer than a true 24-bit recording's
        yield block
    if low and fine:
        raise AudioError("wrong scale: 24-bit samples in the low bits of 32; write them as 24-bit")


def _next_block(file: soundfile.SoundFile, n_frames: int) -> Samples:
    """Returns the next samples, float32 (n_frames or fewer, n_channels)."""
    with uninterrupted():  # libsndfile may read by `_Overlaid`
        block: Samples = file.read(n_frames, dtype="float32", always_2d=True)
    return block
