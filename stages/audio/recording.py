"""Audio files made into samples: whatever the file's name says, its content decides."""

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
from stages.base.errors import InputError

Samples = NDArray[np.float32]

SUFFIXES = (".aif", ".aiff", ".flac", ".mp3", ".ogg", ".opus", ".wav")  # of files to look into
LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1000, 768_000
LOUDEST = 2.0**31  # times full scale: more than integers give that were stored as floats unscaled
BLOCK_SAMPLES = 1 << 16  # decoded at once, of all channels together
# libsndfile mends a chunk that promises more bytes than the file has, and tells so in its log alone.
SHORT_CHUNK = re.compile(r"^\s*(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
# Programs that write to a pipe do not know the length: ffmpeg puts 2^32 - 1 for it, SoX 2^31 - 4096.
UNKNOWN_BYTES = 0x7FFFF000
UNKNOWN_FRAMES = 2**63 - 1  # libsndfile's SF_COUNT_MAX, for a FLAC stream of unknown length
MPEG_FRAME_SAMPLES = 1152  # an MP3 without a Xing header has its length estimated, to within a frame


class AudioError(Exception):
    """A file that gives no usable recording; its message is the reason."""


@dataclass(frozen=True)
class Recording:
    """A decoded file.

    Attributes:
        samples: float32 (n_samples,), the mean of the channels, full scale = 1.
        sample_rate_hz: as the file says.
        n_channels: in the file.
    """

    samples: Samples
    sample_rate_hz: int
    n_channels: int

    @property
    def duration_s(self) -> float:
        """Length of the recording."""
        return len(self.samples) / self.sample_rate_hz


def decode(path: Path, longest_s: float = math.inf) -> Recording:
    """Returns the recording in `path`, in any format libsndfile reads.

    Memory is bounded by `longest_s` and by what the file holds, whatever its header promises: 8 bytes a
    sample of one channel.

    Raises:
        AudioError: the file is empty, no audio, truncated, damaged, longer than `longest_s`, or has
            samples that are no finite number.
    """
    _check_content(path)
    try:
        with soundfile.SoundFile(path) as file:
            rate_hz = file.samplerate
            _check_header(file, longest_s)
            blocks = list(_blocks(file))
            n_samples = sum(map(len, blocks))
            if n_samples + MPEG_FRAME_SAMPLES < file.frames:
                promised_s, there_s = file.frames / rate_hz, n_samples / rate_hz
                raise AudioError(f"truncated: header promises {promised_s:.3f} s, {there_s:.3f} s are there")
            n_channels = file.channels
    except soundfile.LibsndfileError as error:
        raise AudioError(f"not audio or damaged: {error.error_string.rstrip('.')}") from error
    if n_samples == 0:
        raise AudioError("empty: no samples")
    n_bad = sum(int(np.count_nonzero(~(np.abs(block) <= LOUDEST))) for block in blocks)
    if n_bad:
        raise AudioError(f"not finite: {n_bad} of {n_samples} samples are NaN, infinite or above {LOUDEST:g}")
    return Recording(np.concatenate(blocks) if len(blocks) > 1 else blocks[0], rate_hz, n_channels)


def resample(recording: Recording, sample_rate_hz: int) -> Samples:
    """Returns the recording at another rate (soxr, high quality), as float32 (n_samples,).

    Raises:
        AudioError: the recording is so short that no sample is left.
    """
    if recording.sample_rate_hz == sample_rate_hz:
        return recording.samples
    samples = np.asarray(soxr.resample(recording.samples, recording.sample_rate_hz, sample_rate_hz, "HQ"))
    if not len(samples):
        raise AudioError(f"too short: nothing is left of {recording.duration_s:g} s at {sample_rate_hz} Hz")
    return samples


def pre_emphasize(samples: Samples, coefficient: float) -> Samples:
    """Returns y[n] = x[n] - coefficient x[n - 1], float32 (n_samples,); 0 changes nothing.

    The first sample is what `librosa.effects.preemphasis` makes of it: 3 x[0] - x[1].
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
    """Returns what `load` does of a recording that the manifest lists as fit for use.

    Raises:
        InputError: it cannot be decoded after all.
    """
    try:
        return load(path, sample_rate_hz)
    except AudioError as error:
        raise InputError(
            f"{path}: {error}, yet the manifest lists it as fit for use. If the file has changed since, "
            "`dvc repro manifest` looks again."
        ) from error


def _check_content(path: Path) -> None:
    """Refuses what can be told from a file's first bytes."""
    try:
        with path.open("rb") as file:
            head = file.read(lfs.MAX_BYTES)
    except OSError as error:
        raise AudioError(f"unreadable: {error.strerror}") from error
    if not head:
        raise AudioError("empty: 0 bytes")
    if lfs.parse(head):
        raise AudioError("a Git LFS pointer instead of audio: run `git lfs pull` in the clone it came from")


def _check_header(file: soundfile.SoundFile, longest_s: float) -> None:
    """Refuses a header whose rate or length cannot be, or that promises more bytes than there are."""
    if not LOWEST_RATE_HZ <= file.samplerate <= HIGHEST_RATE_HZ:
        raise AudioError(f"impossible header: {file.samplerate} Hz")
    for promised, there in SHORT_CHUNK.findall(file.extra_info):
        if int(there) < int(promised) < UNKNOWN_BYTES:
            raise AudioError(f"truncated: header promises {promised} bytes of audio, {there} are there")
    if file.frames == UNKNOWN_FRAMES:
        raise AudioError(
            "unfinished header: it gives no length, so encode the recording again, not into a pipe"
        )
    if file.frames > longest_s * file.samplerate:
        raise AudioError(
            f"too long: {file.frames / file.samplerate:.1f} s by its header, limit {longest_s:g} s"
        )


def _blocks(file: soundfile.SoundFile) -> Iterator[Samples]:
    """Yields the file's samples, float32 (n_samples,), mixed to mono."""
    n_frames = max(1, BLOCK_SAMPLES // file.channels)
    while len(block := file.read(n_frames, dtype="float32", always_2d=True)):
        with np.errstate(invalid="ignore", over="ignore"):  # `decode` refuses what is not finite, by name
            yield block.mean(axis=1) if file.channels > 1 else block[:, 0]
