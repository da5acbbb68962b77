"""Times taken in turn, so that whatever else the machine does slows both sides alike."""

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
PER_CLIP = "CPU ms a clip"
POLL_S = 0.02


def alternate(
    sides: Mapping[str, Callable[[], object]],
    n_rounds: int = N_ROUNDS,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, list[float]]:
    """Returns the seconds of each side in each round, after a round for warmth."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(-1, n_rounds):
        for name, side in sides.items():
            start = clock()
            side()
            if number >= 0:
                seconds[name].append(clock() - start)
    return seconds


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Returns the median over rounds of the quotient."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def children_cpu_s() -> float:
    """Returns the seconds of the processor that commands run so far have taken: a clock for `alternate`."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@dataclass(frozen=True)
class Usage:
    """What a command took.

    Attributes:
        wall_s: from start to end.
        cpu_s: of the processor, its children's too.
        peak_mb: of memory, resident in it and its children together, the largest of the moments looked at.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float


def command(arguments: Sequence[str], folder: Path, **environment: str) -> Usage:
    """Runs a command in `folder` and returns what it took.

    Raises:
        subprocess.CalledProcessError: it failed; what it said is the error's `output`.
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
        peak, said = 0, ""
        while True:
            try:
                said, _ = process.communicate(timeout=POLL_S)
                break
            except subprocess.TimeoutExpired:
                peak = max(peak, _resident(process.pid))
    wall_s = time.perf_counter() - start
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, arguments, said)
    return Usage(wall_s, children_cpu_s() - before_s, peak / 2**20)


def _resident(pid: int) -> int:
    """Returns the bytes resident in a process and its children."""
    total = 0
    try:
        process = psutil.Process(pid)
        for each in [process, *process.children(recursive=True)]:
            total += each.memory_info().rss
    except psutil.NoSuchProcess:  # it has just ended
        pass
    return total
