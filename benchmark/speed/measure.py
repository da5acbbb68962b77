"""Times measured in alternation, so that other work on the machine slows both sides equally."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
N_ROUNDS = 5
POLL_S = 0.02


def alternate(
    sides: Mapping[str, Callable[[], object]],
    n_rounds: int = N_ROUNDS,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, list[float]]:
    """Returns the seconds of each side in each round, after a warm-up round."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(-1, n_rounds):
        for name, side in sides.items():
            start = clock()
            side()
            if number >= 0:
                seconds[name].append(clock() - start)
    return seconds


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Returns the median over rounds of `above / below`."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def children_cpu_s() -> float:
    """Returns the processor time of all finished commands, in seconds: a clock for `alternate`."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@dataclass(frozen=True)
class Usage:
    """Time and memory that a command used.

    Attributes:
        wall_s: from start to end.
        cpu_s: processor time, including its children's.
        peak_mb: largest sampled resident memory of it and its children together.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float


def command(arguments: Sequence[str], folder: Path, **environment: str) -> Usage:
    """Runs a command in `folder` and returns the time and memory it used.

    Raises:
        subprocess.CalledProcessError: it failed; the error's `output` has its messages.
    """
    before_s = children_cpu_s()
    start = time.perf_counter()
    with subprocess.Popen(
        arguments,
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        peak, output = 0, ""
        while True:
            try:
                output, _ = process.communicate(timeout=POLL_S)
                break
            except subprocess.TimeoutExpired:
                peak = max(peak, _resident(process.pid))
    wall_s = time.perf_counter() - start
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, arguments, output)
    return Usage(wall_s, children_cpu_s() - before_s, peak / 2**20)


def _resident(pid: int) -> int:
    """Returns the bytes resident in a process and its children."""
    total = 0
    try:
        process = psutil.Process(pid)
        for each in [process, *process.children(recursive=True)]:
            total += each.memory_info().rss
    except psutil.NoSuchProcess:  # it has just exited
        pass
    return total
