"""Untrusted archives in place of a corpus: nothing is written outside the folder or fills the disk, and a
rejection is one line and leaves data/raw unchanged."""

from __future__ import annotations

import gzip
import io
import json
import random
import re
import struct
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages import ingest
from stages.base.errors import InputError, disk_error
from tests.faults.conftest import Fault, draws
from tests.support import shipped

PARAMS = shipped.values()
NOISE = random.Random(1).randbytes(20_000)
GOOD = {"DC/a01.wav": NOISE, "JE/n30.wav": NOISE[::-1]}
SUFFIXES = ["zip", "tar", "tar.gz"]
LINK = 0o120777 << 16

# The files and folders below the folder of a test, without recordings.
KNOWN = (
    {"outer", "outer/project", "outer/project/params.yaml"}
    | {
        f"outer/project/data{name}"
        for name in (
            "",
            "/raw",
            "/raw/savee",
            "/sources",
            *(f"/sources/savee.{suffix}" for suffix in SUFFIXES),
        )
    }
    | {f"outer/project/data/raw/savee/{name}" for name in ("DC", "JE", "DC/a01.wav", "JE/n30.wav")}
)

Entry = tuple[str, bytes, dict[str, Any]]  # name, content, attributes of a ZipInfo or a TarInfo


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in a folder of its own, the current one, whose data/raw holds the result of a good source."""
    folder = tmp_path / "outer" / "project"
    (folder / "data" / "sources" / "savee").mkdir(parents=True)
    monkeypatch.chdir(folder)
    choose()
    for name, content in GOOD.items():
        path = folder / "data" / "sources" / "savee" / name
        path.parent.mkdir()
        path.write_bytes(content)
    ingest.main()
    for path in sorted((folder / "data" / "sources").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    return folder


def choose(**settings: Any) -> None:
    values = PARAMS | {"corpus": ["savee"], "ingest": PARAMS["ingest"] | {"max_unpacked_gb": 0.05} | settings}
    Path("params.yaml").write_text(json.dumps(values))


def entries(**files: bytes) -> list[Entry]:
    return [(name, content, {}) for name, content in (GOOD | files).items()]


def pack(suffix: str, listed: list[Entry]) -> Path:
    """Writes data/sources/savee.<suffix> with these entries, in their order."""
    path = Path("data/sources") / f"savee.{suffix}"
    if suffix == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, content, attributes in listed:
                info = zipfile.ZipInfo("x")
                info.filename, info.compress_type = name, zipfile.ZIP_DEFLATED
                vars_ = {key: value for key, value in attributes.items() if hasattr(info, key)}
                for key, value in vars_.items():
                    setattr(info, key, value)
                file.writestr(info, content)
        return path
    with tarfile.open(path, "w:gz" if suffix == "tar.gz" else "w", format=tarfile.GNU_FORMAT) as file:
        for name, content, attributes in listed:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            for key, value in attributes.items():
                if hasattr(entry, key):
                    setattr(entry, key, value)
            file.addfile(entry, io.BytesIO(content) if entry.isreg() else None)
    return path


def everything(folder: Path) -> dict[str, bytes | None]:
    """Returns the content of a folder, by path: bytes of a file, None for a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def refused(project: Path, *words: str) -> None:
    """Runs ingest, and checks that it reports the fault in one line and changes no file."""
    outer = project.parents[1]
    before = everything(outer)
    with pytest.raises(InputError) as error:
        ingest.main()
    check_message(error.value, *words)
    assert everything(outer) == before


def check_message(error: InputError, *words: str) -> None:
    message = str(error)
    assert message.isprintable()
    assert len(message) < 600
    for word in ("data/sources/savee", *words):
        assert word in message


