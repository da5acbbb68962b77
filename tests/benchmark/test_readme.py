"""README repeats lines of the benchmark's page; what it repeats is what was measured."""

from __future__ import annotations

import re

from tests.workspace import ROOT


def test_readme_shows_lines_of_the_benchmark_as_they_are() -> None:
    shown = re.findall(r"^\| `[A-E]\d_\w+`.*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(shown) > 4
    assert set(shown) <= {*(ROOT / "docs" / "benchmark.md").read_text().splitlines()}
