"""Archives, read without trusting them: what is in one can neither leave its folder nor fill the disk."""

from __future__ import annotations

import errno
import gzip
import lzma
import re
import stat
import struct
import tarfile
import tempfile
import textwrap
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, cast

from stages.base.errors import InputError, shown
from stages.base.files import DATA

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
UNSEEN = ("Cc", "Cs", "Zl", "Zp")  # Unicode's controls, halves of characters, ends of lines and paragraphs
N_TOLD = 200  # characters of what a library says of an archive

_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK_BYTES = 1 << 20
# What the readers raise on purpose, and what they run into where a table holds what cannot be.
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    EOFError,
    ValueError,
    OverflowError,
    IndexError,
    struct.error,
)


@dataclass(frozen=True)
class Limits:
    """How much one archive may unpack to."""

    max_unpacked_gb: float
    max_compression_ratio: float  # unpacked to packed size


@dataclass(frozen=True)
class Member:
    """One file in an open archive.

    Attributes:
        path: relative, without `..`.
        n_bytes: unpacked.
        chunks: gives its content piece by piece; raises InputError where the archive is damaged.
    """

    path: PurePosixPath
    n_bytes: int
    chunks: Callable[[], Iterator[bytes]]


def is_text(name: str) -> bool:
    """Returns whether `name` has nothing in it that cannot be written down in a line of UTF-8."""
    return not any(unicodedata.category(character) in UNSEEN for character in name)


def stem(path: PurePath) -> str | None:
    """Returns the file name without its archive suffix, None where it has none."""
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return None


@contextmanager
def opened(path: Path, limits: Limits) -> Iterator[list[Member]]:
    """Yields the files in the archive, which can be read until the block ends.

    Raises:
        InputError: the archive is damaged, encrypted, larger than `limits` when unpacked, or has an
            entry that leads outside, or is neither file nor folder (a link, a device).
    """
    with ExitStack() as stack:
        try:
            read = _zip_members if path.name.lower().endswith(".zip") else _tar_members
            members = read(path, limits, stack)
        except _DAMAGE as error:
            raise _damaged(path, error) from error
        except NotImplementedError as error:
            raise _not_supported(path, error) from error
        except OSError as error:
            raise _unless_the_disk_is_at_fault(path, error) from error
        yield members


def _zip_members(path: Path, limits: Limits, stack: ExitStack) -> list[Member]:
    file = stack.enter_context(zipfile.ZipFile(path))
    infos = [info for info in file.infolist() if not info.is_dir()]
    for info in infos:
        if info.flag_bits & 0x1:
            raise InputError(f"{path}: encrypted. Unpack it by hand, and put the folder in its place.")
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):  # 0: written where files have no Unix mode
            raise _no_file(path, info.filename)
    _check_size(path, sum(info.file_size for info in infos), limits)
    return [
        Member(
            _safe(path, info.filename),
            info.file_size,
            _reader(path, partial(file.open, info), info.file_size),
        )
        for info in infos
    ]


def _tar_members(path: Path, limits: Limits, stack: ExitStack) -> list[Member]:
    plain: IO[bytes] = stack.enter_context(path.open("rb"))
    if plain.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC:
        plain = stack.enter_context(_gunzipped(path, limits))
    plain.seek(0)
    file = stack.enter_context(tarfile.TarFile(fileobj=plain, tarinfo=_Entry))
    infos = [info for info in file.getmembers() if not info.isdir()]
    plain.seek(file.offset)
    if plain.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise EOFError("its end is missing")
    for info in infos:
        if not info.isreg() or info.issparse():
            raise _no_file(path, info.name)
    _check_size(path, sum(info.size for info in infos), limits)
    return [
        Member(_safe(path, info.name), info.size, _reader(path, partial(file.extractfile, info), info.size))
        for info in infos
    ]


class _Entry(tarfile.TarInfo):
    def _block(self, count: int) -> int:
        if count < 0:  # older Pythons go back by it and read the same header for ever (CVE-2025-8194)
            raise tarfile.ReadError("an entry of negative size")
        return super()._block(count)  # type: ignore[misc, no-any-return]


@contextmanager
def _gunzipped(path: Path, limits: Limits) -> Iterator[IO[bytes]]:
    """Yields the unzipped content in a nameless file: a tar inside gzip can be read in its own order only."""
    with tempfile.TemporaryFile(dir=DATA) as plain:
        with gzip.open(path) as packed:
            while chunk := packed.read(_CHUNK_BYTES):
                plain.write(chunk)
                _check_size(path, plain.tell(), limits)
        yield plain


def _reader(
    path: Path, open_member: Callable[[], IO[bytes] | None], n_bytes: int
) -> Callable[[], Iterator[bytes]]:
    def chunks() -> Iterator[bytes]:
        n_read = 0
        try:
            with cast(IO[bytes], open_member()) as stream:  # tarfile has None for what is no file
                while chunk := stream.read(_CHUNK_BYTES):
                    n_read += len(chunk)
                    yield chunk
            if n_read != n_bytes:
                raise EOFError(f"an entry of {n_read} bytes is said to have {n_bytes}")
        except _DAMAGE as error:
            raise _damaged(path, error) from error
        except NotImplementedError as error:  # zipfile's word for a compression method it lacks
            raise _not_supported(path, error) from error
        except OSError as error:
            raise _unless_the_disk_is_at_fault(path, error) from error

    return chunks


def _safe(path: Path, name: str) -> PurePosixPath:
    """Returns the entry's `name` as a relative path.

    Raises:
        InputError: it leads outside the folder that the archive is unpacked to.
    """
    if not is_text(name):
        raise InputError(
            f"{path}: refused, its entry {shown(name)} has a name that is no text. Pack it anew."
        )
    inside = PurePosixPath(name.replace("\\", "/"))  # as some Windows programs write it
    if inside.is_absolute() or ".." in inside.parts or re.match("[A-Za-z]:", name) or not inside.name:
        raise InputError(
            f"{path}: refused, its entry {shown(name)} leads outside the folder it is unpacked to."
        )
    return inside


def _check_size(path: Path, n_bytes: int, limits: Limits) -> None:
    ratio = limits.max_compression_ratio
    if n_bytes > limits.max_unpacked_gb * 1e9:
        raise InputError(
            f"{path}: refused, it unpacks to more than {limits.max_unpacked_gb:g} GB, "
            "the limit in params.ingest.max_unpacked_gb."
        )
    if n_bytes > ratio * path.stat().st_size:
        raise InputError(
            f"{path}: refused, it unpacks to more than {ratio:g} times its size, "
            "the limit in params.ingest.max_compression_ratio."
        )


def _no_file(path: Path, name: str) -> InputError:
    return InputError(
        f"{path}: refused, its entry {shown(name)} is neither file nor folder but a link or a device. "
        "Pack it anew with the files themselves (`tar --dereference --hard-dereference`)."
    )


def _unless_the_disk_is_at_fault(path: Path, error: OSError) -> Exception:
    """Returns what to raise: bz2 has no number for damage, and a place before the file's start is EINVAL."""
    return _damaged(path, error) if error.errno in (None, errno.EINVAL) else error


def _not_supported(path: Path, error: NotImplementedError) -> InputError:
    return InputError(f"{path}: {error}. Unpack it by hand, and put the folder there.")


def _damaged(path: Path, error: BaseException) -> InputError:
    reason = textwrap.shorten(str(error), N_TOLD) or type(error).__name__
    return InputError(f"{path}: damaged or no archive of its name ({reason}). Fetch or copy it again.")
