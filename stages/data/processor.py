"""What the processor can do, as far as results depend on it."""

from __future__ import annotations

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}  # without one of these a processor emulates bfloat16, slowly


def has_bfloat16() -> bool:
    """Returns whether the processor computes in bfloat16; False where it cannot be determined."""
    return CPUINFO.is_file() and bool(BFLOAT16_FLAGS & {*CPUINFO.read_text().split()})
