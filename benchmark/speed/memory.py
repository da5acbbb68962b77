"""Memory of augment and featurize as the corpus grows: a worker needs as much as one shard.

python -m benchmark.speed.memory
"""

from __future__ import annotations

from benchmark.speed import record, recordings
from benchmark.speed.record import Row
from stages.base.errors import run_without_arguments

TIMES = (1, 4, 16)
LIBRARIES = ("numpy", "pandas", "joblib")


def main() -> None:
    paths = recordings.ravdess()[: recordings.N_STAGE_CLIPS]
    peaks: dict[str, list[float]] = {"augment": [], "featurize": []}
    for times in TIMES:
        with recordings.scratch() as folder:
            place = recordings.workspace(folder / "w", paths, times, augment__copies=1)
            for name, peaks_mb in peaks.items():
                peaks_mb.append(recordings.stage(name, place).peak_mb)
    rows = [
        Row(
            f"peak memory of {name}, {TIMES[-1]} times the clips",
            peaks_mb[-1],
            "the clips once",
            peaks_mb[0],
            "MB, all processes",
            peaks_mb[-1] / peaks_mb[0],
            "flat",
        )
        for name, peaks_mb in peaks.items()
    ]
    data = f"{len(paths)} clips of RAVDESS speech, {', '.join(map(str, TIMES))} times over, two workers"
    record.write(
        "memory", data, rows, LIBRARIES, peak_mb={n: [round(mb) for mb in p] for n, p in peaks.items()}
    )


if __name__ == "__main__":
    run_without_arguments(main)
