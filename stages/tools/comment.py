"""Print how a change affects the results, as a Markdown comment for a pull request.

python -m stages.tools.comment         the workspace against main
python -m stages.tools.comment base    against another revision, such as the tag that `make base` sets
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys

from stages.base.errors import InputError, run
from stages.base.params import read
from stages.evaluation import comparison
from stages.reporting.comparison import markdown

HEADER_LINES = 2  # of a Markdown table


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m stages.tools.comment", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("base", metavar="BASE", nargs="?", default="main", help="default: main")
    base = parser.parse_args().base
    params, metrics = (diff(what, base) for what in ("params", "metrics"))
    print(comment(base, compared(base), params, metrics))


def comment(base: str, compared: str, params: str, metrics: str) -> str:
    """Returns the comment: the verdict first, then changed parameters, all metrics in a collapsed section."""
    parts = [
        f"### Results against `{base}`",
        compared,
        "#### Parameters",
        params,
        "<details><summary>All metrics</summary>",
        metrics,
        "</details>",
    ]
    return "\n\n".join(parts)


def compared(base: str) -> str:
    """Returns the comparison of `base` with the workspace, or why they cannot be compared."""
    try:
        return markdown(comparison.of_revisions(base, comparison.WORKSPACE, read()))
    except InputError as error:
        return f"**Not compared.** {error}"


def diff(what: str, base: str) -> str:
    """Returns DVC's table of changed params or metrics.

    Raises:
        InputError: DVC fails.
    """
    command = [sys.executable, "-m", "dvc", what, "diff", "--md", base]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"`dvc {what} diff {base}`: {done.stderr.strip()}")
    # DVC pads columns to their widest value, and GitHub accepts at most 65,536 characters.
    table = re.sub(r"-{3,}", "---", re.sub(r" {2,}", " ", done.stdout.strip()))
    return table if len(table.splitlines()) > HEADER_LINES else "No change."


if __name__ == "__main__":
    run(main)
