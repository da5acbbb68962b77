"""From recordings to an SVM's speaker-independent scores: the whole pipeline compared with nkululeko.

python -m benchmark.speed.whole
"""

from __future__ import annotations

import sys
from pathlib import Path, PurePosixPath
from statistics import median

import pandas as pd

from benchmark.speed import measure, peers, record, recordings
from benchmark.speed.record import Row
from stages.base.errors import InputError, run_without_arguments
from stages.corpora import ravdess

LIBRARIES = ("dvc", "numpy", "scikit-learn", "scipy")
SOURCE = Path("data/sources/ravdess")
EXPERIMENT = """\
[EXP]
root = ./
name = results
[DATA]
databases = ['ravdess']
ravdess = ./ravdess.csv
ravdess.type = csv
ravdess.audio_path = /
ravdess.split_strategy = speaker_split
ravdess.test_size = 17
target = emotion
[FEATS]
type = ['os']
set = eGeMAPSv02
scale = standard
[MODEL]
type = svm
n_jobs = 2
"""


def main() -> None:
    python = peers.python()
    if python is None:
        raise InputError(
            f"{peers.FOLDER}: nkululeko is not installed there. Run `make speed`, which installs it."
        )
    paths = recordings.ravdess()
    used: dict[str, list[measure.Usage]] = {"no augmented copies": [], "as shipped": [], "nkululeko": []}
    for _ in range(measure.N_ROUNDS):
        for name, changes in (("no augmented copies", {"augment__copies": 0}), ("as shipped", {})):
            with recordings.scratch() as folder:
                _pipeline(folder, paths, changes)
                used[name].append(measure.command([sys.executable, "-m", "dvc", "repro", "evaluate"], folder))
        with recordings.scratch() as folder:
            _experiment(folder, paths)
            command = [str(python), "-m", "nkululeko.nkululeko", "--config", "experiment.ini"]
            used["nkululeko"].append(measure.command(command, folder))
    rows = [
        _row("no augmented copies", used, "cpu_s", "at least 5"),
        _row("no augmented copies", used, "wall_s", "at least 2"),
        _row("as shipped", used, "cpu_s", "at least 3"),
        _row("as shipped", used, "wall_s", "at least 2"),
    ]
    data = (
        f"{len(paths)} clips of RAVDESS speech; here six folds, there one split, 17 % of the speakers to test"
    )
    record.write("whole", data, rows, LIBRARIES, peers=peers.versions(python))


def _row(name: str, used: dict[str, list[measure.Usage]], clock: str, goal: str) -> Row:
    """Compares the pipeline with nkululeko by `cpu_s` or `wall_s`."""
    what = f"audio to speaker-independent SVM scores, `dvc repro evaluate`, six folds, {name}"
    ours, theirs = ([getattr(usage, clock) for usage in used[side]] for side in (name, "nkululeko"))
    against, unit = "nkululeko, eGeMAPS, one split", {"cpu_s": "CPU s", "wall_s": "s"}[clock]
    return Row(what, median(ours), against, median(theirs), unit, measure.ratio(theirs, ours), goal)


def _pipeline(folder: Path, paths: list[Path], changes: dict[str, int]) -> None:
    recordings.clone(folder, corpus=["ravdess"], model="svm", **changes)
    for path in paths:
        recordings.link(path, folder / SOURCE / path.parent.name / path.name)


def _experiment(folder: Path, paths: list[Path]) -> None:
    (folder / "experiment.ini").write_text(EXPERIMENT)
    parsed = {path: ravdess.parse(PurePosixPath(path.name)) for path in paths}
    rows = [(path, each.emotion, each.speaker, each.sex) for path, each in parsed.items() if each]
    table = pd.DataFrame(rows, columns=["file", "emotion", "speaker", "gender"])
    table.to_csv(folder / "ravdess.csv", index=False)


if __name__ == "__main__":
    run_without_arguments(main)
