"""The stages augment and featurize with two workers compared with one, in wall-clock time.

python -m benchmark.speed.cores, on an idle machine
"""

from __future__ import annotations

from pathlib import Path
from statistics import median

from benchmark.speed import measure, record, recordings
from benchmark.speed.record import Row
from stages.base.errors import run_without_arguments

LIBRARIES = ("joblib", "numpy")
STAGES = ("augment", "featurize")
TIMES = (1, 4)  # the corpus itself, and one nearly as large as CREMA-D


def main() -> None:
    paths = recordings.ravdess()
    rows = [row for n_times in TIMES for row in _rows(paths, n_times)]
    data = f"{len(paths)} clips of RAVDESS speech and a copy of each, the stages' start-up included"
    record.write("cores", data, rows, LIBRARIES)


def _rows(paths: list[Path], n_times: int) -> list[Row]:
    """Compares on the recordings, repeated `n_times`."""
    walls_s: dict[tuple[str, int], list[float]] = {(name, n): [] for name in STAGES for n in (1, 2)}
    for _ in range(1 + measure.N_ROUNDS):
        for n_workers in (1, 2):
            with recordings.scratch() as folder:
                changes = {"augment__copies": 1, "compute__workers": n_workers}
                place = recordings.workspace(folder / "w", paths, n_times, **changes)
                for name in STAGES:
                    walls_s[name, n_workers].append(recordings.stage(name, place).wall_s)
    rows = []
    for name in STAGES:
        one_s, two_s = (walls_s[name, n][1:] for n in (1, 2))  # the first was the warm-up
        what = f"the stage {name}, {n_times * len(paths)} clips, two workers"
        faster = measure.ratio(one_s, two_s)
        rows.append(Row(what, median(two_s), "one worker", median(one_s), "s", faster, "at least 1.7"))
    return rows


if __name__ == "__main__":
    run_without_arguments(main)
