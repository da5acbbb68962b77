"""Tasks whose results show that and how they ran."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

from stages.base.errors import InputError


def square(number: int) -> int:
    return number**2


def threads_and_folder() -> tuple[int, str, str]:
    n_blas = max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
    return n_blas, str(Path.cwd()), os.environ["TF_NUM_INTRAOP_THREADS"]


def fail() -> None:
    raise InputError("clip.wav: gone")


def fail_in_code() -> float:
    return 1 / len([])


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_with_the_worker() -> None:
    os.kill(os.getppid(), signal.SIGKILL)


def mark_and_sleep(path: Path) -> None:
    path.write_text(str(os.getpid()))
    time.sleep(600)


def process() -> int:
    time.sleep(0.05)
    return os.getpid()


def numbers(n: int, also_writes: Path | None = None) -> dict[str, np.ndarray]:
    if also_writes:
        also_writes.write_text("half")
    return {"rms": np.zeros((n, 1), np.float32)}
