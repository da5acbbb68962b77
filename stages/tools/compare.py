"""Compare the predictions of two revisions, clip by clip.

    ser compare                  HEAD with the workspace
    ser compare main             main with the workspace
    ser compare main my-branch   any two revisions or DVC experiments

The verdict is about UAR: better or worse if the difference is significant at 5 %.
"""

from __future__ import annotations

import argparse
import contextlib

from stages.base import params
from stages.base.errors import parser_of, run, shown
from stages.evaluation import comparison
from stages.reporting.comparison import as_json, markdown, text


def main() -> None:
    arguments = parse()
    compared = comparison.of_revisions(arguments.a, arguments.b, params.read())
    print(arguments.render(compared))
    if arguments.fail_if_worse is not None:
        comparison.check_not_worse(compared.metrics["uar"], arguments.fail_if_worse)


def parse() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("a", metavar="REV_A", nargs="?", default="HEAD", help="default: HEAD")
    parser.add_argument(
        "b", metavar="REV_B", nargs="?", default=comparison.WORKSPACE, help="default: the workspace"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--md", dest="render", action="store_const", const=markdown, help="print Markdown")
    form.add_argument("--json", dest="render", action="store_const", const=as_json, help="print JSON")
    parser.add_argument(
        "--fail-if-worse",
        metavar="X",
        type=margin,
        help="exit with 1 if UAR is worse by more than X with 95 %% confidence",
    )
    parser.set_defaults(render=text)
    return parser.parse_args()


def margin(word: str) -> float:
    """Returns a number in [0, 1); argparse reports the error of any other."""
    with contextlib.suppress(ValueError):
        if 0 <= float(word) < 1:
            return float(word)
    raise argparse.ArgumentTypeError(f"{shown(word)} is not possible. Give a number from 0 to below 1.")


if __name__ == "__main__":
    run(main)
