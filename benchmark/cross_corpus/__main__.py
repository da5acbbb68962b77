"""Train on each corpus, test on each other: one matrix, with each corpus's own scores on the diagonal.

    python -m benchmark.cross_corpus ravdess tess demo

Every run is this pipeline in a workspace of its own in benchmark/published/runs/cross_corpus, with the model
and the settings of params.yaml, without augmented copies. A killed run resumes; what is finished is not
trained again. Without arguments, all corpora in data/sources are taken. Writes results.csv and matrix.png in
benchmark/cross_corpus, and prints the tables.
"""

from __future__ import annotations

import os

from benchmark.cross_corpus import cells, matrix, plan
from benchmark.published import workspace
from stages.base.errors import InputError, parser_of, run
from stages.base.files import write
from stages.base.params import PARAMS, load
from stages.base.workspace import alone


def main() -> None:
    parser = parser_of(__doc__.splitlines()[0], "python -m benchmark.cross_corpus")
    parser.add_argument("corpora", metavar="CORPUS", nargs="*", help="two or more; all in data/sources")
    base = load(PARAMS)
    chosen = parser.parse_args().corpora or workspace.available(base)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # checking a network's block imports TensorFlow
    experiments = plan.experiments(chosen, base)
    for experiment in experiments:
        experiment.params()  # a mistake in the last one is reported before the first one is trained
        if missing := workspace.missing(experiment):
            raise InputError(
                f"cross_corpus: not in data/sources: {', '.join(missing)}. Put it there, or choose others."
            )
    found = []
    with alone(workspace.RUNS / plan.NAME):
        for number, experiment in enumerate(experiments, start=1):
            print(f"cross_corpus: {number} of {len(experiments)}: {experiment.name}", flush=True)
            place = workspace.prepare(experiment)
            workspace.reproduce(place)
            found += cells.of_run(experiment, place)
    cells.write(found)
    write(matrix.draw(found).content, cells.RESULTS.with_name("matrix.png"))
    print(f"\n{matrix.markdown(found)}")


if __name__ == "__main__":
    run(main)
