"""Write the rows of all systems to results.csv, docs/benchmark.md and docs/benchmark.png.

python -m benchmark.published.table
"""

from __future__ import annotations

from pathlib import Path

from benchmark.published import figure, page, rows
from stages.base.errors import run
from stages.base.files import replacing
from stages.base.params import PARAMS, load

DOCS = Path("docs")


def main() -> None:
    found = rows.gather()
    entries = page.entries(found, load(PARAMS))
    rows.write(found, rows.RESULTS)
    with replacing(DOCS / "benchmark.png") as temporary:
        temporary.write_bytes(figure.draw(entries).content)
    with replacing(DOCS / "benchmark.md") as temporary:
        temporary.write_text(page.render(entries), encoding="utf-8")
    n_run = sum(row["status"] == rows.RAN for row in found)
    print(f"benchmark: {n_run} of {len(found)} rows were run here")


if __name__ == "__main__":
    run(main)
