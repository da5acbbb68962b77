"""Fixtures that several test modules share."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]
collect_ignore = ["faults/crash/sitecustomize.py"]  # Debian's Python has imported a module of this name

# On a busy machine, drawing values takes longer than Hypothesis allows.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

# numba compiles librosa for half a minute, a third less without optimisation. Two processes that fill numba's
# cache at once can crash (its issue 10128).
os.environ["NUMBA_OPT"] = "0"
if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    os.environ["NUMBA_CACHE_DIR"] = str(ROOT / ".pytest_cache" / "numba" / worker)


# The files that take longest, so that none of them is left at the end for one worker; the slow ones first.
LONGEST = [
    "tests/benchmark/test_system.py",
    "tests/test_pipeline.py",
    "tests/faults/test_kills.py",
    "tests/tools/test_search.py",
    "tests/test_determinism.py",
    "tests/audio/test_recording.py",
    "tests/test_train.py",
    "tests/networks/test_network.py",
    "tests/compute/test_engine.py",
]
# What one worker makes once for all files with such a line.
SHARED = {
    "librosa": r"^import librosa$",
    "small pipeline": r"^from tests\.faults\.pipeline import .*\bsmall\b",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the tests of the longest files first."""
    places = {file: place for place, file in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.split("::")[0], len(LONGEST)))


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Gives each file to one worker, in order, and those that share what is made once to the same one."""
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False  # xdist's order is by the number of tests, whatever they take
    texts = {str(path.relative_to(ROOT)): path.read_text() for path in ROOT.glob("tests/**/test_*.py")}
    shared = {
        file: name
        for file, text in texts.items()
        for name, line in SHARED.items()
        if re.search(line, text, re.M)
    }

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return shared.get(file, file)

    return Scheduling(config, log)


@pytest.fixture(autouse=True)
def unchanged_process() -> Iterator[None]:
    """Fails a test that leaves the process changed: the test it breaks depends on the order of files."""

    def state() -> tuple[object, ...]:
        return logging.root.level, logging.root.disabled, logging.root.manager.disable, Path.cwd()

    before = state()
    yield
    assert state() == before, "a test changed the root logger or the working directory"


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of real recordings beside the repository."""
    folder = ROOT.parent / "shared" / "corpora"
    if not folder.is_dir():
        pytest.skip("needs the real recordings in ../shared/corpora, which are not here")
    return folder
