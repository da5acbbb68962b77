"""How many threads numerical libraries may use, and what must be the same on every machine of a run.

The number of threads changes the last bits of results, so callers record it.
"""

from __future__ import annotations

import functools
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from threadpoolctl import threadpool_limits

from stages.data import code, processor


@functools.cache
def environment() -> dict[str, str]:
    """Returns what must be the same on every machine of a run, for the same results on each."""
    python = ".".join(platform.python_version_tuple()[:2])
    found = {"python": python, "bfloat16": str(processor.has_bfloat16())}
    return found | code.versions(code.LIBRARIES)


@contextmanager
def quiet() -> Iterator[None]:
    """Drops what is written to stderr meanwhile: TensorFlow's libraries log when they are loaded.

    Errors still raise in Python.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def limit(n_threads: int) -> None:
    """Limits BLAS, OpenMP and TensorFlow's operations to `n_threads`; call it before importing TensorFlow."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        os.environ[variable] = str(n_threads)
    # Without a GPU TensorFlow logs errors of its drivers; real failures still raise in Python.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    threadpool_limits(n_threads)