SLIPS = {
    "up": "../../x.wav",
    "up, far": "../" * 40 + "tmp/x.wav",
    "up, from within": "DC/../../../x.wav",
    "up, at the end": "DC/..",
    "absolute": "/tmp/x.wav",
    "absolute, twice": "//tmp/x.wav",
    "up, Windows": "..\\..\\x.wav",
    "drive": "C:\\x.wav",
    "drive, relative": "C:x.wav",
    "share": "\\\\host\\share\\x.wav",
    "no name": ".",
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", SLIPS.values(), ids=SLIPS)
def test_an_entry_that_leads_outside(fault: Fault, project: Path, suffix: str, name: str) -> None:
    pack(suffix, [*entries(), (name, b"x", {})])
    with fault("archive: an entry that leads outside"):
        refused(project, "leads outside")


LINKS = {
    "symbolic, outside": {"type": tarfile.SYMTYPE, "linkname": "../../../x.wav"},
    "symbolic, absolute": {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
    "symbolic, within": {"type": tarfile.SYMTYPE, "linkname": "DC/a01.wav"},
    "symbolic, to a folder": {"type": tarfile.SYMTYPE, "linkname": ".."},
    "hard, outside": {"type": tarfile.LNKTYPE, "linkname": "../../../x.wav"},
    "hard, within": {"type": tarfile.LNKTYPE, "linkname": "DC/a01.wav"},
    "device": {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3},
    "pipe": {"type": tarfile.FIFOTYPE},
}


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
@pytest.mark.parametrize("attributes", LINKS.values(), ids=LINKS)
def test_a_link_and_a_file_below_it(
    fault: Fault, project: Path, suffix: str, attributes: dict[str, Any]
) -> None:
    pack(suffix, [*entries(), ("KL.wav", b"", attributes), ("KL.wav/x.wav", b"x", {})])
    with fault("archive: a link or a device"):
        refused(project, "KL.wav", "link or a device")


def test_a_link_in_a_zip(fault: Fault, project: Path) -> None:
    pack("zip", [*entries(), ("KL.wav", b"/etc/passwd", {"external_attr": LINK, "create_system": 3})])
    with fault("archive: a link or a device"):
        refused(project, "KL.wav", "link or a device")


@pytest.mark.parametrize("suffix", ["zip", "tar.gz"])
@pytest.mark.parametrize(
    ("n_bytes", "settings", "limit"),
    [
        (8_000_000, {"max_compression_ratio": 100.0}, "params.ingest.max_compression_ratio"),
        (60_000_000, {"max_compression_ratio": 1e9}, "params.ingest.max_unpacked_gb"),
    ],
)
def test_a_bomb(fault: Fault, project: Path, suffix: str, n_bytes: int, settings: Any, limit: str) -> None:
    choose(**settings)
    pack(suffix, entries(**{"KL/a01.wav": bytes(n_bytes)}))
    with fault("archive: a bomb"):
        refused(project, "unpacks to more than", limit)


def test_a_bomb_whose_entries_share_their_bytes(fault: Fault, project: Path) -> None:
    """Fifield 2019, "A better zip bomb": the table lists the same compressed bytes many times."""
    path = pack("zip", entries(**{"KL/a01.wav": bytes(1_000_000)}))
    content = path.read_bytes()
    start, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    central = content[start:end]
    last = central[central.rindex(b"PK\x01\x02") :]
    copies = b"".join(last.replace(b"KL/a01", b"KL/%03d" % number) for number in range(100))
    table = central + copies
    closing = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 103, 103, len(table), start, 0)
    path.write_bytes(content[:start] + table + closing)
    with fault("archive: a bomb"):
        refused(project, "unpacks to more than")


def rewrite(path: Path, entry: str, **fields: tuple[int, str, int]) -> None:
    """Overwrites fields of a zip's central table: offset in the entry, format, value (APPNOTE.TXT 4.3.12)."""
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02", 0, content.rindex(entry.encode()))
    for offset, form, value in fields.values():
        struct.pack_into(form, content, at + offset, value)
    path.write_bytes(content)


WRONG_FIELDS = {
    "less than there is": {"size": (24, "<L", 5_000)},
    "more than there is": {"size": (24, "<L", 21_000)},
    "4 GB": {"size": (24, "<L", 0xFFFFFFFE)},
    "compressed: more than the archive": {"packed": (20, "<L", 0x7FFFFFFF)},
    "compressed: nothing": {"packed": (20, "<L", 0)},
    "another checksum": {"crc": (16, "<L", 0)},
    "a place behind the end": {"offset": (42, "<L", 0x7FFFFFFF)},
    "a future version": {"version": (6, "<H", 990)},
    "an unknown method": {"method": (10, "<H", 77)},
    "names in UTF-8 that are not": {"flags": (8, "<H", 0x800), "name": (46, "<B", 0xFF)},
}


@pytest.mark.parametrize("fields", WRONG_FIELDS.values(), ids=WRONG_FIELDS)
def test_a_zip_with_a_wrong_table(
    fault: Fault, project: Path, fields: dict[str, tuple[int, str, int]]
) -> None:
    path = pack("zip", [("JE/a01.wav", NOISE, {})])
    rewrite(path, "JE/a01.wav", **fields)
    with fault("archive: a wrong table"):
        try:
            ingest.main()
        except InputError as error:
            check_message(error)
            assert not Path("data/raw/savee/JE/a01.wav").exists()
        else:
            assert Path("data/raw/savee/JE/a01.wav").read_bytes() == NOISE
        assert set(everything(project.parents[1])) <= KNOWN | {"outer/project/data/raw/savee/JE/a01.wav"}


def header(name: str, size: bytes) -> bytes:
    """Returns a tar header with the size field as given (POSIX.1-1988 ustar), its checksum right."""
    entry = bytearray(tarfile.TarInfo(name).tobuf(tarfile.GNU_FORMAT))
    entry[124:136] = size
    entry[148:156] = b" " * 8
    entry[148:156] = b"%06o\0 " % sum(entry)
    return bytes(entry)


SIZES = {
    "negative": b"\xff" * 12,
    "negative, by a block": (-512).to_bytes(12, "big", signed=True),
    "negative, by two": (-1024).to_bytes(12, "big", signed=True),
    "8 EB": b"\x80\0\0\0" + (2**63 - 1).to_bytes(8, "big"),
    "8 GB": b"77777777777\0",
    "no number": b"abcdefghijk\0",
}


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("kind", ["first", "last"])
def test_a_tar_with_a_wrong_table(fault: Fault, project: Path, suffix: str, size: bytes, kind: str) -> None:
    path = pack("tar", entries())
    whole = path.read_bytes()
    path.unlink()
    bad, end = header("KL/a01.wav", size), whole[-10240:]
    content = (
        bad + whole
        if kind == "first"
        else whole.rstrip(b"\0") + bytes(512 - len(whole.rstrip(b"\0")) % 512) + bad + end
    )
    Path(f"data/sources/savee.{suffix}").write_bytes(content if suffix == "tar" else gzip.compress(content))
    with fault("archive: a wrong table"):
        refused(project)


CLASHES = {
    "twice": ["KL/a01.wav", "KL/a01.wav"],
    "twice, another way": ["KL/a01.wav", "KL/./a01.wav"],
    "in case": ["KL/a01.wav", "kl/A01.WAV"],
    "in how a letter is composed": ["KL/é_a01.wav", unicodedata.normalize("NFD", "KL/é_a01.wav")],
    "in both": ["KL/É_a01.wav", unicodedata.normalize("NFD", "KL/é_a01.wav")],
    "a file and a folder": ["KL.wav", "KL.wav/a01.wav"],
    "a file and a folder, in case": ["kl.wav", "KL.wav/a01.wav"],
}


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("names", CLASHES.values(), ids=CLASHES)
def test_names_that_clash(fault: Fault, project: Path, suffix: str, names: list[str]) -> None:
    pack(suffix, [*entries(), *((name, name.encode(), {}) for name in names)])
    with fault("archive: names that clash"):
        refused(project)


NAMES = {
    "Latin-1": b"KL/\xe9_a01.wav",
    "Shift-JIS": b"KL/\x83e\x83X\x83g_a01.wav",
    "half a letter of UTF-8": b"KL/\xc3",
    "a surrogate": b"KL/\xed\xa0\x80.wav",
    "lines": b"KL/a\nerror: all is well\n.wav",
    "a terminal's commands": b"KL/\x1b[2J\x1b[1;31m.wav",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_that_is_not_text_in_a_tar(fault: Fault, project: Path, name: bytes) -> None:
    pack("tar", [*entries(), (name.decode("utf-8", "surrogateescape") + ".wav", b"x", {})])
    with fault("archive: a name that is not text"):
        refused(project, "not valid")


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_that_is_not_text_in_a_zip(fault: Fault, project: Path, name: bytes) -> None:
    """Marked as UTF-8; unmarked, any bytes are code page 437 and so a name, if a strange one."""
    stand_in = "x" * len(name)
    path = pack("zip", [*entries(), (stand_in, b"x", {})])
    content = bytearray(path.read_bytes().replace(stand_in.encode(), name))
    for match in re.finditer(rb"PK\x01\x02|PK\x03\x04", bytes(content)):
        content[match.start() + (9 if match.group() == b"PK\x01\x02" else 7)] |= 0x08
    path.write_bytes(content)
    with fault("archive: a name that is not text"):
        refused(project)


def test_a_name_that_is_not_text_in_a_folder(fault: Fault, project: Path) -> None:
    for name in NAMES.values():
        folder = project / "data" / "sources" / "savee" / "KL"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / (name.removeprefix(b"KL/").decode("utf-8", "surrogateescape") + ".wav")
        path.write_bytes(b"x")
        with fault("archive: a name that is not text"):
            refused(project, "not valid")
        path.unlink()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("inner", ["x.zip", "KL/x.tar.gz", "KL/x.TAR"])
def test_an_archive_in_an_archive(fault: Fault, project: Path, suffix: str, inner: str) -> None:
    pack(suffix, entries(**{inner: b"x"}))
    with fault("archive: one inside another"):
        refused(project, inner)


def test_a_name_too_long_for_the_disk(fault: Fault, project: Path) -> None:
    pack("zip", entries(**{f"KL/{'x' * 300}.wav": b"x"}))
    with fault("archive: a name too long"), pytest.raises(OSError, match="too long") as error:
        ingest.main()
    assert disk_error(error.value)


Mutation = Callable[[random.Random, bytearray], None]


@pytest.mark.parametrize("number", draws(sample=1, slow=2, campaign=12))
def test_a_mutated_archive_is_read_or_refused(fault: Fault, project: Path, number: int) -> None:
    draw, suffix = random.Random(f"archive:{number}"), ["zip", "tar", "tar.gz"][number % 3]
    path = pack(suffix, entries(**{"DC/info.txt": b"text" * 99}))
    whole, outer = path.read_bytes(), project.parents[1]
    for _ in range(100):
        content = bytearray(gzip.decompress(whole) if suffix == "tar.gz" else whole)
        starts = [match.start() for match in re.finditer(rb"PK..|DC/|JE/", bytes(content))]
        for _ in range(draw.randint(1, 4)):
            at = (
                draw.choice(starts) + draw.randrange(60)
                if draw.random() < 0.8
                else draw.randrange(len(content))
            )
            content[at % len(content)] = draw.choice([0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)])
        if draw.random() < 0.1:
            del content[draw.randrange(len(content)) :]
        path.write_bytes(gzip.compress(content) if suffix == "tar.gz" else content)
        with fault("archive: bytes changed at random"):
            try:
                ingest.main()
            except InputError as error:
                check_message(error)
            found = {
                name for name in everything(outer) if not name.startswith("outer/project/data/raw/savee/")
            }
            assert found <= KNOWN
