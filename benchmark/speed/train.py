"""Training of each network on one core, compared with Keras's `fit` on clips padded to the longest.

python -m benchmark.speed.train
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path, PurePosixPath
from statistics import mean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.published import overlay
from benchmark.speed import measure, record, recordings
from benchmark.speed.record import Row
from stages.audio import recording
from stages.audio.extractor import extractor
from stages.base import registry
from stages.base.errors import run_without_arguments
from stages.base.params import PARAMS, Params, load, read
from stages.compute import hardware
from stages.corpora import ravdess
from stages.learning.preprocessing import Frames, Partition, Preprocessor, pool
from stages.networks import precision
from stages.networks.layers import BatchNormalization
from stages.networks.weights import FILE

LIBRARIES = ("keras", "tensorflow", "numpy")
PIXELS = 128  # of resnet34's square images
N_TEST = 6  # of 24 speakers, for the UAR
N_SEEDS = 5
N_EPOCHS = 30  # before the UAR is computed
KERAS = "`keras.Model.fit`, float32, padded to the longest clip"


@dataclass(frozen=True)
class Case:
    """A network to train.

    Attributes:
        name: as in the table.
        settings: params.yaml, its model chosen.
        training: changes to the model's training, on both sides.
        n_clips: in an epoch; None takes all clips of the training speakers, and then the UAR is recorded too.
        goal: for the ratio.
    """

    name: str
    settings: Params
    training: dict[str, Any]
    n_clips: int | None
    goal: str

    @property
    def config(self) -> Any:
        """The model's block. Clips are not cut, so that both sides read the same."""
        config = self.settings.config("models", self.settings.model, "params.model")
        inputs = config.inputs.model_copy(update={"duration_s": None})
        training = config.training.model_copy(update=self.training)
        return config.model_copy(update={"inputs": inputs, "training": training})


@dataclass(frozen=True)
class Task:
    """What one side receives: a case, its clips as arrays, a seed and its own folder."""

    config: Any
    model: str
    train: Partition
    test: Partition
    seed: int
    folder: Path


Side = tuple[Callable[[], object], Callable[[], NDArray[np.floating]]]  # an epoch; logits of the test


def main() -> None:
    hardware.limit(1)
    base = read()
    small = {model: base.model_copy(update={"model": model}) for model in ("lstm", "gru", "cnn1d", "cnn2d")}
    fast = precision.resolved("auto")
    gained = "at least 1.7" if fast == "bfloat16" else "at least 1"
    cases = [
        Case("lstm", small["lstm"], {}, None, "at least 1.3"),
        Case("gru", small["gru"], {}, None, "at least 1.3"),
        Case("cnn1d", small["cnn1d"], {}, None, "at least 1"),
        Case("cnn2d", small["cnn2d"], {}, None, gained),
        Case("cnn1d (E1)", published("E1_cnn1d"), {}, 192, gained),
        Case("cnn2d (E2)", published("E2_cnn2d"), {}, 192, gained),
        Case(
            f"resnet34, {PIXELS} x {PIXELS}",
            base.model_copy(update={"model": "resnet34"}),
            {"mixup_alpha": None, "image_augment": None},
            192,
            gained,
        ),
    ]
    rows, uar = [], {}
    for case in cases:
        found, scored = compare(case)
        rows.append(found)
        if case.n_clips is None:
            rows.append(_uar_row(case, scored))
            uar[case.name] = scored
    record.write("train", f"RAVDESS speech, one thread, {fast}", rows, LIBRARIES, uar=uar)


def published(name: str) -> Params:
    """Returns the parameters of a system in benchmark/published/systems, on RAVDESS."""
    found = overlay.experiments(name, load(PARAMS))
    return next(each for each in found if each.variant == "ravdess").params()


def compare(case: Case) -> tuple[Row, dict[str, list[float]]]:
    """Trains both sides of a case, alternating after each epoch, each side in its own process.

    Returns:
        The row of the table, and each side's UAR on the test speakers, one value per seed.
    """
    train, test = _parts(case)
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    uar: dict[str, list[float]] = {side: [] for side in SIDES}
    n_seeds, n_epochs = (N_SEEDS, N_EPOCHS) if case.n_clips is None else (1, 1 + measure.N_ROUNDS)
    for seed in range(n_seeds):
        with tempfile.TemporaryDirectory(prefix="speed-") as folder:
            task = Task(case.config, case.settings.model, train, test, seed, Path(folder))
            peers = {side: Peer(side, task) for side in SIDES}
            for number in range(n_epochs):
                for side, peer in peers.items():
                    took = peer.ask("epoch")
                    if number > 0:  # the first is the warm-up
                        seconds[side].append(took)
            for side, peer in peers.items():
                uar[side].append(peer.ask("uar"))
                peer.end()
    what = f"an epoch of {case.name}, {len(train)} clips"
    return Row.per_clip(what, KERAS, seconds, len(train), case.goal), uar


