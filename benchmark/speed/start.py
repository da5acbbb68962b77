"""The time before a run computes anything: the stages' start, and a `dvc repro` with nothing to do.

python -m benchmark.speed.start
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from ruamel.yaml import YAML

from benchmark.speed import measure, record, recordings
from benchmark.speed.record import Row
from stages.base.errors import run_without_arguments

LIBRARIES = ("dvc", "numpy", "pandas", "ruamel.yaml")
REPRO = [sys.executable, "-m", "dvc", "repro"]
# A small corpus, and a model that does not need TensorFlow.
SMALL: dict[str, Any] = {
    "corpora__demo__n_speakers": 6,
    "evaluate__n_resamples": 100,
    "model": "dummy",
    "report__n_audio": 0,
    "split__n_folds": 3,
}


def main() -> None:
    with recordings.scratch() as folder:
        stages = _stages()
        starts = _starts(stages, folder)
        rows = [_nothing_to_do(stages, folder)]
    data = "the `demo` corpus of 6 speakers, model dummy"
    record.write("start", data, rows, LIBRARIES, cpu_s_of_stages=starts)


def _stages() -> list[str]:
    return list(YAML(typ="safe").load(recordings.ROOT / "dvc.yaml")["stages"])


def _starts(stages: list[str], folder: Path) -> dict[str, dict[str, float]]:
    """Returns the CPU seconds of the imports of each stage's script.

    `first` is without compiled byte code, as where an installer writes none; `later` is with it.
    """
    found = {}
    for name in stages:
        compiled = {
            "PYTHONDONTWRITEBYTECODE": "",  # may be set by the user
            "PYTHONPYCACHEPREFIX": str(folder / f"compiled-{name}"),
            "PYTHONPATH": str(recordings.ROOT),
        }
        runs = [
            measure.command([sys.executable, "-c", f"import stages.{name}"], folder, **compiled).cpu_s
            for _ in range(1 + measure.N_ROUNDS)
        ]
        found[name] = {"first": round(runs[0], 2), "later": round(median(runs[1:]), 2)}
    return found


def _nothing_to_do(stages: list[str], folder: Path) -> Row:
    """Compares `dvc repro` here with that of the same number of stages that only touch a file."""
    ours, touch = folder / "ours", folder / "touch"
    recordings.clone(ours, **SMALL)
    _chain(touch, len(stages))
    for place in (ours, touch):
        measure.command(REPRO, place)
    sides = {"ours": partial(_repeat, ours), "touch": partial(_repeat, touch)}
    seconds = measure.alternate(sides, measure.N_ROUNDS, measure.children_cpu_s)
    against = f"{len(stages)} stages in a row that only touch a file"
    mine, other = median(seconds["ours"]), median(seconds["touch"])
    slower = measure.ratio(seconds["ours"], seconds["touch"])
    return Row("`dvc repro` with nothing to do", mine, against, other, "CPU s", slower, "at most 1.3")


def _repeat(place: Path) -> None:
    output = subprocess.run(REPRO, cwd=place, check=True, capture_output=True, text=True).stdout
    if "Running stage" in output:
        raise RuntimeError(f"{place}: something was left to do:\n{output}")


def _chain(place: Path, n_stages: int) -> None:
    place.mkdir()
    stages = {
        f"touch_{i}": {"cmd": f"touch {i}", "deps": [str(i - 1)] if i else [], "outs": [str(i)]}
        for i in range(n_stages)
    }
    with (place / "dvc.yaml").open("w") as file:
        YAML().dump({"stages": stages}, file)
    (place / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        (place / ".dvc" / name).write_bytes((recordings.ROOT / ".dvc" / name).read_bytes())
    recordings.commit(place)


if __name__ == "__main__":
    run_without_arguments(main)
