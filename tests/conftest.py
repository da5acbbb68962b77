"""Fixtures that several test modules share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# librosa is compiled by numba, and two processes that fill numba's cache at once can crash (its issue 10128).
if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    os.environ["NUMBA_CACHE_DIR"] = str(ROOT / ".pytest_cache" / "numba" / worker)


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of real recordings beside the repository."""
    folder = ROOT.parent / "shared" / "corpora"
    if not folder.is_dir():
        pytest.skip("needs the real recordings in ../shared/corpora, which are not here")
    return folder
