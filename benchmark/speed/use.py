"""The ways to use a trained model, on the same clips: `python -m benchmark.speed.use BUNDLE FILE...`.

Prints a Markdown table: the largest difference of a probability from evaluate's path, the processor time per
clip with one thread, and its ratio to the first file's. Run it in a workspace with a trained model, its
bundle and its exports, emotion.onnx and emotion.tflite.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from benchmark.speed import features
from stages.audio.extractor import extractor
from stages.audio.recording import Samples, load
from stages.audio.speech import speech
from stages.base.errors import parser_of, run
from stages.base.files import MANIFEST, RAW
from stages.base.params import Params, read
from stages.compute import hardware
from stages.data import onnx, tables
from stages.inference import bundle, stream, workspace
from stages.learning import dataset, trained_fold
from stages.learning.trained_fold import TrainedFold
from stages.learning.windows import means
from stages.tools import app

Frontend = Callable[[Samples], np.ndarray]  # samples to (n_frames, n_dims)


def main() -> None:
    parser = parser_of(__doc__.splitlines()[0], "python -m benchmark.speed.use")
    parser.add_argument("bundle", type=Path, help="folder that `ser bundle` wrote")
    parser.add_argument("files", type=Path, nargs="+", help="that `ser export` wrote: .onnx, .tflite")
    parser.add_argument("--clips", type=int, default=100)
    arguments = parser.parse_args()
    folder, n = arguments.bundle, arguments.clips
    params = read()
    hardware.limit(1)
    index = tables.read(dataset.INDEX, tables.FEATURES)
    index = index[index["clip"] == index["parent"]].sort_values("clip")
    rows = index.iloc[np.linspace(0, len(index) - 1, n).astype(int)]
    paths = tables.read(MANIFEST, tables.MANIFEST, ["clip", "path"]).set_index("clip")["path"]
    files = [RAW / paths[clip] for clip in rows["clip"]]
    rate_hz = params.audio.sample_rate_hz
    samples = [load(path, rate_hz) for path in files]

    folds = trained_fold.trained(params)
    clips = dataset.load(rows, folds[0].config.inputs.features)
    expected = np.mean([fold.probabilities(clips, rows).to_numpy() for fold in folds], axis=0)
    loaded = bundle.load(folder)
    library = "Keras" if "precision" in folds[0].record else "scikit-learn"
    exported = {path.name: of_file(path) for path in arguments.files}
    ways: dict[str, Callable[[], list]] = {
        **{name: partial(_each, model, samples) for name, model in exported.items()},
        f"our features, {library}": lambda: _answers(ours(params, folds[0]), folds, samples),
        f"librosa, {library}": lambda: _answers(librosas(params, folds[0]), folds, samples),
        "`predict`, workspace": lambda: [
            _values(each) for each in workspace.bundle(params).predict_files(files)
        ],
        "`predict --bundle`": lambda: [_values(each) for each in loaded.predict_files(files)],
        "API": lambda: [_values(loaded.predict(clip, rate_hz)) for clip in samples],
        "stream, a window as long as the clip": lambda: [
            _streamed(loaded, clip, rate_hz) for clip in samples
        ],
        "page, with its picture": lambda: [_shown(loaded, path) for path in files],
    }
    print(f"{params.model}, {n} clips, {sum(map(len, samples)) / rate_hz / n:.2f} s each on average")
    print("| way | largest difference | processor ms per clip | to the first's |\n|---|---|---|---|")
    of_first = 0.0
    for name, way in ways.items():
        way()  # compiles
        started = time.process_time()
        found = np.array(way())
        seconds = time.process_time() - started
        of_first = of_first or seconds
        off = np.nanmax(np.abs(found - expected))
        print(f"| {name} | {off:.0e} | {1000 * seconds / n:.0f} | {seconds / of_first:.1f} |", flush=True)


def of_file(path: Path) -> Callable[[Samples], np.ndarray]:
    """Returns the function from samples to probabilities in an exported file, with one thread."""
    if path.suffix == ".tflite":
        runner = Interpreter(str(path), num_threads=1).get_signature_runner()
        return lambda clip: runner(input=clip)["output"]
    session = onnx.session(path, "speed")
    return lambda clip: session.run(None, {"input": clip})[0]


def ours(params: Params, fold: TrainedFold) -> Frontend:
    """Returns the pipeline's features of a clip."""
    extract = extractor(params, fold.config.inputs.features, "benchmark")
    return lambda clip: np.concatenate([*extract(clip - clip.mean()).values()], axis=1)


def librosas(params: Params, fold: TrainedFold) -> Frontend:
    """Returns librosa's features of a clip's trimmed and levelled speech."""

    def extract(clip: Samples) -> np.ndarray:
        used = speech(clip - clip.mean(), params.audio.sample_rate_hz, params.audio)
        found = features.users(used, params, fold.config.inputs.features)
        return np.concatenate([frames.T for frames in found.values()], axis=1)

    return extract


def _answers(front_end: Frontend, folds: list[TrainedFold], samples: list[Samples]) -> list[np.ndarray]:
    answers = []
    for clip in samples:
        frames, of_folds = front_end(clip), []
        for fold in folds:
            prepared, n_windows = fold.preparation([frames])
            of_folds.append(means(fold.window_probabilities(prepared), n_windows)[0])
        answers.append(np.mean(of_folds, axis=0))
    return answers


def _each(model: Callable[[Samples], np.ndarray], samples: list[Samples]) -> list[np.ndarray]:
    return [model(clip) for clip in samples]


def _shown(model: bundle.Bundle, path: Path) -> list[float]:
    """Returns the probabilities that the page shows, whole percents of three emotions; NaN for the others."""
    text, _ = app.answer(model, str(path))
    percents = {name: int(value) / 100 for name, value in re.findall(r"\| ([\w ]+) \| (\d+)% \|", text)}
    return [percents.get(name, np.nan) for name in model.classes]


def _values(prediction: bundle.Window) -> list[float]:
    return [*prediction.probabilities.values()]


def _streamed(model: bundle.Bundle, clip: np.ndarray, rate_hz: int) -> list[float]:
    """Returns the answer after the last sample, with a window as long as the clip."""
    listening = stream.Stream(model, rate_hz, window_s=len(clip) / rate_hz, every_s=len(clip) / rate_hz)
    return _values([answer for block in np.array_split(clip, 10) for answer in listening.add(block)][-1])


if __name__ == "__main__":
    run(main)
