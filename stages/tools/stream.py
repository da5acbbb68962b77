"""Predict the emotion of a stream: `arecord -f S16_LE -r 16000 -t raw | ser stream`.

Reads raw 16-bit little-endian samples of one channel from the standard input, for example from
`ffmpeg -i talk.mp3 -f s16le -ac 1 -ar 16000 -`. Every quarter of a second it writes a line of JSON about the
last seconds.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from stages.base.errors import InputError, interrupted_as, parser_of, run, standard_input
from stages.inference import chosen
from stages.inference.stream import EVERY_S, Stream

SAMPLE_BYTES = 2
FILE = re.compile(rb"RIFF|fLaC|OggS|ID3|FORM|\x1aE\xdf\xa3|.{4}ftyp", re.DOTALL)  # how audio files begin


def main() -> None:
    parser = parser_of(__doc__)
    chosen.add_arguments(parser)
    parser.add_argument(
        "--rate", type=int, default=16_000, help="of the samples, in Hz; default: %(default)s"
    )
    parser.add_argument(
        "--every", type=float, default=EVERY_S, help="seconds between answers; default: %(default)s"
    )
    parser.add_argument(
        "--window", type=float, help="seconds that an answer is about; default: the median training clip"
    )
    arguments = parser.parse_args()
    model = chosen.model(arguments.bundle, arguments.speech)
    print(f"notice: {model.facts.notice()}", file=sys.stderr)
    listening = Stream(model, arguments.rate, arguments.window, arguments.every)
    n_answers = 0
    with interrupted_as("interrupted"):  # the usual end: nothing is to be continued
        for samples in blocks(standard_input("stream"), listening.n_every):
            for window in listening.add(samples):
                n_answers += 1
                found = {"end_s": round(window.end_s, 3), "emotion": window.emotion, "status": window.status}
                rounded = {name: round(p, 3) for name, p in window.probabilities.items()}
                print(json.dumps(found | {"reason": window.reason, "probabilities": rounded}), flush=True)
    if not n_answers:
        print(
            f"notice: no answer: the stream ended after {listening.received_s:.2f} s, and the first answer "
            f"comes after {listening.first_s:.2f} s; see --window and --every",
            file=sys.stderr,
        )


def blocks(source: BinaryIO, n_samples: int) -> Iterator[NDArray[np.int16]]:
    """Yields int16 (n_samples,), the last one perhaps shorter; half a sample at the end is left out.

    Raises:
        InputError: it is an audio file, not raw samples.
    """
    first = True
    while block := source.read(n_samples * SAMPLE_BYTES):
        if first and FILE.match(block):
            raise InputError(
                "stream: the standard input is an audio file, not raw samples. Give it to "
                "`ser predict -`, or convert it: `ffmpeg -i FILE -f s16le -ac 1 -ar 16000 - | ser stream`."
            )
        first = False
        yield np.frombuffer(block[: len(block) // SAMPLE_BYTES * SAMPLE_BYTES], "<i2")


if __name__ == "__main__":
    run(main)
