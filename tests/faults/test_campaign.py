"""The campaign's table counts every fault and names what was lost; a record replaces its own kinds."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.faults import campaign

KINDS = pd.DataFrame(
    [
        ("tests/faults/test_a.py", "kill", "0123456", 5, 5, 0),
        ("tests/faults/test_a.py", "cut", "0123456", 3, 3, 0),
    ],
    columns=["test", "kind", "commit", "tried", "survived", "lost"],
)


def test_a_record_replaces_the_rows_of_its_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results, page, record = tmp_path / "results.csv", tmp_path / "page.md", tmp_path / "record.jsonl"
    KINDS.to_csv(results, index=False)
    page.write_text(f"before\n{campaign.START}{campaign.END}after\n")
    note = {"name": "1", "kind": "kill", "test": "tests/faults/test_a.py", "commit": "89abcde"}
    record.write_text(json.dumps(note) + "\n")  # never noted again: lost
    monkeypatch.setattr(campaign, "RESULTS", results)
    monkeypatch.setattr(campaign, "PAGE", page)

    assert campaign.main([record]) == 1

    assert results.read_text().splitlines()[1:] == [
        "tests/faults/test_a.py,cut,0123456,3,3,0",
        "tests/faults/test_a.py,kill,89abcde,1,0,1",
    ]
    assert "| `tests/faults/test_a.py` | 2 | 4 | 3 | 1: kill |\n" in page.read_text()
    assert page.read_text().startswith("before\n") and page.read_text().endswith("after\n")


def test_the_page_shows_the_recorded_results() -> None:
    counts = pd.read_csv(campaign.RESULTS, keep_default_na=False)
    assert campaign.START + campaign.table(counts) + campaign.END in campaign.PAGE.read_text()
