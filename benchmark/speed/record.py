"""benchmark/speed/speed.json, one section per script, and the table in docs/speed.md made from it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmark.speed import measure
from stages.base.files import replacing, write_json

RESULTS = Path("benchmark/speed/speed.json")
PAGE = Path("docs/speed.md")
TABLE = re.compile(r"(<!-- table -->\n).*?(<!-- end of table -->)", re.DOTALL)


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        what: what is measured.
        ours: the pipeline's figure, in `unit`.
        against: the alternative.
        theirs: its figure.
        unit: of both.
        ratio: what the goal is about; the median of the rounds' ratios, not the ratio of medians.
        goal: the intended ratio, in words; empty if there is none.
    """

    what: str
    ours: float
    against: str
    theirs: float
    unit: str
    ratio: float
    goal: str

    @classmethod
    def per_clip(
        cls, what: str, against: str, seconds: Mapping[str, Sequence[float]], n_clips: int, goal: str
    ) -> Row:
        """Returns the comparison of the processor seconds of `ours` and `theirs` in each round."""
        ours, theirs = (1000 * median(seconds[side]) / n_clips for side in ("ours", "theirs"))
        faster = measure.ratio(seconds["theirs"], seconds["ours"])
        return cls(what, ours, against, theirs, "CPU ms a clip", faster, goal)


def machine(libraries: Sequence[str]) -> dict[str, Any]:
    """Returns the processor, its cores and the versions of Python and of `libraries`."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text())
        model = found[1] if found else model
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "libraries": {name: importlib.metadata.version(name) for name in libraries},
    }


def write(section: str, data: str, rows: Sequence[Row], libraries: Sequence[str], **more: Any) -> None:
    """Replaces a section of benchmark/speed/speed.json, and rewrites the table.

    Args:
        section: the script's name.
        data: what it was measured on, in words.
        libraries: whose versions are recorded.
        more: other results, such as profiles.
    """
    sections = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    sections[section] = {
        "command": f"python -m benchmark.speed.{section}",
        "data": data,
        "machine": machine(libraries),
        "rows": [{key: _short(value) for key, value in asdict(row).items()} for row in rows],
        **more,
    }
    write_json(sections, RESULTS)
    for row in rows:
        print(f"{section}: {row.what}: {row.ratio:.2f} ({row.goal or 'no goal'}), against {row.against}")
    if PAGE.exists():
        page = TABLE.sub(lambda found: f"{found[1]}{table(sections)}{found[2]}", PAGE.read_text())
        with replacing(PAGE) as temporary:
            temporary.write_text(page)


def table(sections: dict[str, Any]) -> str:
    """Returns the rows of all sections as a Markdown table, in the sections' alphabetical order."""
    lines = ["| what | here | against | there | unit | ratio | goal |", "|---|---|---|---|---|---|---|"]
    for _, section in sorted(sections.items()):
        for row in section["rows"]:
            figures = row["ours"], row["against"], row["theirs"], row["unit"]
            lines.append(
                f"| {row['what']} | {' | '.join(map(str, figures))} | **{row['ratio']}** | {row['goal']} |"
            )
    return "\n".join(lines) + "\n"


def _short(value: Any) -> Any:
    """Returns a number rounded to three significant digits, and other values unchanged."""
    return float(f"{value:.3g}") if isinstance(value, float) else value
