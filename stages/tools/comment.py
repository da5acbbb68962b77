"""Print how a change affects the results, as a Markdown comment for a pull request.

ser comment         the workspace against main
ser comment base    against another revision, such as the tag that `make base` sets
"""

from __future__ import annotations

import json
import subprocess
import sys

from stages.base.errors import InputError, parser_of, run
from stages.base.params import read
from stages.evaluation import comparison
from stages.reporting.comparison import markdown
from stages.reporting.page import escaped


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("base", metavar="BASE", nargs="?", default="main", help="default: main")
    base = parser.parse_args().base
    if not base:
        raise InputError(f"comment: the revision is empty. {comparison.CHOICES}")
    params, metrics = (diff(what, base) for what in ("params", "metrics"))
    print(comment(base, compared(base), params, metrics))


def comment(base: str, compared: str, params: str, metrics: str) -> str:
    """Returns the comment: the verdict, then changed parameters, then changed main metrics, collapsed."""
    parts = [
        f"### Results against {escaped(base)}",
        compared,
        "#### Parameters",
        params,
        "<details><summary>Main metrics that changed</summary>",
        metrics,
        "</details>",
    ]
    return "\n\n".join(parts)


def compared(base: str) -> str:
    """Returns the comparison of `base` with the workspace, or why they cannot be compared."""
    try:
        return markdown(comparison.of_revisions(base, comparison.WORKSPACE, read()))
    except InputError as error:
        return f"**Not compared.** {escaped(error)}"


def diff(what: str, base: str) -> str:
    """Returns a table of changed params or metrics.

    Raises:
        InputError: DVC fails.
    """
    command = [sys.executable, "-m", "dvc", what, "diff", "--json", "--", base]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = " ".join(done.stderr.split()).removeprefix("ERROR: ").rstrip(".")
        raise InputError(f"`dvc {what} diff {base}`: {reason}. {comparison.CHOICES}")
    rows = [
        [path, key, change.get("old"), change.get("new")]
        for path, changes in json.loads(done.stdout or "{}").items()
        for key, change in changes.items()
    ]
    if not rows:
        return "No change."
    lines = [["file", "key", base, comparison.WORKSPACE], ["---"] * 4, *rows]
    return "\n".join(f"| {' | '.join(map(escaped, line))} |" for line in lines)


if __name__ == "__main__":
    run(main)
