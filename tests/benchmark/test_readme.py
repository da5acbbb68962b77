"""docs/benchmark.md shows the numbers of results.csv, and README quotes them as they are there."""

from __future__ import annotations

import contextlib
import re

import pytest

from benchmark.published import page, rows
from benchmark.published.page import Entry
from stages.base.params import load
from tests.support.workspace import ROOT

WORDS = (
    *("no", "one", "two", "three", "four", "five", "six", "seven", "eight"),
    *("nine", "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen"),
)
README = (ROOT / "README.md").read_text()
PAGE = (ROOT / "docs" / "benchmark.md").read_text()


def joined(text: str) -> str:
    """Returns `text` without line breaks."""
    return " ".join(text.split())


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def entries() -> list[Entry]:
    """The systems, from results.csv as it is in the repository."""
    with contextlib.chdir(ROOT):
        return page.entries(rows.read(rows.RESULTS), load(ROOT / "params.yaml"))


def test_the_page_has_the_accuracies_of_results_csv(entries: list[Entry]) -> None:
    lines = re.findall(r"^\| `([A-E]\d_\w+)` .*$", PAGE.split("\n## ")[0], re.MULTILINE)
    assert lines == [entry.name for entry in entries]
    for entry in entries:
        if entry.ran:
            line = next(line for line in PAGE.splitlines() if line.startswith(f"| `{entry.name}` "))
            report_split, new_speakers = (row["accuracy"] for row in measured(entry))
            assert f"| {100 * float(report_split):.1f} [" in line
            assert f"| **{100 * float(new_speakers):.1f} [" in line


def measured(entry: Entry) -> list[dict[str, str]]:
    """Returns the two rows of results.csv that the page's main table shows of a system."""
    found = [row for row in rows.read(rows.RESULTS) if row["system"] == entry.name]
    return [row for row in found if row["variant"] == entry.variant]


def test_the_page_has_what_each_change_is_worth(entries: list[Entry]) -> None:
    changes = page.changes_of(entries)
    assert changes
    lines = PAGE.split("## What a change is worth")[1].split("\n## ")[0].splitlines()
    for entry, variant, of_splits in changes:
        start = f"| `{entry.name}` | {entry.system.variants[variant].about}"
        (line,) = [line for line in lines if line.startswith((f"{start} |", f"{start}, "))]
        gains = [of_splits[each].points("gain") for each in ("as_reported", "speaker_independent")]
        assert line.endswith(f"| {gains[0]} | {gains[1]} |")


def test_the_page_counts_the_systems_with_results(entries: list[Entry]) -> None:
    n_run = sum(entry.ran for entry in entries)
    assert f"{n_run} of the {len(entries)} have results here" in joined(PAGE)
    for entry in entries:
        if not entry.ran:
            assert f"`{entry.name}` was {entry.report_split.text('status')}." in joined(PAGE)


def test_the_page_states_the_training_time(entries: list[Entry]) -> None:
    seconds = sum(row.seconds for entry in entries for _, row in entry.pairs() if row.ran)
    assert f"took {seconds / 3600:.1f} hours" in joined(PAGE)


def test_readme_quotes_the_points_lost(entries: list[Entry]) -> None:
    assert page.claim([entry for entry in entries if entry.counts]) in joined(README)


def test_readme_quotes_the_number_of_systems(entries: list[Entry]) -> None:
    ran = [entry for entry in entries if entry.ran]
    n_stand_ins = sum(entry.is_stand_in for entry in ran)
    assert (
        f"{WORDS[len(ran)].capitalize()} published systems were rebuilt here, {WORDS[n_stand_ins]} of them"
        in joined(README)
    )
