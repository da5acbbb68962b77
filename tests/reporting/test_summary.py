"""The words of the report's summary."""

from __future__ import annotations

from typing import get_args

from stages.learning.preprocessing import Layout
from stages.reporting import summary


def test_every_layout_has_words() -> None:
    assert {*get_args(Layout)} == {*summary.LAYOUTS}
