"""The number format in which a network is trained."""

from __future__ import annotations

from stages.data import processor


def resolved(precision: str) -> str:
    """Returns what `auto` means on this processor, `bfloat16` or `float32`; these two unchanged.

    >>> resolved("float32")
    'float32'
    """
    if precision != "auto":
        return precision
    return "bfloat16" if processor.has_bfloat16() else "float32"


def policy(precision: str) -> str:
    """Returns the Keras dtype policy: float32 weights, and activations of the resolved precision."""
    return {"float32": "float32", "bfloat16": "mixed_bfloat16"}[resolved(precision)]
