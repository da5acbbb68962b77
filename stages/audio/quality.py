"""Which recordings are usable: what a file contains, why it is excluded, and what is unusual about it."""

from __future__ import annotations

import errno
import hashlib
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
from numpy.typing import NDArray

from stages.audio.recording import AudioError, Recording, Samples, UnreadableError, decode
from stages.base import errors
from stages.base.params import Manifest
from stages.data.keys import sha256
from stages.data.vocabulary import UNKNOWN

if TYPE_CHECKING:
    import pandas as pd

FRAME_S = 0.02  # a whole number of periods of mains hum at 50 and 100 Hz
ACTIVE_DB = 40.0  # a frame is active if it is at most so far below the loudest
BAND_DB = 60.0  # a frequency belongs to the band if its power is at most so far below the strongest
LOWEST_DB = -120.0
WINDOWS_AT_ONCE = 256  # bounds the memory beside the samples
MIXED_UP = ("emotion", "speaker", "sentence")  # what copies of the same audio must agree on


@dataclass(frozen=True)
class Measures:
    """What the samples of a recording are like; some are the manifest's columns of these names.

    Attributes:
        duration_s: of the recording.
        peak_dbfs: the largest magnitude, None if all samples are equal.
        level_dbfs: RMS of the active frames, None if all samples are equal.
        active_s: total duration of the active frames.
        level_range_db: between the 5th and 95th percentile of the frames' levels; about 1 for steady noise.
        bandwidth_hz: the highest frequency of the band.
        overloaded: fraction of samples above half of full scale. Speech has a few per cent at most.
        clipped: fraction of samples within 0.1 % of the largest or smallest.
        dc_offset: the mean that was removed, full scale = 1.
        agreement: of the channels, see `Recording`.
        cancelled: whether one channel is used because they cancel.
    """

    duration_s: float
    peak_dbfs: float | None
    level_dbfs: float | None
    active_s: float
    level_range_db: float
    bandwidth_hz: float
    overloaded: float
    clipped: float
    dc_offset: float
    agreement: float
    cancelled: bool


def probe(path: Path, limits: Manifest) -> dict[str, Any]:
    """Decodes a file and returns what describes its content, the manifest's columns among it.

    Args:
        path: of a file for which `why_unreadable` returned "".
        limits: of duration and level.

    Returns:
        What `identify` returns, with the reason as `problem` if the recording is not usable, and `notices`.
        If the file can be decoded, also what `measure` returns, sample rate, channels and `audio_sha256`.

    Raises:
        InputError: the file is missing on this machine, or cannot be read here: no fault in the file.
    """
    columns = identify(path)
    try:
        recording = decode(path, limits.longest_s)
    except UnreadableError as error:
        raise errors.unreadable(path, str(error)) from error
    except AudioError as error:
        return columns | {"problem": str(error)}
    measures = measure(recording)
    digest = hashlib.sha256(str(recording.sample_rate_hz).encode())
    digest.update(recording.samples.data)
    return {
        **columns,
        **asdict(measures),
        "sample_rate_hz": recording.sample_rate_hz,
        "n_channels": recording.n_channels,
        "audio_sha256": digest.hexdigest(),
        "problem": problem(measures, limits),
        "notices": "; ".join(notices(measures, limits)),
    }


def identify(path: Path) -> dict[str, Any]:
    """Returns a file's size `n_bytes`, its `sha256`, and `problem` and `notices` "".

    Raises:
        InputError: the file is missing on this machine, or cannot be read here.
    """
    try:
        return {"n_bytes": path.stat().st_size, "sha256": sha256(path), "problem": "", "notices": ""}
    except OSError as error:
        raise errors.unreadable(path, str(error.strerror)) from error


def why_unreadable(path: Path) -> str:
    """Returns why a path that has been listed is not a file that can be opened; "" if it is one."""
    if not path.is_file():  # opening a named pipe would wait forever
        return "unreadable: not a file, or a broken link"
    if not os.access(path, os.R_OK):
        return f"unreadable: {os.strerror(errno.EACCES)}"
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return "unreadable: its name is not UTF-8, rename it"
    return ""


