"""Counts the faults that the project is put to and what became of each: what docs/faults.md is made of.

@pytest.mark.parametrize("number", draws(sample=2, slow=10, campaign=60))
def test_a_kill_costs_time_only(fault: Fault, number: int) -> None:
    with fault("SIGKILL in a stage"):
        ...  # what fails in here, or never ends, is a fault that was lost
"""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECORD = "FAULTS_RECORD"  # the variable that names the file to record in; without it nothing is recorded

Fault = Callable[[str], AbstractContextManager[None]]


def draws(sample: int, slow: int, campaign: int) -> list[Any]:
    """Returns the numbers below `campaign` as a test's parameters.

    The first `sample` run always, those below `slow` with `-m slow` as CI does, the others in `make faults`.
    """
    marks = [()] * sample + [pytest.mark.slow] * (slow - sample) + [pytest.mark.faults] * (campaign - slow)
    return [pytest.param(number, marks=mark) for number, mark in enumerate(marks)]


@pytest.fixture(scope="session")
def fault() -> Fault:
    """Returns a context that counts a fault of a kind as tried and, if its block raises nothing, as survived.

    Skip before the block, not in it.
    """

    @contextmanager
    def tried(kind: str) -> Iterator[None]:
        name = uuid.uuid4().hex
        test = os.environ["PYTEST_CURRENT_TEST"].split("::")[0]
        _note(name=name, kind=kind, test=test, commit=_commit())
        yield
        _note(name=name)

    return tried


@cache
def _commit() -> str:
    """Returns the short name of the commit whose code is tested, `-dirty` if it was edited since."""
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _note(**facts: str) -> None:
    if RECORD in os.environ:
        # One write of one line: those of tests that run side by side do not mix.
        with Path(os.environ[RECORD]).open("a", buffering=1) as file:
            file.write(json.dumps(facts) + "\n")
