"""The stages augment and featurize with two workers, against the same with one, by the clock on the wall.

python -m benchmark.speed.cores, while nothing else runs
"""

from __future__ import annotations

from statistics import median

from benchmark.speed import measure, record, recordings
from benchmark.speed.record import Row
from stages.core.errors import run

LIBRARIES = ("joblib", "numpy")


def main() -> None:
    paths = recordings.ravdess()
    walls_s: dict[str, dict[int, list[float]]] = {"augment": {1: [], 2: []}, "featurize": {1: [], 2: []}}
    for _ in range(1 + measure.N_ROUNDS):
        for n_workers in (1, 2):
            with recordings.scratch() as folder:
                changes = {"augment__copies": 1, "compute__workers": n_workers}
                place = recordings.workspace(folder / "w", paths, **changes)
                for name, walls in walls_s.items():
                    walls[n_workers].append(recordings.stage(name, place).wall_s)
    rows = [
        _row(name, walls[1][1:], walls[2][1:]) for name, walls in walls_s.items()
    ]  # the first was for warmth
    data = f"{len(paths)} clips of RAVDESS speech and a copy of each, the stages' start-up included"
    record.write("cores", data, rows, LIBRARIES)


def _row(name: str, one_s: list[float], two_s: list[float]) -> Row:
    faster = measure.ratio(one_s, two_s)
    return Row(
        f"the stage {name}, two workers",
        median(two_s),
        "one worker",
        median(one_s),
        "s",
        faster,
        "at least 1.6",
    )


if __name__ == "__main__":
    run(main)
