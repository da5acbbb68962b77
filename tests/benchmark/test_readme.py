"""README repeats lines of the benchmark's page; what it repeats is what was measured."""

from __future__ import annotations

import re

import pytest

from benchmark.published import overlay, page, rows
from benchmark.published.page import Entry
from tests.support.workspace import ROOT

README = " ".join((ROOT / "README.md").read_text().split())


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> list[Entry]:
    monkeypatch.chdir(ROOT)
    return page.entries(rows.gather(), overlay.parse(ROOT / "params.yaml"))


def test_readme_shows_lines_of_the_benchmark_as_they_are() -> None:
    shown = re.findall(r"^\| `[A-E]\d_\w+`.*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(shown) > 4
    assert set(shown) <= {*(ROOT / "docs" / "benchmark.md").read_text().splitlines()}


def test_readme_counts_the_systems_that_have_numbers(entries: list[Entry]) -> None:
    n_run = sum(entry.ran for entry in entries)
    assert f"Sixteen published systems, built again in this pipeline; {n_run} have numbers here" in README
    for entry in entries:
        if not entry.ran:
            needs = entry.report_split.text("status").removeprefix(rows.NEEDS)
            assert f"(`{entry.name[:2]}` needs {needs})" in README


def test_readme_shows_systems_that_new_speakers_do_not_harm(entries: list[Entry]) -> None:
    for entry in entries:
        if entry.is_fair and entry.points_lost < 0:
            assert f"| `{entry.name}` " in README


def test_readme_says_why_a_doubted_row_is(entries: list[Entry]) -> None:
    for entry in entries:
        if entry.caveats and f"| `{entry.name}` " in README:
            assert f"`{entry.name}` ({'; '.join(entry.caveats)})" in README


def test_readme_tells_how_long_it_takes(entries: list[Entry]) -> None:
    seconds = sum(row.seconds for entry in entries for _, row in entry.pairs() if row.ran)
    assert f"{seconds / 3600:.1f} hours of training for what has numbers" in README
