"""Write the rows of all systems to results.csv, docs/benchmark.md and docs/benchmark.png.

python -m benchmark.published.table
python -m benchmark.published.table --latex table.tex    # the main table for a paper, too
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmark.published import figure, page, rows
from stages.base.errors import parser_of, run
from stages.base.files import write
from stages.base.params import PARAMS, load

DOCS = Path("docs")
COLUMNS = "".join(rf"p{{{width}\textwidth}}" for width in (0.34, 0.1, 0.16, 0.16, 0.12))
CAPTION = (
    "Accuracy in \\%, with 95 \\% intervals over speakers and, after ±, the standard deviation over seeds; "
    "the interval of the points lost is over both. Reported scores marked ``validation'' are of the clips "
    "that chose the epoch. A stand-in replaces a corpus, or weights, that were not available. ‡: of one "
    "seed, other seeds may change it. †: measured with earlier settings."
)


def main() -> None:
    parser = parser_of(__doc__.splitlines()[0], "python -m benchmark.published.table")
    parser.add_argument("--latex", metavar="FILE", type=Path, help="also write the main table as LaTeX")
    to = parser.parse_args().latex
    found = rows.gather()
    entries = page.entries(found, load(PARAMS))
    rows.write(found, rows.RESULTS)
    write(figure.draw(entries).content, DOCS / "benchmark.png")
    write(page.render(entries), DOCS / "benchmark.md")
    if to is not None:
        write(latex(entries), to)
    n_run = sum(row["status"] == rows.RAN for row in found)
    print(f"benchmark: {n_run} of {len(found)} rows were run here")


def latex(found: Sequence[page.Entry]) -> str:
    """Returns the main table as LaTeX, for the package booktabs; its caption explains the marks."""
    table = pd.DataFrame(
        {
            "system": [f"{entry.name} {entry.system.title}, {entry.measured_on}" for entry in found],
            "reported": [entry.reported_score for entry in found],
            "report's split": [
                accuracy(entry.report_split) if entry.ran else entry.report_split.text("status")
                for entry in found
            ],
            "new speakers": [accuracy(entry.new_speakers) if entry.ran else page.DASH for entry in found],
            "points lost": [entry.lost + entry.mark if entry.ran else page.DASH for entry in found],
        }
    )
    style = table.style.hide(axis="index").format(escape="latex")
    text = style.to_latex(hrules=True, caption=CAPTION, column_format=COLUMNS)
    return re.sub(r"(?<=[ \[])-(?=\d)", "$-$", text)


def accuracy(row: page.Row) -> str:
    """Returns `70.4 [64, 77] ± 7.9`."""
    return row.score("accuracy") + row.over_seeds("accuracy")


if __name__ == "__main__":
    run(main)
