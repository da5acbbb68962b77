"""Git LFS pointers: the short text files that a clone without `git lfs pull` has instead of the content.

Format: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_BYTES = 1024  # a pointer is smaller, by the specification

_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/[^\n]+\n(?:[a-z0-9.-]+ [^\n]*\n)*"
    rb"oid sha256:([0-9a-f]{64})\r?\nsize (\d+)\r?\n"  # \r if Git converted line ends for Windows
)


@dataclass(frozen=True)
class Pointer:
    """SHA-256 and size of the file that a pointer replaces."""

    sha256: str
    n_bytes: int


def parse(content: bytes) -> Pointer | None:
    """Returns the pointer in `content`, None if that is something else.

    Examples:
        >>> head = b"version https://git-lfs.github.com/spec/v1\\n"
        >>> parse(head + b"oid sha256:" + b"0" * 64 + b"\\nsize 7\\n").n_bytes
        7
        >>> parse(b"RIFF") is None
        True
    """
    match = _POINTER.match(content)
    return Pointer(match[1].decode(), int(match[2])) if match else None
