"""Which recordings are usable: what each file contains, and why a file is excluded."""

from __future__ import annotations

import errno
import hashlib
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages.audio.recording import AudioError, Samples, UnreadableError, decode
from stages.base import errors
from stages.base.params import Manifest
from stages.data.keys import sha256


def probe(path: Path, limits: Manifest) -> dict[str, Any]:
    """Decodes a file and returns the columns of the manifest that describe its content.

    Args:
        path: of a file for which `why_unreadable` returned "".
        limits: of duration and level.

    Returns:
        What `identify` returns, with the reason as `problem` if the recording is not usable. If the file can
        be decoded, also duration, sample rate, channels, peak and `audio_sha256`.

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
    peak = peak_dbfs(recording.samples)
    if recording.duration_s < limits.shortest_s:
        columns["problem"] = f"too short: {recording.duration_s:.3f} s"
    elif peak < limits.silent_below_dbfs:
        columns["problem"] = f"silent: peak {peak:.1f} dBFS"
    digest = hashlib.sha256(str(recording.sample_rate_hz).encode())
    digest.update(recording.samples.data)
    return columns | {
        "duration_s": recording.duration_s,
        "sample_rate_hz": recording.sample_rate_hz,
        "n_channels": recording.n_channels,
        "peak_dbfs": peak if math.isfinite(peak) else None,
        "audio_sha256": digest.hexdigest(),
    }


def identify(path: Path) -> dict[str, Any]:
    """Returns a file's size `n_bytes`, its `sha256`, and `problem` "".

    Raises:
        InputError: the file is missing on this machine, or cannot be read here.
    """
    try:
        return {"n_bytes": path.stat().st_size, "sha256": sha256(path), "problem": ""}
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


def peak_dbfs(samples: Samples) -> float:
    """Returns the largest magnitude of `samples` (n_samples,) in dB re full scale; -inf for digital silence.

    Examples:
        >>> round(peak_dbfs(np.array([0.1, -0.5], np.float32)), 2)
        -6.02
        >>> peak_dbfs(np.zeros(2, np.float32))
        -inf
    """
    peak = float(max(np.max(samples), -np.min(samples)))  # unlike np.abs, copies nothing
    return 20 * math.log10(peak) if peak else -math.inf


def mark_duplicates(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows sorted by path, with a `problem` for each repetition of a usable recording.

    Two files contain the same recording if their names say so (`clip`, as for the sound tracks of RAVDESS's
    videos) or their decoded samples are identical (`audio_sha256`). Of such files the first one is kept,
    `preferred` ones first, then by path.

    Args:
        table: columns path, clip, preferred, audio_sha256 and problem.

    Examples:
        >>> columns = ["path", "clip", "preferred", "audio_sha256", "problem"]
        >>> rows = [("x/1.wav", "x/1", True, "e3", ""), ("x/2.wav", "x/2", True, "e3", "")]
        >>> mark_duplicates(pd.DataFrame(rows, columns=columns))["problem"].tolist()
        ['', 'duplicate: the same recording as x/1.wav']
    """
    table = table.sort_values(["preferred", "path"], ascending=[False, True])
    for key in ("clip", "audio_sha256"):
        usable = table[(table["problem"] == "") & table[key].notna()]
        first = usable.groupby(key)["path"].transform("first")
        repeated = first[first != usable["path"]]
        table.loc[repeated.index, "problem"] = "duplicate: the same recording as " + repeated
    return table.sort_values("path", ignore_index=True)
