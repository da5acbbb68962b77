"""A corpus that grows: `dvc repro` after a fifth speaker joins four, compared with the first run.

python -m benchmark.speed.grow
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median

from benchmark.speed import measure, record, recordings
from benchmark.speed.record import Row
from benchmark.speed.whole import SOURCE
from stages.base.errors import run_without_arguments

LIBRARIES = ("dvc", "numpy", "scikit-learn", "scipy")
REPRO = [sys.executable, "-m", "dvc", "repro"]
N_FIRST = 4  # speakers


def main() -> None:
    by_speaker: dict[str, list[Path]] = {}
    for path in recordings.ravdess():
        by_speaker.setdefault(path.stem[-2:], []).append(path)
    speakers = [*by_speaker.values()][: N_FIRST + 1]
    used: dict[str, list[measure.Usage]] = {"first": [], "grown": []}
    for _ in range(measure.N_ROUNDS):
        with recordings.scratch() as folder:
            recordings.clone(folder, corpus=["ravdess"], split__n_folds=N_FIRST)
            _add(folder, speakers[:N_FIRST])
            used["first"].append(measure.command(REPRO, folder))
            _add(folder, speakers[N_FIRST:])
            used["grown"].append(measure.command(REPRO, folder))
    rows = [
        _row("CPU s", [usage.cpu_s for usage in used["grown"]], [usage.cpu_s for usage in used["first"]]),
        _row("s", [usage.wall_s for usage in used["grown"]], [usage.wall_s for usage in used["first"]]),
    ]
    data = f"{sum(map(len, speakers))} clips of {N_FIRST + 1} speakers of RAVDESS speech, shipped params.yaml"
    record.write("grow", data, rows, LIBRARIES)


def _add(folder: Path, speakers: list[list[Path]]) -> None:
    for path in (path for speaker in speakers for path in speaker):
        recordings.link(path, folder / SOURCE / path.parent.name / path.name)


def _row(unit: str, grown: list[float], first: list[float]) -> Row:
    what = f"`dvc repro` after a speaker joined {N_FIRST}"
    slower = measure.ratio(grown, first)
    against = f"its first run, on {N_FIRST}"
    return Row(what, median(grown), against, median(first), unit, slower, "at most 0.33")


if __name__ == "__main__":
    run_without_arguments(main)
