from __future__ import annotations

import pytest

from stages.reporting import notices
from stages.splitting.protocols import PROTOCOLS


def test_every_protocol_is_described() -> None:
    assert set(notices.PROTOCOLS) == set(PROTOCOLS)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_first_notice_is_about_the_protocol(protocol: str) -> None:
    leaky = protocol == "random"
    first = notices.notices({"leaky": leaky, "uses_test_speaker_statistics": True}, protocol, ["demo"])[0]
    assert (first.kind, first.head) == (("alarm", "LEAKY") if leaky else ("plain", "Not leaky"))
    assert first.text.startswith(notices.PROTOCOLS[protocol])


def test_cautions() -> None:
    found = notices.notices({"leaky": False, "uses_test_speaker_statistics": True}, "fixed", ["demo"])
    assert [notice.head for notice in found[1:]] == [
        "Normalised with test speakers",
        "Synthetic speech: demo",
    ]
    assert {notice.kind for notice in found[1:]} == {"caution"}


def test_validation_names_what_it_shares_with_training() -> None:
    split = {"validation_shares_speakers": False, "validation_shares_sentences": True}
    assert notices.validation(split) == "none"
    split |= {"validation": {"clips": 24.0, "speakers": 2.0}}
    assert notices.validation(split) == "24 clips of 2 speakers per fold; sentences shared with training"
