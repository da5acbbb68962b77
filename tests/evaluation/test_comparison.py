from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from stages.base.errors import InputError
from stages.evaluation import comparison
from tests.support.predictions import predictions

TRUTH = ["anger"] * 5 + ["fear"] * 3 + ["neutral"] * 2
SPEAKER = ["c/1"] * 5 + ["c/2"] * 2 + ["c/3"] * 3
A = predictions(TRUTH, ["anger"] * 4 + ["fear"] * 4 + ["anger", "neutral"], speaker=SPEAKER)
B = predictions(TRUTH, ["anger"] * 6 + ["neutral", "fear", "anger", "neutral"], speaker=SPEAKER)


def revision(table: pd.DataFrame, name: str = "main", **params: Any) -> comparison.Revision:
    return comparison.Revision(name, table, {"split.protocol": "speaker_independent"} | params)


def test_rows_are_matched_by_fold_and_clip_in_any_order() -> None:
    first, second = comparison.match(revision(A), revision(B.sample(frac=1, random_state=0), "workspace"))
    assert list(first["clip"]) == list(second["clip"])
    pd.testing.assert_frame_equal(second, B)


@pytest.mark.parametrize(
    ("table", "params", "message"),
    [
        (
            B,
            {"split.protocol": "random"},
            r"^main .*independent.* other .*random.*params\.split\.protocol",
        ),
        (B.drop(columns="p_neutral"), {}, r"^main and other .*labels: .* neutral\..*params\.split\.labels"),
        (B[1:], {}, "^main and other .*same clips: of 10 and 9 clips, 9 .*c/0000"),
        (
            B.assign(fold=[0] * 5 + [1] * 5),
            {},
            "^main and other .*same folds: of 10 and 10 clips, 5 .*c/0005",
        ),
        (
            B.assign(label=["fear", *TRUTH[1:]]),
            {},
            "^main and other .*labels: of 10 and 10 clips, 9 .*c/0000",
        ),
        (
            B.assign(speaker=["c/9", *SPEAKER[1:]]),
            {},
            "^main and other .*speakers: of 10 and 10 clips, 9 .*c/0000",
        ),
    ],
)
def test_revisions_that_are_not_comparable_are_refused(
    table: pd.DataFrame, params: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        comparison.match(revision(A), revision(table, "other", **params))
