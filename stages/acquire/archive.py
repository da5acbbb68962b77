"""Reads zip and tar archives without trusting them: no entry leads outside its folder, fills the disk or
fills the memory.

Entries are read one by one and never extracted. tarfile's `data_filter` is not enough here: it accepts
links within the folder, absolute names and Windows drives, which are all refused, as they are for zip.
"""

from __future__ import annotations

import errno
import gzip
import stat
import struct
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import IO, Any, cast

from stages.acquire.source_file import CHUNK_BYTES, SourceFile, is_text
from stages.base.errors import InputError, one_line, shown
from stages.base.files import DATA
from stages.base.params import Ingest

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
SUFFIXES = (".zip", *TAR_SUFFIXES)

# What a reader holds in memory; tests/acquire/test_archive.py measures it.
N_ENTRIES = 50_000
TABLE_BYTES = 8 << 20  # of a zip's central directory, or of all names in a tar
HEADER_BYTES = 1 << 14  # of one entry in a tar: tarfile can need the square of a pax header's length
ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # zipfile unpacks the others without a bound

_BY_HAND = "Unpack it by hand, and put the folder in its place."
_GZIP_MAGIC = b"\x1f\x8b"
# What the libraries raise on purpose, and what they run into when a table holds impossible values.
_DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, struct.error),
    *(EOFError, ValueError, OverflowError, IndexError),
)

Entry = tuple[str, int, Callable[[], Iterator[bytes]]]  # name, bytes, and what yields its content


def stem(path: PurePath) -> str | None:
    """Returns the file name without its archive suffix, None if it has none.

    >>> stem(PurePath("speech.v2.tar.gz"))
    'speech.v2'
    """
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return None


@contextmanager
def opened(path: Path, limits: Ingest) -> Iterator[list[SourceFile]]:
    """Yields the files in the archive, which can be read until the block ends.

    Raises:
        InputError: the archive is damaged, encrypted, larger than `limits` allow when unpacked, needs too
            much memory to list, or has an entry that leads outside its folder or is neither a file nor a
            folder (a link, a device).
    """
    with ExitStack() as stack:
        with _errors_reported(path):
            read = _zip_entries if path.name.lower().endswith(".zip") else _tar_entries
            members = _members(path, limits, read(path, limits, stack))
        yield members


@contextmanager
def _errors_reported(path: Path) -> Iterator[None]:
    """Raises the libraries' many errors as InputError; an error of the disk stays an OSError."""
    try:
        yield
    except NotImplementedError as error:  # zipfile, for a version it does not support
        raise InputError(f"{path}: {error}. {_BY_HAND}") from error
    except (*_DAMAGE, OSError) as error:
        # bz2 and gzip report damage without a number, and a seek before the file's start is EINVAL.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        reason = one_line(error) or type(error).__name__
        raise InputError(
            f"{path}: damaged, or not an archive of this type ({reason}). Download or copy it again."
        ) from error


class _Bounded:
    """A file that raises InputError once more than `budget` bytes are read from it."""

    def __init__(self, file: IO[bytes], path: Path, budget: int) -> None:
        self._file, self._path, self.budget = file, path, budget

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(self.budget + 1 if size < 0 else min(size, self.budget + 1))
        self.budget -= len(content)
        if self.budget < 0:
            raise _too_large(self._path)
        return content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _zip_entries(path: Path, _: Ingest, stack: ExitStack) -> Iterator[Entry]:
    bounded = _Bounded(stack.enter_context(path.open("rb")), path, TABLE_BYTES)
    file = stack.enter_context(zipfile.ZipFile(cast(IO[bytes], bounded)))
    bounded.budget = sys.maxsize
    for info in file.infolist():
        if info.is_dir():
            continue
        if info.flag_bits & 0x1:
            raise InputError(f"{path}: encrypted. {_BY_HAND}")
        if info.compress_type not in ZIP_METHODS:
            raise InputError(f"{path}: compression method {info.compress_type} is not supported. {_BY_HAND}")
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):  # 0: written without a Unix mode
            raise _not_a_file(path, info.filename)
        yield info.filename, info.file_size, partial(_zip_chunks, file, info)


