from __future__ import annotations

import pytest

from stages.reporting import notices
from stages.splitting.protocols import PROTOCOLS


def test_every_protocol_is_told_in_words() -> None:
    assert set(notices.IN_WORDS) == set(PROTOCOLS)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_first_notice_is_about_the_protocol(protocol: str) -> None:
    leaky = protocol == "random"
    first = notices.notices({"leaky": leaky, "uses_test_speaker_statistics": True}, protocol, ["demo"])[0]
    assert (first.kind, first.head) == (("alarm", "LEAKY") if leaky else ("plain", "Not leaky"))
    assert first.text.startswith(notices.IN_WORDS[protocol])


def test_what_must_be_known_is_told_loudly() -> None:
    told = notices.notices({"leaky": False, "uses_test_speaker_statistics": True}, "fixed", ["demo"])
    assert [notice.head for notice in told[1:]] == ["Normalised by test speakers", "Synthetic speech: demo"]
    assert {notice.kind for notice in told[1:]} == {"caution"}


def test_validation_says_what_it_shares_with_training() -> None:
    split = {"validation_shares_speakers": False, "validation_shares_sentences": True}
    assert notices.validation(split) == "nothing"
    split |= {"validation": {"clips": 24.0, "speakers": 2.0}}
    assert notices.validation(split) == "24 clips a fold, of 2 speakers; in training too: sentences"