def measure(recording: Recording) -> Measures:
    """Returns what the samples of a recording are like.

    Examples:
        >>> tone = np.sin(2 * np.pi * 200 * np.arange(16_000) / 16_000).astype(np.float32)
        >>> measured = measure(Recording(0.5 * tone, 16_000, 1))
        >>> round(measured.level_dbfs, 1), measured.active_s, round(measured.level_range_db, 1)
        (-9.0, 1.0, 0.0)
    """
    samples, rate_hz = recording.samples, recording.sample_rate_hz
    high, low = float(samples.max()), float(samples.min())
    levels_db = frame_levels(samples, rate_hz)
    active = (levels_db >= levels_db.max() - ACTIVE_DB) & (levels_db > LOWEST_DB)
    level = float((10 ** (levels_db[active] / 10)).mean()) if active.any() else 0.0
    spread = np.percentile(levels_db, [5, 95])
    return Measures(
        duration_s=recording.duration_s,
        peak_dbfs=_decibels(max(high, -low) ** 2),
        level_dbfs=_decibels(level),
        active_s=min(float(active.sum()) * FRAME_S, recording.duration_s),
        level_range_db=float(spread[1] - spread[0]),
        bandwidth_hz=bandwidth(samples, rate_hz),
        overloaded=_fraction(samples, -0.5, 0.5),
        clipped=_fraction(samples, 0.999 * low, 0.999 * high) if high > low else 0.0,
        dc_offset=recording.dc_offset,
        agreement=recording.agreement,
        cancelled=recording.cancelled,
    )


def problem(measures: Measures, limits: Manifest) -> str:
    """Returns why a recording with these measures is not usable, "" if it is, by `params.manifest`."""
    level, peak = measures.level_dbfs, measures.peak_dbfs
    found = {
        f"too short: {measures.duration_s:.3f} s": measures.duration_s < limits.shortest_s,
        "silent: all samples are equal": level is None or peak is None,
        f"silent: level {level or 0:.1f} dBFS": (level or 0) < limits.silent_below_dbfs,
        f"too loud: peak {peak or 0:.1f} dBFS": (peak or 0) > limits.loud_above_dbfs,
        f"overloaded: {measures.overloaded:.0%} of the samples are above half of full scale": (
            measures.overloaded > limits.overloaded_above
        ),
        f"no speech: sound for {measures.active_s:.2f} s only": measures.active_s < limits.shortest_active_s,
        f"no speech: a level that varies by {measures.level_range_db:.1f} dB only": (
            measures.level_range_db < limits.steady_below_db
        ),
        f"no speech: nothing above {measures.bandwidth_hz:.0f} Hz": (
            measures.bandwidth_hz < limits.narrow_below_hz
        ),
    }
    return next((reason for reason, applies in found.items() if applies), "")


def notices(measures: Measures, limits: Manifest) -> list[str]:
    """Returns what is unusual about a usable recording, by `params.manifest.notices`."""
    thresholds = limits.notices
    found = {
        f"DC offset: {measures.dc_offset:.3f}, removed": abs(measures.dc_offset) > thresholds.dc_above,
        f"clipped: {measures.clipped:.1%} of the samples": measures.clipped > thresholds.clipped_above,
        f"narrow band: nothing above {measures.bandwidth_hz:.0f} Hz": (
            measures.bandwidth_hz < thresholds.narrow_below_hz
        ),
        "channels cancel: the strongest one is used": measures.cancelled,
        f"channels differ: agreement {measures.agreement:.2f}": (
            measures.agreement < thresholds.agreement_below and not measures.cancelled
        ),
        f"long: {measures.duration_s:.1f} s": measures.duration_s > thresholds.long_above_s,
    }
    return [notice for notice, applies in found.items() if applies]


