"""Git LFS pointers, as the specification and CREMA-D's repository write them."""

from __future__ import annotations

import pytest

from stages.audio import lfs

OID = "43c990a9892070b990971cf423cbc10636e618603ad4e0490ab01f7352ea796a"
# AudioWAV/1063_IWW_NEU_XX.wav of CREMA-D's repository
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize 63040\n"
EXTENDED = POINTER.replace("oid", "ext-0-foo sha256:00\noid")


@pytest.mark.parametrize("text", [POINTER, EXTENDED, POINTER.replace("\n", "\r\n")])
def test_a_pointer_has_hash_and_size(text: str) -> None:
    assert lfs.parse(text.encode()) == lfs.Pointer(OID, 63040)


@pytest.mark.parametrize(
    "content", [b"", b"RIFF\x24\x00\x00\x00WAVE", POINTER[:60].encode(), b"404: Not Found"]
)
def test_other_content_is_not_a_pointer(content: bytes) -> None:
    assert lfs.parse(content) is None
