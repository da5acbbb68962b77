"""Training two folds at once, with one thread each, compared with one after the other, in wall-clock time.

python -m benchmark.speed.folds, on an idle machine
"""

from __future__ import annotations

from pathlib import Path
from statistics import median

from benchmark.speed import measure, record, recordings
from benchmark.speed.record import Row
from stages.base.errors import run_without_arguments

LIBRARIES = ("joblib", "numpy", "scikit-learn", "tensorflow")
MODELS = ("svm", "gru", "cnn2d")
EPOCHS = 8
BEFORE = ("select", "ingest", "manifest", "split", "augment", "featurize")
SETTINGS = {"corpus": ["ravdess"], "augment__copies": 0, "training__epochs": EPOCHS, "compute__workers": 2}
SIDES = {"at once": 1, "one by one": 2}  # train.threads


def main() -> None:
    paths = recordings.ravdess()
    with recordings.scratch() as scratch:
        folder = scratch / "w"
        recordings.clone(folder, **SETTINGS)
        for path in paths:
            recordings.link(path, folder / "data/sources/ravdess" / path.parent.name / path.name)
        for name in BEFORE:
            recordings.stage(name, folder)
        rows = [_row(folder, model) for model in MODELS]
    data = f"{len(paths)} clips of RAVDESS speech, six folds, networks for {EPOCHS} epochs, start-up included"
    record.write("folds", data, rows, LIBRARIES)


def _row(folder: Path, model: str) -> Row:
    walls_s: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(measure.N_ROUNDS):
        for side, threads in SIDES.items():
            recordings.write_params(folder, **SETTINGS, model=model, train__threads=threads)
            recordings.stage("select", folder)
            walls_s[side].append(recordings.stage("train", folder).wall_s)
    ours_s, theirs_s = walls_s.values()
    what = f"the stage train, {model}, six folds, two at once with one thread each"
    against = "one by one, with two threads"
    return Row(
        what, median(ours_s), against, median(theirs_s), "s", measure.ratio(theirs_s, ours_s), "at least 1"
    )


if __name__ == "__main__":
    run_without_arguments(main)
