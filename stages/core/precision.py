"""In which numbers a network computes while it trains."""

from __future__ import annotations

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
FLAGS = {"avx512_bf16", "amx_bf16"}  # without one of these a processor emulates bfloat16, and loses by it


def resolved(precision: str) -> str:
    """Returns `auto` as what it means on this processor, `bfloat16` or `float32`, and those as they are."""
    if precision != "auto":
        return precision
    flags = CPUINFO.read_text().split() if CPUINFO.is_file() else []
    return "bfloat16" if FLAGS & {*flags} else "float32"


def policy(precision: str) -> str:
    """Returns the Keras dtype policy: float32 weights, and activations of the resolved precision."""
    return {"float32": "float32", "bfloat16": "mixed_bfloat16"}[resolved(precision)]
