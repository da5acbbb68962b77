"""What is run in other processes: see `engine.run`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stages.base.errors import InputError


class WorkerKilledError(InputError):
    """A task ended the process that ran it."""


@dataclass(frozen=True)
class Task:
    """Work that depends on no other task.

    Attributes:
        name: for error messages.
        make: does the work, in any process whose current folder is the repository's root.
        threads: of BLAS and TensorFlow; their number changes the last bits of results.
    """

    name: str
    make: Callable[[], Any]
    threads: int
