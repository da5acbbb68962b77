"""Archives, whole and damaged; tests/faults/test_hostile_archives.py has the hostile ones."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.acquire import archive
from stages.base.errors import InputError
from stages.base.params import Ingest

ROOT = Path(__file__).resolve().parents[2]
LIMITS = Ingest(download=False, max_unpacked_gb=0.001, max_compression_ratio=200)
NOISE = bytes((i * i * 31 + i // 7) % 256 for i in range(40_000))  # packs badly

Files = dict[str, bytes]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()


def write_zip(path: Path, files: Files) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def tar_entry(
    name: str, n_bytes: int = 0, kind: bytes = tarfile.REGTYPE, leads_to: str = ""
) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.type, entry.linkname = n_bytes, kind, leads_to
    return entry


def write_tar(path: Path, files: Files) -> Path:
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as file:
        for name, content in files.items():
            file.addfile(tar_entry(name, len(content)), io.BytesIO(content))
    return path


def read(path: Path, limits: Ingest = LIMITS) -> Files:
    with archive.opened(path, limits) as members:
        return {str(member.path): b"".join(member.chunks()) for member in members}


FORMATS = pytest.mark.parametrize(
    ("name", "write"),
    [("a.zip", write_zip), ("a.tar", write_tar), ("a.tar.gz", write_tar), ("A.TGZ", write_tar)],
)
Writer = Callable[[Path, Files], Path]


@FORMATS
def test_files_come_out_as_they_went_in(tmp_path: Path, name: str, write: Writer) -> None:
    files = {"Actor_01/x.wav": NOISE, "./y.csv": b"1,2", "empty.txt": b""}
    path = write(tmp_path / name, files)
    assert read(path) == {"Actor_01/x.wav": NOISE, "y.csv": b"1,2", "empty.txt": b""}
    with archive.opened(path, LIMITS) as members:
        assert [member.n_bytes for member in members] == [len(NOISE), 3, 0]
        assert [b"".join(member.chunks()) for member in reversed(members)] == [b"", b"1,2", NOISE]


@pytest.mark.parametrize(
    ("name", "stem"),
    [("a.zip", "a"), ("a.b.tar.gz", "a.b"), ("A.TGZ", "A"), ("a.tar", "a"), ("a.gz", None), ("a.wav", None)],
)
def test_an_archive_is_reported_by_its_suffix(name: str, stem: str | None) -> None:
    assert archive.stem(Path(name)) == stem


@FORMATS
def test_more_than_the_limit_is_refused(tmp_path: Path, name: str, write: Writer) -> None:
    path = write(tmp_path / name, {f"{i}.wav": NOISE for i in range(26)})  # 1.04 MB
    with pytest.raises(InputError, match=r"params\.ingest\.max_unpacked_gb, 0\.001 GB"):
        read(path)


def test_a_gzip_bomb_stops_at_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.tgz"
    with gzip.open(path, "wb") as file:
        for _ in range(64):
            file.write(bytes(1 << 20))
    with pytest.raises(InputError, match="rejected, because it unpacks to more than"):
        read(path, Ingest(download=False, max_unpacked_gb=1, max_compression_ratio=10))


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.wav": NOISE})
    content = bytearray(path.read_bytes())
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # APPNOTE.TXT 4.3.7, 4.3.12, 4.4.4
        content[content.index(header) + flags] |= 0x1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.zip: encrypted"):
        read(path)


def test_an_unknown_compression_is_reported(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.wav": NOISE})
    content = bytearray(path.read_bytes())
    for header, method in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        content[content.index(header) + method] = 9  # Deflate64, which Windows uses for large files
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.zip: .*not supported"):
        read(path)


@FORMATS
@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.85])
def test_a_cut_archive_is_damaged(tmp_path: Path, name: str, write: Writer, fraction: float) -> None:
    path = write(tmp_path / name, {"a.wav": NOISE, "b.wav": NOISE[::-1]})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(fraction * len(whole))])
    with pytest.raises(InputError, match=rf"{name}: damaged"):
        read(path)


def test_a_tar_cut_between_two_files_is_damaged(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", {"a.wav": bytes(512), "b.wav": bytes(512)})
    path.write_bytes(path.read_bytes()[:1024])  # a header and a file, a block each
    with pytest.raises(InputError, match=r"a\.tar: damaged"):
        read(path)


@pytest.mark.parametrize(("name", "write"), [("a.zip", write_zip), ("a.tar.gz", write_tar)])
def test_a_flipped_bit_is_damage(tmp_path: Path, name: str, write: Writer) -> None:
    path = write(tmp_path / name, {"a.wav": NOISE})
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}: damaged"):
        read(path)


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_anything_else_is_no_archive(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("<html>Please log in</html>" * 100)
    with pytest.raises(InputError, match=rf"{name}: damaged"):
        read(path)


def test_damage_is_reported_of_the_archive_that_has_it(tmp_path: Path) -> None:
    bad = write_zip(tmp_path / "bad.zip", {"a.wav": NOISE})
    content = bytearray(bad.read_bytes())
    content[2000] ^= 0x10
    bad.write_bytes(content)
    good = write_zip(tmp_path / "good.zip", {"b.wav": NOISE})
    with (
        archive.opened(bad, LIMITS) as members,
        archive.opened(good, LIMITS),
        pytest.raises(InputError, match=r"bad\.zip: damaged"),
    ):
        b"".join(members[0].chunks())


def zip_of(path: Path, names: list[str], content: bytes = b"", method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", method) as file:
        for name in names:
            file.writestr(name, content)


def tar_of(path: Path, names: list[str], headers: dict[str, str] | None = None) -> None:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT, pax_headers=headers or {}) as file:
        for name in names:
            file.addfile(tar_entry(name))


def raw_tar(path: Path, *headers: tuple[bytes, bytes]) -> None:
    """Writes a tar whose entries have these types and contents, and one empty file behind them."""
    blocks = b""
    for kind, content in headers:
        blocks += tar_entry("x", len(content), kind).tobuf(tarfile.USTAR_FORMAT)
        blocks += content + bytes(-len(content) % tarfile.BLOCKSIZE)
    path.write_bytes(blocks + tar_entry("a.wav").tobuf(tarfile.USTAR_FORMAT) + bytes(10240))


def packed_zeros(path: Path, method: int) -> None:
    zip_of(path, ["a.wav"], bytes(400 << 20), method)


def sparse_tar(path: Path) -> None:
    """Writes a GNU sparse entry with a map of 40 MB."""
    head = bytearray(tar_entry("x", 0, tarfile.GNUTYPE_SPARSE).tobuf(tarfile.GNU_FORMAT))
    head[482] = 1  # the map continues in the next block (tar(5), "GNU tar archives")
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    block = bytearray(b"00000000001\0" * 42 + bytes(8))
    block[504] = 1
    path.write_bytes(bytes(head) + bytes(block) * 80_000 + bytes(10240))


NAMES = [f"{i:06}.wav" for i in range(archive.N_ENTRIES)]
LONG = ["é" * 500 + f"/{i:05}.wav" for i in range(7_000)]  # 7.2 MB in UTF-8
SLOW = [pytest.mark.slow]
MEMORY = [  # what writes the archive, and whether it is refused
    pytest.param(lambda path: zip_of(path, NAMES), False, id="zip: all entries it may have", marks=SLOW),
    pytest.param(lambda path: tar_of(path, NAMES), False, id="tar: all entries it may have", marks=SLOW),
    pytest.param(lambda path: zip_of(path, LONG), False, id="zip: all names it may have", marks=SLOW),
    pytest.param(lambda path: tar_of(path, LONG), False, id="tar: all names it may have", marks=SLOW),
    pytest.param(
        lambda path: tar_of(path, NAMES[:20_000], {f"k{i:03}": "x" for i in range(900)}),
        False,
        id="tar: a global header and many entries",
        marks=SLOW,
    ),
    pytest.param(lambda path: packed_zeros(path, zipfile.ZIP_DEFLATED), False, id="zip: Deflate", marks=SLOW),
    pytest.param(lambda path: packed_zeros(path, zipfile.ZIP_BZIP2), True, id="zip: bzip2", marks=SLOW),
    pytest.param(lambda path: packed_zeros(path, zipfile.ZIP_LZMA), True, id="zip: LZMA", marks=SLOW),
    pytest.param(
        lambda path: raw_tar(path, (tarfile.GNUTYPE_LONGNAME, b"x" * (300 << 20))),
        True,
        id="tar: a long name",
    ),
    pytest.param(
        lambda path: raw_tar(path, (tarfile.XHDTYPE, b"2 " * 50_000 + b"=")), True, id="tar: many keys"
    ),
    pytest.param(lambda path: sparse_tar(path), True, id="tar: a map of a sparse file"),
]
MEASURE = """
import sys
from pathlib import Path
from stages.acquire import sources
from stages.base.errors import InputError
from stages.base.params import Ingest
limits = Ingest(download=False, max_unpacked_gb=60, max_compression_ratio=1e9)
from contextlib import ExitStack
try:
    with ExitStack() as stack:
        found = list(sources.unpacked([Path(sys.argv[1])], Path("."), limits, stack))
        sources.check_clashes(found)
        for file in found:
            for chunk in file.chunks():
                pass
    print(0)