def frame_levels(samples: Samples, rate_hz: int) -> NDArray[np.float64]:
    """Returns the mean power of each whole frame of FRAME_S (at least one), dB re full scale, (n_frames,)."""
    n = min(max(1, round(FRAME_S * rate_hz)), len(samples))
    frames = samples[: len(samples) // n * n].reshape(-1, n)
    power = np.einsum("ij,ij->i", frames, frames, dtype=np.float64) / n  # buffered: copies a part at a time
    return np.asarray(10 * np.log10(np.maximum(power, 10 ** (LOWEST_DB / 10))))


def bandwidth(samples: Samples, rate_hz: int) -> float:
    """Returns the highest frequency whose power is within BAND_DB of the strongest, in Hz; 0 for silence.

    The spectrum is the mean over half-overlapping Hann windows (Welch 1967) of twice FRAME_S; what is left at
    the end may be left out.
    """
    n_fft = max(2, 2 * round(FRAME_S * rate_hz))
    window = np.hanning(n_fft).astype(np.float32)
    power = np.zeros(n_fft // 2 + 1)
    padded = np.pad(samples, (0, n_fft - len(samples))) if len(samples) < n_fft else samples
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[:: n_fft // 2]
    for at in range(0, len(frames), WINDOWS_AT_ONCE):
        spectra = scipy.fft.rfft(frames[at : at + WINDOWS_AT_ONCE] * window)
        power += (np.square(spectra.real) + np.square(spectra.imag)).sum(axis=0)
    if not power.any():
        return 0.0
    inside = np.flatnonzero(power > power.max() * 10 ** (-BAND_DB / 10))
    return float(inside[-1] * rate_hz / n_fft)


def _fraction(samples: Samples, low: float, high: float) -> float:
    """Returns the fraction of the samples at or beyond the bounds."""
    n_beyond = np.count_nonzero(samples <= low) + np.count_nonzero(samples >= high)
    return float(n_beyond / len(samples))


def _decibels(power: float) -> float | None:
    return 10 * math.log10(power) if power > 0 else None


def mark_duplicates(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows sorted by path, with a `problem` for each repetition of a usable recording.

    Where identical samples (`audio_sha256`) have different emotions, or in one corpus different speakers or
    sentences, no copy can be trusted and all are excluded, unless the corpus knows which name is right
    (`authentic`). What is unknown contradicts nothing. Other copies of the same samples are excluded but for
    the first: `preferred` ones first, then those of which more is known, then by path. So are files of the
    same name (`clip`) with other samples, as the sound tracks of RAVDESS's videos, under another reason.

    Args:
        table: columns path, corpus, clip, emotion, speaker, sentence, preferred, authentic, audio_sha256 and
            problem.

    Examples:
        >>> import pandas as pd
        >>> made = pd.DataFrame({"path": ["x/1.wav", "x/2.wav"], "clip": ["x/1", "x/2"], "corpus": "x"})
        >>> made = made.assign(emotion="anger", speaker="x/a", sentence="x/s", preferred=True)
        >>> made = made.assign(authentic=True, audio_sha256="e3", problem="")
        >>> mark_duplicates(made)["problem"].tolist()
        ['', 'duplicate: the same recording as x/1.wav']
        >>> mark_duplicates(made.assign(emotion=["anger", "happiness"]))["problem"].tolist()[0]
        'contradiction: the same audio as x/2.wav, with another emotion'
    """
    table = table.assign(n_unknown=_facts(table).isna().sum(axis=1))
    order = ["authentic", "preferred", "n_unknown", "path"]
    table = table.sort_values(order, ascending=[False, False, True, True]).drop(columns="n_unknown")
    table = _mark_contradictions(table)
    for key, reason in (
        ("audio_sha256", "duplicate: the same recording as "),
        ("clip", "same name: other audio than "),
    ):
        usable = table[(table["problem"] == "") & table[key].notna()]
        first = usable.groupby(key)["path"].transform("first")
        repeated = first[first != usable["path"]]
        table.loc[repeated.index, "problem"] = reason + repeated
    return table.sort_values("path", ignore_index=True)


def _facts(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the columns MIXED_UP, where an unknown speaker is null too."""
    speaker = table["speaker"]
    return table[list(MIXED_UP)].assign(speaker=speaker.mask(speaker.astype(str).str.endswith(f"/{UNKNOWN}")))


def _mark_contradictions(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows with a `problem` for identical audio whose labels differ."""
    table = table.copy()
    copied = (table["problem"] == "") & table["authentic"] & table["audio_sha256"].duplicated(keep=False)
    for _, copies in table.assign(**_facts(table))[copied].groupby("audio_sha256"):
        for row in copies.itertuples():
            for column in MIXED_UP:
                known = copies[copies[column].notna()]
                comparable = known if column == "emotion" else known[known["corpus"] == row.corpus]
                different = comparable[comparable[column] != getattr(row, column)]
                if row.Index in known.index and len(different):
                    table.loc[row.Index, "problem"] = (
                        f"contradiction: the same audio as {different['path'].iloc[0]}, with another {column}"
                    )
                    break
    return table
