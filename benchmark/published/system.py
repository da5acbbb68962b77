"""Run published systems: each of their variants, by the report's split and with new speakers.

    python -m benchmark.published.system            all
    python -m benchmark.published.system B1_svm     one

Each row is this pipeline, run in a workspace of its own in benchmark/published/runs, with params.yaml as
benchmark/published/systems/B1_svm.yaml changes it. Only what changed runs again, a killed run resumes, and
several systems may run side by side. Writes a system's rows to benchmark/published/rows when all are done.
Rows whose corpus or weights are missing keep their last results.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

from benchmark.published import overlay, rows, workspace
from stages.base.errors import run
from stages.base.params import PARAMS, load


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmark.published.system", description=__doc__.splitlines()[0]
    )
    parser.add_argument("systems", metavar="SYSTEM", nargs="*", help=f"all: {', '.join(overlay.names())}")
    names = parser.parse_args().systems or overlay.names()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # checking a network's block imports TensorFlow
    chosen = {name: (overlay.load(name), overlay.experiments(name, load(PARAMS))) for name in names}
    for _, experiments in chosen.values():
        for experiment in experiments:
            experiment.params()  # a mistake in the last one is reported before the first one is trained
    for name, (system, experiments) in chosen.items():
        rows.write([row(each, system) for each in experiments], rows.ROWS / f"{name}.csv")


def row(experiment: overlay.Experiment, system: overlay.System) -> dict[str, Any]:
    """Returns one row; runs it if its corpora and weights are here."""
    title = f"{experiment.system} {experiment.name}"
    if missing := workspace.missing(experiment):
        found = rows.not_run(experiment, system, missing)
        is_kept = found["status"] == rows.RAN
        result = f"last results kept, needs {rows.AND.join(missing)}" if is_kept else found["status"]
    else:
        print(title, flush=True)
        place = workspace.prepare(experiment)
        workspace.reproduce(place)
        found = rows.measured(experiment, system, place)
        result = f"UAR {found['uar']:.3f}"
    print(f"{title}: {result}", flush=True)
    return found


if __name__ == "__main__":
    run(main)
