"""Print what a change does to the results, as the Markdown comment under a pull request.

python -m stages.tools.comment         main against the workspace
python -m stages.tools.comment base    another revision, such as the one that `make base` leaves
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys

from stages.base.errors import InputError, run

MARKER = (
    "<!-- stages.tools.comment -->"  # by which .github/workflows/pull-request.yml knows its comment again
)
HEADER_LINES = 2  # of a Markdown table


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m stages.tools.comment", description=__doc__.splitlines()[0]
    )
    parser.add_argument("base", metavar="BASE", nargs="?", default="main", help="main if not told")
    base = parser.parse_args().base
    params, metrics = (diff(what, base) for what in ("params", "metrics"))
    print(comment(base, comparison(base), params, metrics))


def comment(base: str, compared: str, params: str, metrics: str) -> str:
    """Returns the comment: the verdict first, what was changed, and every metric folded away."""
    parts = [
        MARKER,
        f"### Results against `{base}`",
        compared,
        "#### Parameters",
        params,
        "<details><summary>All metrics</summary>",
        metrics,
        "</details>",
    ]
    return "\n\n".join(parts)


def comparison(base: str) -> str:
    """Returns what `stages.tools.compare` says, or why it does not compare.

    Raises:
        InputError: it fails otherwise.
    """
    done = _python("stages.tools.compare", "--md", base)
    if not done.returncode:
        return done.stdout.strip()
    said = done.stderr.strip() or f"ended without a word, with exit code {done.returncode}."
    refusal = said.splitlines()[-1]
    if not refusal.startswith("error: "):
        raise InputError(f"`stages.tools.compare --md {base}`: {said}")
    return f"**Not compared.** {refusal.removeprefix('error: ')}"


def diff(what: str, base: str) -> str:
    """Returns DVC's table of changed params or metrics.

    Raises:
        InputError: DVC refuses.
    """
    done = _python("dvc", what, "diff", "--md", base)
    if done.returncode:
        raise InputError(f"`dvc {what} diff {base}`: {done.stderr.strip()}")
    # DVC pads columns to their widest value, and GitHub takes 65,536 characters.
    table = re.sub(r"-{3,}", "---", re.sub(r" {2,}", " ", done.stdout.strip()))
    return table if len(table.splitlines()) > HEADER_LINES else "No change."


def _python(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True)


if __name__ == "__main__":
    run(main)