def _uar_row(case: Case, uar: dict[str, list[float]]) -> Row:
    ours, theirs = mean(uar["ours"]), mean(uar["theirs"])
    stds = " and ".join(f"{stdev(uar[side]):.3f}" for side in SIDES)
    what = (
        f"UAR of {case.name} on {N_TEST} test speakers after {N_EPOCHS} epochs, mean of {N_SEEDS} "
        f"seeds (standard deviations {stds})"
    )
    return Row(what, ours, KERAS, theirs, "UAR", ours / theirs, "1 within noise")


class Peer:
    """One side in its own process, because Keras's determinism cannot be switched off again."""

    def __init__(self, side: str, task: Task) -> None:
        """Starts the process, and waits until its network is built."""
        context = get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(side, task, other), daemon=True)
        self._process.start()
        other.close()
        self.ask("")

    def ask(self, what: str) -> float:
        """Returns the seconds of an `epoch`, or the `uar`.

        Raises:
            EOFError: the process has failed.
        """
        self._connection.send(what)
        return float(self._connection.recv())

    def end(self) -> None:
        self._connection.close()
        self._process.join()


def _serve(side: str, task: Task, connection: Connection) -> None:
    epoch, logits = SIDES[side](task)
    while True:
        try:
            asked = connection.recv()
        except EOFError:
            return
        start = time.process_time()
        if asked == "epoch":
            epoch()
        answer = time.process_time() - start
        if asked == "uar":
            hits = logits().argmax(axis=1) == task.test.y
            answer = mean(hits[task.test.y == label].mean() for label in np.unique(task.test.y))
        connection.send(float(answer))


def _ours(task: Task) -> Side:
    """The pipeline's trainer."""

    trainer = registry.load("models", task.model, "params.model").trainer(task.config)
    learner = trainer.learner(task.train, 0, task.seed)
    number = itertools.count()

    def epoch() -> object:
        return trainer.train_epoch(learner, task.train, task.seed, next(number))

    def logits() -> NDArray[np.floating]:
        learner.network.save_weights(task.folder / FILE)
        return trainer.load(task.folder, len(task.test.classes))(task.test)

    return epoch, logits


def _theirs(task: Task) -> Side:
    """Keras as in its guide: compile and fit, with the layers' own defaults."""
    import keras
    import tensorflow as tf

    def plain(layer: keras.layers.Layer) -> keras.layers.Layer:
        kind = keras.layers.BatchNormalization if type(layer) is BatchNormalization else type(layer)
        return kind.from_config(layer.get_config())

    keras.utils.set_random_seed(task.seed)
    training, entry = task.config.training, registry.load("models", task.model, "params.model")
    shape = entry.trainer(task.config).input_shape(task.train.x.shape[1:], 0)
    pixels = shape[0] if getattr(training, "resizing", None) else None
    x, test = (
        part.x if pixels is None else tf.image.resize(part.x, (pixels, pixels), antialias=True).numpy()
        for part in (task.train, task.test)
    )
    built = entry.build(task.config, x.shape[1:], len(task.train.classes))
    network = keras.models.clone_model(built, clone_function=plain)
    network.compile(
        keras.optimizers.get(training.optimizer),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )

    def epoch() -> object:
        return network.fit(x, task.train.y, batch_size=training.batch_size, verbose=0)

    return epoch, lambda: network.predict(test, verbose=0)


SIDES: dict[str, Callable[[Task], Side]] = {"ours": _ours, "theirs": _theirs}


def _parts(case: Case) -> tuple[Partition, Partition]:
    """Returns the training clips and the test clips, which have other speakers."""
    parsed = {path: ravdess.parse(PurePosixPath(path)) for path in recordings.ravdess()}
    speakers = sorted({each.speaker for each in parsed.values() if each})
    settings, inputs = case.settings, case.config.inputs
    extract = extractor(settings, inputs.features, "benchmark")

    def pooled(chosen: list[str]) -> dict[Path, Frames]:
        paths = [path for path, each in parsed.items() if each and each.speaker in chosen][: case.n_clips]
        features = [extract(recording.load(path, settings.audio.sample_rate_hz)).values() for path in paths]
        clips = [pool(np.hstack([*each]), inputs.layout, inputs.frames_per_step) for each in features]
        return dict(zip(paths, clips, strict=True))

    train, test = pooled(speakers[:-N_TEST]), pooled(speakers[-N_TEST:])
    frames_per_second = settings.audio.sample_rate_hz / settings.spectrum.hop_length
    preprocessor = Preprocessor.fit([*train.values()], inputs, frames_per_second)
    classes = sorted({parsed[path].emotion for path in train})

    def partition(clips: dict[Path, Frames]) -> Partition:
        made = preprocessor.transform([*clips.values()])
        labels = np.array([classes.index(parsed[path].emotion) for path in clips])
        return Partition(made.x, made.lengths, labels, classes)

    return partition(train), partition(test)


if __name__ == "__main__":
    run_without_arguments(main)
