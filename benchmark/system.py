"""Run one published system: each of its variants, by the report's protocol and speaker-independent.

    python -m benchmark.system B1_svm

Every row is this repository's pipeline in a workspace of its own below benchmark/runs, under the params that
benchmark/systems/B1_svm.yaml overlays. Only what changed is run, a killed run goes on where it stopped, and
several systems may run side by side. Writes benchmark/rows/B1_svm.csv when all rows are there. A row whose
corpus or weights are not here keeps what was measured of it elsewhere.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

from benchmark import overlay, rows, workspace
from stages.core.errors import run as run_script
from stages.core.params import PARAMS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmark.system", description=__doc__.splitlines()[0])
    parser.add_argument("system", metavar="SYSTEM", help=f"one of {', '.join(overlay.names())}")
    name = parser.parse_args().system
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # checking a network's block imports TensorFlow
    system = overlay.load(name)
    todo = overlay.runs(name, overlay.parse(PARAMS))
    for run in todo:
        run.params()  # a mistake in the last is told before the first has trained
    rows.write([row(run, system) for run in todo], rows.ROWS / f"{name}.csv")


def row(run: overlay.Run, system: overlay.System) -> dict[str, Any]:
    """Returns one row, run if need be and if it can be."""
    if lacks := workspace.lacking(run):
        found = rows.absent(run, system, lacks)
        is_kept = found["status"] == rows.RAN
        told = f"kept as measured before, needs {rows.AND.join(lacks)}" if is_kept else found["status"]
    else:
        print(f"{run.system} {run.name}", flush=True)
        place = workspace.prepare(run)
        workspace.reproduce(place)
        found = rows.measured(run, system, place)
        told = f"UAR {found['uar']:.3f}"
    print(f"{run.system} {run.name}: {told}", flush=True)
    return found


if __name__ == "__main__":
    run_script(main)
