"""How many threads numerical libraries may use: their number moves the last bits of results."""

from __future__ import annotations

import os

from threadpoolctl import threadpool_limits


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
