"""The words of the report's summary."""

from __future__ import annotations

from typing import get_args

import pandas as pd

from stages.learning.preprocessing import Layout
from stages.reporting import summary


def test_every_layout_has_words() -> None:
    assert {*get_args(Layout)} == {*summary.LAYOUTS}


def test_no_emotion_is_best_where_all_are_alike() -> None:
    clips = pd.DataFrame({"label": ["a", "b"], "predicted": ["a", "b"]})
    test = {"uar": 1.0, "chance_uar": 0.5, "leaky": False, "recall": {"a": 1.0, "b": 1.0}}
    assert "Best" not in summary.claim(clips, test)
