"""Check params.yaml, and as much of the split as can be checked without reading audio: `ser check`.

It makes the checks of the stage `select`, without DVC, and writes nothing.
"""

from __future__ import annotations

from stages.base.errors import listed, parser_of, run
from stages.base.params import PARAMS, read
from stages.checking.chosen import check_chosen


def main() -> None:
    parser_of(__doc__).parse_args()
    params = read()
    check_chosen(params)
    print(
        f"{PARAMS} is valid: {params.model} on {listed(params.corpus)}, split {params.split.protocol}, "
        f"features {listed(params.featurize.features)}"
    )


if __name__ == "__main__":
    run(main)
