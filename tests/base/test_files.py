"""Temporary files: which of them are swept away."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from stages.base import files


@pytest.mark.skipif(sys.platform == "win32", reason="Windows lists no process that has ended")
def test_what_is_left_of_a_process_that_has_ended_but_is_still_listed_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container whose first process asks for no exit codes."""
    monkeypatch.chdir(tmp_path)
    files.DATA.mkdir()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    deadline = time.monotonic() + 60
    while psutil.Process(ended.pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    left = files.DATA / f".a.wav.{files._host()}-{ended.pid}.part"
    left.touch()
    files.sweep()
    assert not left.exists()
    ended.wait()
