"""Runs the whole fault campaign and writes its table into docs/faults.md: `python -m tests.faults.campaign`.

With records, `python -m tests.faults.campaign record.jsonl ...`, it replaces the rows of the kinds in them
and keeps the others: after `FAULTS_RECORD=record.jsonl pytest -m '' tests/faults/test_kills.py`, say.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from tests.faults.conftest import RECORD

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "faults.md"
START, END = "<!-- table -->\n", "<!-- end of table -->"


def main(records: list[Path]) -> int:
    """Returns the campaign's exit code, 1 also when a fault was lost whose test passed."""
    code = 0
    before, _, rest = PAGE.read_text().partition(START)
    shown, _, after = rest.partition(END)
    if not records:
        with tempfile.TemporaryDirectory() as folder:
            record = Path(folder, "record.jsonl")
            command = [sys.executable, "-m", "pytest", "-m", "", "tests/faults"]
            code = subprocess.run(command, cwd=ROOT, env=os.environ | {RECORD: str(record)}).returncode
            counts = count([record])
    else:
        counts = pd.concat([count(records), shown_before(shown)]).drop_duplicates(["test", "kind"])
        counts = counts.sort_values(["test", "kind"])
    PAGE.write_text(before + START + table(counts) + END + after)
    return code or int(counts["lost"].sum() > 0)


def shown_before(table: str) -> pd.DataFrame:
    """Returns the rows of a table that `table` made, as `count` does."""
    lines = [line.strip("| ").split(" | ") for line in table.splitlines()[2:-1]]
    rows = [
        (command.strip("`").split()[-1], kind, commit.strip(), int(tried), int(survived), int(lost))
        for kind, tried, survived, lost, commit, command in lines
    ]
    return pd.DataFrame(rows, columns=["test", "kind", "commit", "tried", "survived", "lost"])


def count(records: list[Path]) -> pd.DataFrame:
    """Returns a row per kind of fault and test file: the commit, and how many were tried, survived and lost.

    A fault is noted when it is tried and again when it was survived: one whose test was killed is lost.
    """
    notes = [json.loads(line) for path in records for line in path.read_text().splitlines()]
    tried = {note["name"]: note for note in notes if "kind" in note}
    survived = {note["name"] for note in notes if "kind" not in note}
    rows = [(note["test"], note["kind"], note["commit"], name in survived) for name, note in tried.items()]
    each = pd.DataFrame(rows, columns=["test", "kind", "commit", "survived"])
    counts = each.groupby(["test", "kind"], as_index=False).agg(
        commit=("commit", "last"), tried=("survived", "size"), survived=("survived", "sum")
    )
    return counts.assign(lost=counts["tried"] - counts["survived"])


def table(counts: pd.DataFrame) -> str:
    """Returns the counts in Markdown."""
    lines = ["| kind of fault | tried | survived | lost | commit | command |", "|---|---|---|---|---|---|"]
    for row in counts.itertuples():
        command = f"`pytest -m '' {row.test}`"
        lines.append(f"| {row.kind} | {row.tried} | {row.survived} | {row.lost} | {row.commit} | {command} |")
    total = counts[["tried", "survived", "lost"]].sum()
    tried, survived, lost = total
    lines.append(f"| **all** | **{tried}** | **{survived}** | **{lost}** | | `make faults` |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("records", type=Path, nargs="*", help="none: the whole campaign")
    sys.exit(main(parser.parse_args().records))
