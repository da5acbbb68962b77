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


def test_the_way_to_the_same_clips_depends_on_what_differs() -> None:
    with pytest.raises(InputError) as error:
        comparison.match(revision(A, **{"split.n_folds": 5}), revision(B[1:], **{"split.n_folds": 6}))
    assert str(error.value).endswith(" Give both the same params.split.n_folds.")
    with pytest.raises(InputError) as error:
        comparison.match(revision(A, **{"train.normalize": "global"}), revision(B[1:]))
    assert "of 10 and 9 clips, 9 agree" in str(error.value)
    assert "the recordings, their labels, params.corpora or params.manifest have changed" in str(error.value)
    assert "Give both the same" not in str(error.value)
    with pytest.raises(InputError, match=r" Run `make base BASE=main`, .*`base`\.$"):
        comparison.match(revision(A), revision(B[1:], comparison.WORKSPACE))
