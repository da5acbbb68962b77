"""One file of a corpus, in a folder or in an archive."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath, PurePosixPath
from typing import Self

CHUNK_BYTES = 1 << 20

# Unicode categories that neither a table nor a line of text can hold: controls, unpaired surrogates, and
# line and paragraph separators.
_NOT_TEXT = ("Cc", "Cs", "Zl", "Zp")


@dataclass(frozen=True)
class SourceFile:
    """A file to be copied below data/raw/<corpus>.

    Attributes:
        path: its place below that folder; relative, without `..`.
        origin: the file itself, or the archive that contains it.
        n_bytes: its size, unpacked.
        chunks: returns its content piece by piece; raises InputError if the archive is damaged.
    """

    path: PurePosixPath
    origin: Path
    n_bytes: int
    chunks: Callable[[], Iterable[bytes]]

    @classmethod
    def on_disk(cls, file: Path, path: PurePosixPath) -> Self:
        """Returns the source file for `file`, to be copied to `path`."""
        return cls(path, file, file.stat().st_size, partial(_read_chunks, file))


def _read_chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def is_text(name: str) -> bool:
    """Returns whether a table and a one-line message can hold `name`.

    >>> is_text("DC/a01.wav"), is_text("DC/a\\n01.wav")
    (True, False)
    """
    return not any(unicodedata.category(character) in _NOT_TEXT for character in name)


def is_hidden(path: PurePath) -> bool:
    """Returns whether a file or a folder on the way to it is hidden, as .git and the ._ files of macOS are.

    Args:
        path: relative to the folder that was named.

    >>> is_hidden(PurePath("calls/._a.flac")), is_hidden(PurePath("calls/a.flac"))
    (True, False)
    """
    return any(part.startswith(".") for part in path.parts)
