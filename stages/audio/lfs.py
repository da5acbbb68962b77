"""Git LFS pointers: the small texts that stand for files in a clone made without `git lfs pull`.

Format: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_BYTES = 1024  # a pointer is smaller, says the specification

_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/[^\n]+\n(?:[a-z0-9.-]+ [^\n]*\n)*"
    rb"oid sha256:([0-9a-f]{64})\r?\nsize (\d+)\r?\n"  # \r where Git turned line ends into Windows's
)


@dataclass(frozen=True)
class Pointer:
    """What a pointer tells of the file it stands for."""

    sha256: str
    n_bytes: int


def parse(content: bytes) -> Pointer | None:
    """Returns what the pointer `content` tells, None where it is no pointer."""
    match = _POINTER.match(content)
    return Pointer(match[1].decode(), int(match[2])) if match else None
