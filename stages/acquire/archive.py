"""Reads zip and tar archives without trusting them: no entry leads outside its folder or fills the disk.

Entries are read one by one and never extracted. tarfile's `data_filter` is not enough here: it accepts
links within the folder, absolute names and Windows drives, which are all refused, as they are for zip.
"""

from __future__ import annotations

import errno
import gzip
import lzma
import stat
import struct
import tarfile
import tempfile
import textwrap
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import IO, cast

from stages.acquire.source_file import CHUNK_BYTES, SourceFile, is_text
from stages.base.errors import InputError, shown
from stages.base.files import DATA
from stages.base.params import Ingest

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
N_REASON = 200  # characters of a library's error message that ours repeats

_GZIP_MAGIC = b"\x1f\x8b"
# What the libraries raise on purpose, and what they run into when a table holds impossible values.
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
    OverflowError,
    IndexError,
    struct.error,
)


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
        InputError: the archive is damaged, encrypted, larger than `limits` allow when unpacked, or has an
            entry that leads outside its folder or is neither a file nor a folder (a link, a device).
    """
    with ExitStack() as stack:
        with _errors_reported(path):
            read = _read_zip if path.name.lower().endswith(".zip") else _read_tar
            members = read(path, limits, stack)
        yield members


@contextmanager
def _errors_reported(path: Path) -> Iterator[None]:
    """Raises the libraries' many errors as InputError; an error of the disk stays an OSError."""
    try:
        yield
    except NotImplementedError as error:  # zipfile, for a compression method it does not support
        raise InputError(f"{path}: {error}. Unpack it by hand, and put the folder in its place.") from error
    except (*_DAMAGE, OSError) as error:
        # bz2 and gzip report damage without a number, and a seek before the file's start is EINVAL.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        reason = textwrap.shorten(str(error), N_REASON) or type(error).__name__
        raise InputError(
            f"{path}: damaged, or not an archive of this type ({reason}). Download or copy it again."
        ) from error


def _read_zip(path: Path, limits: Ingest, stack: ExitStack) -> list[SourceFile]:
    file = stack.enter_context(zipfile.ZipFile(path))
    infos = [info for info in file.infolist() if not info.is_dir()]
    for info in infos:
        if info.flag_bits & 0x1:
            raise InputError(f"{path}: encrypted. Unpack it by hand, and put the folder in its place.")
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):  # 0: written without a Unix mode
            raise _not_a_file(path, info.filename)
    _check_size(path, sum(info.file_size for info in infos), limits)
    return [_member(path, info.filename, info.file_size, partial(file.open, info)) for info in infos]


def _read_tar(path: Path, limits: Ingest, stack: ExitStack) -> list[SourceFile]:
    plain: IO[bytes] = stack.enter_context(path.open("rb"))
    if plain.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC:
        plain = stack.enter_context(tempfile.TemporaryFile(dir=DATA))  # noqa: SIM115
        _gunzip(path, plain, limits)
    plain.seek(0)
    file = stack.enter_context(tarfile.TarFile(fileobj=plain, tarinfo=_TarInfo))
    infos = [info for info in file.getmembers() if not info.isdir()]
    plain.seek(file.offset)
    if plain.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise EOFError("its end is missing")
    for info in infos:
        if not info.isreg() or info.issparse():
            raise _not_a_file(path, info.name)
    _check_size(path, sum(info.size for info in infos), limits)
    return [_member(path, info.name, info.size, partial(file.extractfile, info)) for info in infos]


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


def _member(path: Path, name: str, n_bytes: int, open_member: Callable[[], IO[bytes] | None]) -> SourceFile:
    """Returns the entry `name` of the archive at `path`.

    Raises:
        InputError: its name is not valid text, or leads outside the folder the archive is unpacked to.
    """
    if not is_text(name):
        raise InputError(
            f"{path}: refused, the name of its entry {shown(name)} is not valid text. Pack it again."
        )
    inside = PureWindowsPath(name)  # splits at / and \, which some programs write, and knows drives
    if inside.anchor or ".." in inside.parts or not inside.name:
        raise InputError(f"{path}: refused, its entry {shown(name)} leads outside the folder of the archive.")

    def chunks() -> Iterator[bytes]:
        n_read = 0
        with _errors_reported(path):
            with cast(IO[bytes], open_member()) as stream:  # tarfile returns None only for links and devices
                while chunk := stream.read(CHUNK_BYTES):
                    n_read += len(chunk)
                    yield chunk
            if n_read != n_bytes:
                raise EOFError(f"an entry has {n_read} bytes, and {n_bytes} according to the table")

    return SourceFile(PurePosixPath(inside.as_posix()), path, n_bytes, chunks)


def _check_size(path: Path, n_bytes: int, limits: Ingest) -> None:
    refused = f"{path}: refused, it unpacks to more than"
    if n_bytes > limits.max_unpacked_gb * 1e9:
        raise InputError(f"{refused} params.ingest.max_unpacked_gb, {limits.max_unpacked_gb:g} GB.")
    if n_bytes > limits.max_compression_ratio * path.stat().st_size:
        raise InputError(
            f"{refused} params.ingest.max_compression_ratio allows, {limits.max_compression_ratio:g} times "
            "its size."
        )


def _not_a_file(path: Path, name: str) -> InputError:
    return InputError(
        f"{path}: refused, its entry {shown(name)} is a link or a device. Pack it again with the files "
        "themselves (`tar --dereference --hard-dereference`)."
    )