def _zip_chunks(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    with file.open(info) as stream:
        yield from iter(lambda: stream.read(CHUNK_BYTES), b"")


def _tar_entries(path: Path, limits: Ingest, stack: ExitStack) -> Iterator[Entry]:
    plain: IO[bytes] = stack.enter_context(path.open("rb"))
    if plain.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC:
        plain = stack.enter_context(tempfile.TemporaryFile(dir=DATA))  # noqa: SIM115
        _gunzip(path, plain, limits)
    plain.seek(0)
    bounded = _Bounded(plain, path, HEADER_BYTES)
    file: Any = stack.enter_context(tarfile.TarFile(fileobj=cast(IO[bytes], bounded), tarinfo=_TarInfo))
    while info := file.next():
        if not info.isdir():
            if not info.isreg() or info.issparse():
                raise _not_a_file(path, info.name)
            yield info.name, info.size, partial(_tar_chunks, plain, info.offset_data, info.size)
        # tarfile would keep every entry, and copy global headers, which name no file, into each.
        file.members.clear()
        file.pax_headers.clear()
        bounded.budget = HEADER_BYTES
    plain.seek(file.offset)
    if plain.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise EOFError("its end is missing")


def _tar_chunks(plain: IO[bytes], start: int, n_bytes: int) -> Iterator[bytes]:
    for position in range(0, n_bytes, CHUNK_BYTES):
        plain.seek(start + position)
        yield plain.read(min(CHUNK_BYTES, n_bytes - position))


class _TarInfo(tarfile.TarInfo):
    def _block(self, count: int) -> int:
        if count < 0:  # Python before 3.11.14, 3.12.12 and 3.13.6 loops for ever (CVE-2025-8194)
            raise tarfile.ReadError("an entry of negative size")
        return super()._block(count)  # type: ignore[misc, no-any-return]


def _gunzip(path: Path, plain: IO[bytes], limits: Ingest) -> None:
    """Unpacks into a temporary file: entries of a tar inside gzip can only be read in their own order."""
    with gzip.open(path) as packed:
        while chunk := packed.read(CHUNK_BYTES):
            plain.write(chunk)
            _check_size(path, plain.tell(), limits)


def _members(path: Path, limits: Ingest, entries: Iterable[Entry]) -> list[SourceFile]:
    """Returns the entries as source files.

    Raises:
        InputError: they are too many or too large, or `_inside` rejects a name.
    """
    members: list[SourceFile] = []
    n_bytes = n_characters = 0
    for name, size, read in entries:
        n_bytes += size
        n_characters += len(name)
        _check_size(path, n_bytes, limits)
        if len(members) == N_ENTRIES or n_characters > TABLE_BYTES:
            raise _too_large(path)
        members.append(SourceFile(_inside(path, name), path, size, partial(_checked, path, size, read)))
    return members


def _inside(path: Path, name: str) -> PurePosixPath:
    """Returns the place of the entry `name` below the folder that the archive at `path` is unpacked to.

    Raises:
        InputError: the name is not valid text, or leads outside that folder.
    """
    if not is_text(name):
        raise InputError(
            f"{path}: rejected, because the name of its entry {shown(name)} is not valid text. Pack it again."
        )
    inside = PureWindowsPath(name)  # splits at / and \, which some programs write, and knows drives
    if inside.anchor or ".." in inside.parts or not inside.name:
        raise InputError(
            f"{path}: rejected, because its entry {shown(name)} leads outside the folder of the archive."
        )
    return PurePosixPath(inside.as_posix())


def _checked(path: Path, n_bytes: int, read: Callable[[], Iterator[bytes]]) -> Iterator[bytes]:
    """Yields the content of an entry; damage, and another size than listed, raises InputError."""
    n_read = 0
    with _errors_reported(path):
        for chunk in read():
            n_read += len(chunk)
            yield chunk
        if n_read != n_bytes:
            raise EOFError(f"an entry has {n_read} bytes, and {n_bytes} according to the table")


def _check_size(path: Path, n_bytes: int, limits: Ingest) -> None:
    rejected = f"{path}: rejected, because it unpacks to more than"
    if n_bytes > limits.max_unpacked_gb * 1e9:
        raise InputError(f"{rejected} params.ingest.max_unpacked_gb, {limits.max_unpacked_gb:g} GB.")
    if n_bytes > limits.max_compression_ratio * path.stat().st_size:
        raise InputError(
            f"{rejected} params.ingest.max_compression_ratio allows, {limits.max_compression_ratio:g} times "
            "its size."
        )


def _too_large(path: Path) -> InputError:
    return InputError(
        f"{path}: rejected, because it has more than {N_ENTRIES} files, or names and headers longer "
        f"than those of recordings. {_BY_HAND}"
    )


def _not_a_file(path: Path, name: str) -> InputError:
    return InputError(
        f"{path}: rejected, because its entry {shown(name)} is a link or a device. Pack it again with the "
        "files themselves (`tar --dereference --hard-dereference`)."
    )
