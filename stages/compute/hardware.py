"""What the processor can do, and how many threads numerical libraries may use.

Both change the last bits of results, so callers record them.
"""

from __future__ import annotations

import os
from pathlib import Path

from threadpoolctl import threadpool_limits

CPUINFO = Path("/proc/cpuinfo")
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}  # without one of these a processor emulates bfloat16, slowly


def has_bfloat16() -> bool:
    """Returns whether the processor computes in bfloat16; False where it cannot be determined."""
    return CPUINFO.is_file() and bool(BFLOAT16_FLAGS & {*CPUINFO.read_text().split()})


def limit(n_threads: int) -> None:
    """Holds BLAS, OpenMP and TensorFlow to `n_threads`; call it before TensorFlow is imported.

    TensorFlow gets one inter-op thread: with two, oneDNN's convolutions sum in an order that varies
    from run to run.
    """
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        os.environ[variable] = str(n_threads)
    os.environ["TF_NUM_INTEROP_THREADS"] = "1"
    # Without a GPU TensorFlow logs errors of its drivers; what really fails raises in Python all the same.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    threadpool_limits(n_threads)
