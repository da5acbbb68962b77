"""Archives, whole and damaged; tests/faults/test_hostile_archives.py has the hostile ones."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.acquire import archive
from stages.base.errors import InputError
from stages.base.params import Ingest

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
    with pytest.raises(InputError, match="refused, it unpacks to more than"):
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
