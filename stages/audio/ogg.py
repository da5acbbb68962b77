"""Checksums of Ogg pages, which libsndfile does not check: a damaged page would give other samples.

Format: RFC 3533, "The Ogg Encapsulation Format Version 0".
"""

from __future__ import annotations

import zlib
from pathlib import Path

MAGIC = b"OggS"
HEADER_BYTES = 27  # before the table of segment sizes
CHECKSUM = slice(22, 26)

_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def damage(path: Path) -> str:
    """Returns the place of the first damaged or missing page of an Ogg file, "" if there is none."""
    expected: dict[bytes, int] = {}  # the next page's number by stream
    with path.open("rb") as file:
        while header := file.read(HEADER_BYTES):
            at = file.tell() - len(header)
            sizes = file.read(header[-1])
            body = file.read(sum(sizes))
            if header[:4] != MAGIC or len(header) < HEADER_BYTES or len(sizes) < header[26]:
                return f"no page at byte {at}"
            page = header[:22] + bytes(4) + header[26:] + sizes + body
            if len(body) < sum(sizes) or checksum(page) != int.from_bytes(header[CHECKSUM], "little"):
                return f"the page at byte {at} does not match its checksum"
            stream, number = header[14:18], int.from_bytes(header[18:22], "little")
            if expected.setdefault(stream, number) != number:
                return f"a page is missing before byte {at}"
            expected[stream] = number + 1
    return ""


def checksum(page: bytes) -> int:
    """Returns the CRC-32 of a page whose checksum field is zero.

    Ogg's is zlib's with the bits of each byte and of the result mirrored, and without the two inversions.

    Examples:
        >>> hex(checksum(b"123456789"))
        '0x89a1897f'
    """
    mirrored = zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)
