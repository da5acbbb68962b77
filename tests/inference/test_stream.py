"""A stream answers as a recording of the same seconds does, and holds only those."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from stages.base.errors import InputError
from stages.inference.bundle import Bundle, Prediction
from stages.inference.stream import Stream
from stages.tools import stream as tool
from stages.tools.stream import blocks

RATE_HZ = 16_000


class Loudest:
    """A model whose answer is the loudest sample that it was given."""

    window_s = 1.0

    def predict(self, samples: np.ndarray, rate_hz: int) -> Prediction:
        return Prediction(0.0, len(samples) / rate_hz, True, "answered", "", {"loud": float(samples.max())})


def stream(**changes: Any) -> Stream:
    return Stream(cast(Bundle, Loudest()), RATE_HZ, **changes)


@pytest.mark.parametrize("n_block", [1, 999, 4000, 40_000])
def test_answers_do_not_depend_on_the_blocks(n_block: int) -> None:
    ramp = np.arange(2 * RATE_HZ, dtype=np.float32)
    listening = stream()
    found = [
        answer for at in range(0, len(ramp), n_block) for answer in listening.add(ramp[at : at + n_block])
    ]
    assert [answer.end_s for answer in found] == [1.0, 1.25, 1.5, 1.75, 2.0]
    assert [answer.start_s for answer in found] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert [answer.confidence for answer in found] == [RATE_HZ * answer.end_s - 1 for answer in found]


def test_memory_is_bounded() -> None:
    listening = stream(every_s=10.0)
    for _ in range(100):
        assert not [*listening.add(np.zeros(1000, np.float32))]
        assert listening._held.nbytes <= 4 * RATE_HZ


def test_integers_are_scaled() -> None:
    (answer,) = stream(every_s=1.0).add(np.full(RATE_HZ, 2**14, np.int16))
    assert answer.confidence == 0.5


def test_mistakes_are_named() -> None:
    with pytest.raises(InputError, match=r"^stream: 16000 Hz, or a window of 0 s"):
        stream(window_s=0.0)
    with pytest.raises(InputError, match=r"^stream: 768001 Hz"):
        Stream(cast(Bundle, Loudest()), 768_001)
    for every_s in (float("nan"), float("inf"), -1.0, 1e300):
        with pytest.raises(InputError, match=f"^stream: .* every {re.escape(f'{every_s:g}')} s"):
            stream(every_s=every_s)
    with pytest.raises(InputError, match=r"^stream: samples of shape \(5, 2\)"):
        [*stream().add(np.zeros((5, 2)))]


def test_a_pipe_is_read_in_blocks_and_half_a_sample_is_left_out() -> None:
    source = io.BytesIO(np.arange(5, dtype="<i2").tobytes() + b"\x01")
    assert [block.tolist() for block in blocks(source, 2)] == [[0, 1], [2, 3], [4]]


WEBM, M4A = b"\x1aE\xdf\xa3\x9f", b"\0\0\0\x1cftypM4A "


@pytest.mark.parametrize("begin", [b"RIFF", b"fLaC", b"OggS", b"ID3\x04", b"FORM", WEBM, M4A])
def test_a_file_is_not_heard_as_noise(begin: bytes) -> None:
    with pytest.raises(InputError, match=r"^stream: .* an audio file, .*`ser predict -`.*ffmpeg"):
        next(blocks(io.BytesIO(begin + bytes(100)), 8))
    later = blocks(io.BytesIO(bytes(16) + begin), 8)  # only the beginning of a stream tells
    assert sum(len(block) for block in later) == 8 + len(begin) // 2


def run(monkeypatch: pytest.MonkeyPatch, stdin: Any, *arguments: str) -> None:
    model = Loudest()
    model.facts = SimpleNamespace(notice=lambda: "a model")  # type: ignore[attr-defined]
    monkeypatch.setattr(tool.chosen, "model", lambda *_: model)
    monkeypatch.setattr("sys.stdin", stdin)
    monkeypatch.setattr("sys.argv", ["stream", *arguments])
    tool.main()


def test_an_interrupted_stream_promises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Listened(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"^interrupted$"):
        run(monkeypatch, SimpleNamespace(buffer=Listened()))


@pytest.mark.parametrize(
    ("length_s", "every_s", "first_s"), [(0.0, 0.25, "1.00"), (0.5, 0.3, "1.20"), (1.0, 1.5, "1.50")]
)
def test_a_stream_that_is_too_short_says_so(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    length_s: float,
    every_s: float,
    first_s: str,
) -> None:
    for seconds, n_answers in ((length_s, 0), (float(first_s), 1)):
        stdin = SimpleNamespace(buffer=io.BytesIO(bytes(2 * round(seconds * RATE_HZ))))
        run(monkeypatch, stdin, "--every", str(every_s))
        out, err = capsys.readouterr()
        assert len(out.splitlines()) == n_answers
        words = f"ended after {seconds:.2f} s, and the first answer comes after {first_s} s"
        assert (words in err) == (n_answers == 0)


def test_a_closed_standard_input_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"^stream: the standard input is closed"):
        run(monkeypatch, None)
