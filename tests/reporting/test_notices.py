from __future__ import annotations

from typing import get_args

import pytest

from stages.base.params import Normalize
from stages.reporting import notices
from stages.splitting.protocols import PROTOCOLS


def test_every_protocol_is_described() -> None:
    assert set(notices.PROTOCOLS) == set(PROTOCOLS)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_first_notice_is_about_the_protocol(protocol: str) -> None:
    leaky = protocol == "random"
    first = notices.notices({"leaky": leaky, "statistics": "speaker"}, protocol, ["demo"])[0]
    assert (first.kind, first.head) == (("alarm", "LEAKY") if leaky else ("plain", "Not leaky"))
    assert first.text.startswith(notices.PROTOCOLS[protocol])


@pytest.mark.parametrize(
    ("statistics", "head"),
    [
        ("corpus", "Needs a batch of clips"),
        ("speaker", "Needs many clips of each new speaker"),
        ("enrol 8", "Needs 8 other clips of each new speaker"),
        ("cluster 4", "Needs a batch of clips"),
    ],
)
def test_cautions(statistics: str, head: str) -> None:
    found = notices.notices({"leaky": False, "statistics": statistics}, "fixed", ["demo"])
    assert [notice.head for notice in found[1:]] == [head, "Synthetic speech: demo"]
    assert ("from 4 clusters" in found[1].text) == (statistics == "cluster 4")
    assert {notice.kind for notice in found[1:]} == {"caution"}


def test_statistics_of_test_clips_are_explained_for_every_way() -> None:
    assert {"global", *notices.STATISTICS} == set(get_args(Normalize)) == set(notices.NORMALIZATION)


def test_validation_names_what_it_shares_with_training() -> None:
    split = {"validation_shares_speakers": False, "validation_shares_sentences": True}
    assert notices.validation(split) == "none"
    split |= {"validation": {"clips": 24.0, "speakers": 2.0}}
    assert notices.validation(split) == "24 clips of 2 speakers per fold; sentences shared with training"