except InputError as error:
    print(1)
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""
MAX_RSS_BYTES = 300e6


@pytest.mark.parametrize(("write", "refused"), MEMORY)
def test_no_archive_within_the_limits_takes_much_memory(
    request: pytest.FixtureRequest, tmp_path: Path, write: Callable[[Path], object], refused: bool
) -> None:
    path = tmp_path / ("a.zip" if "zip" in request.node.name else "a.tar")
    write(path)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, path.name],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    was_refused, kb = done.stdout.split()
    assert bool(int(was_refused)) == refused
    assert int(kb) * 1024 < MAX_RSS_BYTES


@FORMATS
def test_one_entry_too_many_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, write: Writer
) -> None:
    monkeypatch.setattr(archive, "N_ENTRIES", 3)
    files = {f"{i}.wav": b"" for i in range(3)}
    assert read(write(tmp_path / name, files)) == files
    with pytest.raises(InputError, match=f"{name}: .*more than 3 files"):
        read(write(tmp_path / name, files | {"3.wav": b""}))


@FORMATS
def test_too_many_names_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, write: Writer
) -> None:
    monkeypatch.setattr(archive, "TABLE_BYTES", 800)
    path = write(tmp_path / name, {f"{i}{'x' * 90}.wav": b"" for i in range(10)})
    with pytest.raises(InputError, match=f"{name}: rejected"):
        read(path)
