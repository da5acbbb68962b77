"""Whether a copy of a corpus is the published one: one checksum over all recordings of a speaker."""

from __future__ import annotations

import hashlib

import pandas as pd

N_DIGITS = 12  # of a checksum: 48 bits, enough to notice a change


def checksums(rows: pd.DataFrame, column: str) -> dict[str, str]:
    """Returns a checksum per speaker, of the names of the speaker's recordings and their hashes.

    Args:
        rows: columns clip and speaker (`<corpus>/<name>`) and `column`; rows without speaker are left out.
        column: `sha256`, of files, or `audio_sha256`, of decoded samples.

    Examples:
        >>> rows = pd.DataFrame({"clip": ["x/1", "x/2"], "speaker": ["x/a", "x/b"], "sha256": ["e3", "b0"]})
        >>> checksums(rows, "sha256")
        {'a': '1df14848fa81', 'b': '5c92a280ccda'}
    """
    found = {}
    for speaker, own in rows.dropna(subset=["speaker"]).groupby("speaker"):
        names = own["clip"].str.partition("/")[2]
        lines = sorted({f"{name} {value}" for name, value in zip(names, own[column], strict=True)})
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        found[str(speaker).partition("/")[2]] = digest[:N_DIGITS]
    return found
