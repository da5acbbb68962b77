"""The ways to use a trained model, on the same clips: `python -m benchmark.speed.use BUNDLE ONNX [N]`.

Prints a Markdown table: the largest difference of a probability from evaluate's path, and the time per clip.
Run it in a workspace with a trained model, its bundle and its export.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime

from stages.audio.recording import load
from stages.base.files import MANIFEST, RAW
from stages.base.params import read
from stages.compute import hardware
from stages.data import tables
from stages.inference import bundle, stream, workspace
from stages.learning import dataset


def main() -> None:
    folder, exported = map(Path, sys.argv[1:3])
    n = int(sys.argv[3]) if len(sys.argv) > 3 else 100
    params = read()
    hardware.limit(1)
    index = tables.read(dataset.INDEX, tables.FEATURES)
    index = index[index["clip"] == index["parent"]].sort_values("clip")
    rows = index.iloc[np.linspace(0, len(index) - 1, n).astype(int)]
    paths = tables.read(MANIFEST, tables.MANIFEST, ["clip", "path"]).set_index("clip")["path"]
    files = [RAW / paths[clip] for clip in rows["clip"]]
    rate_hz = params.audio.sample_rate_hz
    samples = [load(path, rate_hz) for path in files]

    folds = workspace.folds(params)
    clips = dataset.load(rows, folds[0].config.inputs.features, "global")
    expected = np.mean([fold.probabilities(clips).to_numpy() for fold in folds], axis=0)
    loaded, session = bundle.load(folder), onnxruntime.InferenceSession(exported, _one_thread())
    ways: dict[str, Callable[[], list]] = {
        "`predict`, workspace": lambda: [
            _values(each) for each in workspace.bundle(params).predict_files(files)
        ],
        "`predict --bundle`": lambda: [_values(each) for each in loaded.predict_files(files)],
        "API": lambda: [_values(loaded.predict(clip, rate_hz)) for clip in samples],
        "ONNX file": lambda: [session.run(None, {"input": clip})[0] for clip in samples],
        "stream, whole clip": lambda: [_streamed(loaded, clip, rate_hz) for clip in samples],
    }
    print(f"{params.model}, {n} clips, {sum(map(len, samples)) / rate_hz / n:.2f} s each on average")
    print("| way | largest difference | ms per clip |\n|---|---|---|")
    for name, way in ways.items():
        started = time.perf_counter()
        found = np.array(way())
        seconds = time.perf_counter() - started
        print(f"| {name} | {np.abs(found - expected).max():.1e} | {1000 * seconds / n:.0f} |", flush=True)


def _values(prediction: bundle.Window) -> list[float]:
    return [*prediction.probabilities.values()]


def _streamed(model: bundle.Bundle, clip: np.ndarray, rate_hz: int) -> list[float]:
    """Returns the answer after the last sample, with a window as long as the clip."""
    listening = stream.Stream(model, rate_hz, window_s=len(clip) / rate_hz, every_s=len(clip) / rate_hz)
    return _values([answer for block in np.array_split(clip, 10) for answer in listening.add(block)][-1])


def _one_thread() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return options


if __name__ == "__main__":
    main()
