"""Write the trained model as one ONNX or LiteRT file, samples to probabilities: `ser export [OUT]`.

The file contains feature extraction and every fold. Its input is one recording, float32 (n_samples,) at the
model's sample rate, full scale = 1; its output are the probabilities, in the order of the classes in its
metadata. It does not decode, resample, warn, or cut long recordings into windows, as a bundle does.
"""

from __future__ import annotations

from pathlib import Path

from stages.base.errors import extra, parser_of, run
from stages.base.params import read
from stages.compute import hardware

NAMES = {"onnx": "emotion.onnx", "litert": "emotion.tflite"}


def main() -> None:
    parser = parser_of(__doc__)
    names = " or ".join(NAMES.values())
    parser.add_argument("out", nargs="?", type=Path, help=f"default: {names}")
    parser.add_argument("--to", choices=NAMES, default="onnx", help="format; default: %(default)s")
    parser.add_argument("--fold", type=int, help="the number of one fold; default: the mean of all")
    arguments = parser.parse_args()
    params = read()
    hardware.limit(params.train.threads)
    with extra("cpu", "ser export", "tensorflow"), hardware.quiet():
        from stages.export import file
    out = arguments.out or Path(NAMES[arguments.to])
    file.write(params, out, arguments.fold, arguments.to)
    print(f"export: {out}, {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run(main)
