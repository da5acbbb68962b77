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
    used: dict[str, list[measure.Usage]] = {"ours": [], "nkululeko": []}
    for _ in range(measure.N_ROUNDS):
        with recordings.scratch() as folder:
            ours, theirs = folder / "ours", folder / "nkululeko"
            _pipeline(ours, paths)
            _experiment(theirs, paths)
            used["ours"].append(measure.command([sys.executable, "-m", "dvc", "repro", "evaluate"], ours))
            command = [str(python), "-m", "nkululeko.nkululeko", "--config", "experiment.ini"]
            used["nkululeko"].append(measure.command(command, theirs))
    rows = [
        _row("CPU s", [usage.cpu_s for usage in used["ours"]], [usage.cpu_s for usage in used["nkululeko"]]),
        _row("s", [usage.wall_s for usage in used["ours"]], [usage.wall_s for usage in used["nkululeko"]]),
    ]
    data = (
        f"{len(paths)} clips of RAVDESS speech; here six folds, there one split, 17 % of the speakers to test"
    )
    record.write("whole", data, rows, LIBRARIES, peers=peers.versions(python))


def _row(unit: str, ours: list[float], theirs: list[float]) -> Row:
    what = "audio to speaker-independent SVM scores, `dvc repro evaluate`, six folds, no augmented copies"
    faster = measure.ratio(theirs, ours)
    return Row(what, median(ours), "nkululeko, eGeMAPS, one split", median(theirs), unit, faster, "")


def _pipeline(folder: Path, paths: list[Path]) -> None:
    recordings.clone(folder, corpus=["ravdess"], model="svm", augment__copies=0)
    for path in paths:
        recordings.link(path, folder / SOURCE / path.parent.name / path.name)


def _experiment(folder: Path, paths: list[Path]) -> None:
    folder.mkdir()
    (folder / "experiment.ini").write_text(EXPERIMENT)
    parsed = {path: ravdess.parse(PurePosixPath(path.name)) for path in paths}
    rows = [(path, each.emotion, each.speaker, each.sex) for path, each in parsed.items() if each]
    table = pd.DataFrame(rows, columns=["file", "emotion", "speaker", "gender"])
    table.to_csv(folder / "ravdess.csv", index=False)


if __name__ == "__main__":
    run_without_arguments(main)
