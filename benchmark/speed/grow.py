"""A corpus that grows: `dvc repro` after one more speaker, compared with the first run.

python -m benchmark.speed.grow
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from statistics import median

from benchmark.speed import measure, record, recordings
from benchmark.speed.record import Row
from benchmark.speed.whole import SOURCE
from stages.base.errors import run_without_arguments

LIBRARIES = ("dvc", "numpy", "scikit-learn", "scipy")
FEW = 4  # speakers before the one that joins


def main() -> None:
    by_speaker: dict[str, list[Path]] = {}
    for path in recordings.ravdess():
        by_speaker.setdefault(path.stem[-2:], []).append(path)
    speakers = [*by_speaker.values()]
    rows = [
        _row("`dvc repro`", speakers[: FEW + 1], [], "at most 0.33"),
        _row("`dvc repro featurize`", speakers, ["featurize"], ""),
    ]
    record.write("grow", "RAVDESS speech, 60 clips of each speaker; params.yaml as shipped", rows, LIBRARIES)


def _row(what: str, speakers: list[list[Path]], stages: list[str], goal: str) -> Row:
    """Compares a run after the last of the speakers joined with the first run, on the others."""
    grown: list[float] = []
    first: list[float] = []
    n_first = len(speakers) - 1
    for _ in range(measure.N_ROUNDS):
        with recordings.scratch() as folder:
            recordings.clone(folder, corpus=["ravdess"], split__n_folds=FEW)
            for seconds, joined in ((first, speakers[:n_first]), (grown, speakers[n_first:])):
                for path in itertools.chain(*joined):
                    recordings.link(path, folder / SOURCE / path.parent.name / path.name)
                command = [sys.executable, "-m", "dvc", "repro", *stages]
                seconds.append(measure.command(command, folder).cpu_s)
    what, against = f"{what} after adding a speaker to {n_first}", f"the first run, on {n_first}"
    return Row(what, median(grown), against, median(first), "CPU s", measure.ratio(grown, first), goal)


if __name__ == "__main__":
    run_without_arguments(main)
