"""The synthesiser speaks the same series the same, and says what is missing."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import espeakng_loader
import numpy as np
import pytest

from stages.acquire import espeak
from stages.base.errors import InputError

# f2 is breathy, which is random; both flutter, which continues from one utterance to the next.
SERIES = [
    espeak.Utterance(f"en-us+{voice}", "The surface is slick.", 165, 50, 50) for voice in ("f2", "m1", "f2")
]


def test_the_same_series_gives_the_same_samples() -> None:
    first, second = list(espeak.speak(SERIES)), list(espeak.speak(SERIES))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(first[0], first[2]), (
        "state continues within a series; the test needs a voice that shows it"
    )


def test_rate_shortens() -> None:
    slow, fast = espeak.speak(
        espeak.Utterance("en-us", "The surface is slick.", rate_wpm, 50, 50) for rate_wpm in (120, 240)
    )
    assert 1.5 < len(slow) / len(fast) < 2.5


@pytest.mark.parametrize("voice", ["xx-nowhere", "en-us+nobody"])
def test_a_missing_voice_is_named_and_not_replaced_by_the_previous_one(voice: str) -> None:
    spoken = espeak.speak([SERIES[0], espeak.Utterance(voice, "The surface is slick.", 165, 50, 50)])
    assert len(next(spoken))
    with pytest.raises(InputError, match=rf"no voice '{re.escape(voice)}'\. .*`pip install"):
        next(spoken)


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(
        InputError, match=r"espeakng-loader is not installed\. .*`pip install .*espeakng-loader`"
    ):
        espeak.Synthesiser()


def test_library_that_does_not_load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    library = tmp_path / "libespeak-ng.so"
    library.write_text("not a library")
    monkeypatch.setattr(espeakng_loader, "get_library_path", lambda: str(library))
    with pytest.raises(InputError, match=r"does not load \(.*libespeak-ng\.so.*`pip install"):
        espeak.Synthesiser()


def test_no_voices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(espeakng_loader, "get_data_path", lambda: str(tmp_path))
    with pytest.raises(InputError, match=r"finds no voices in .*`pip install"):
        espeak.Synthesiser()
