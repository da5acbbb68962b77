"""Runs the fault campaign, `python -m tests.faults.campaign`: writes results.csv and docs/faults.md's table.

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
RESULTS = Path(__file__).with_name("results.csv")
START, END = "<!-- table -->\n", "<!-- end of table -->"


def main(records: list[Path]) -> int:
    """Returns the campaign's exit code, 1 also when a fault was lost whose test passed."""
    code = 0
    if not records:
        with tempfile.TemporaryDirectory() as folder:
            record = Path(folder, "record.jsonl")
            command = [sys.executable, "-m", "pytest", "-m", "", "tests/faults"]
            code = subprocess.run(command, cwd=ROOT, env=os.environ | {RECORD: str(record)}).returncode
            counts = count([record])
    else:
        counts = pd.concat(
            [count(records), pd.read_csv(RESULTS, keep_default_na=False, dtype={"commit": str})]
        )
        counts = counts.drop_duplicates(["test", "kind"]).sort_values(["test", "kind"])
    counts.to_csv(RESULTS, index=False, lineterminator="\n")
    before, _, rest = PAGE.read_text().partition(START)
    PAGE.write_text(before + START + table(counts) + END + rest.partition(END)[2])
    return code or int(counts["lost"].sum() > 0)


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
    """Returns the counts in Markdown: a row per test file, and the name of each kind that lost a fault."""
    lines = ["| test | kinds | tried | survived | lost |", "|---|---|---|---|---|"]
    for test, of_test in counts.groupby("test"):
        kinds = of_test.loc[of_test["lost"] > 0, "kind"]
        lost = f"{of_test['lost'].sum()}{': ' * bool(len(kinds))}{', '.join(kinds)}"
        tried, survived = of_test[["tried", "survived"]].sum()
        lines.append(f"| `{test}` | {len(of_test)} | {tried} | {survived} | {lost} |")
    tried, survived, lost = counts[["tried", "survived", "lost"]].sum()
    lines.append(f"| **all** | **{len(counts)}** | **{tried}** | **{survived}** | **{lost}** |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("records", type=Path, nargs="*", help="none: the whole campaign")
    sys.exit(main(parser.parse_args().records))
