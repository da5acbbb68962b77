"""Two runs at once, in one folder or in DVC's queue, spoil nothing: one waits, is refused or is alone."""

from __future__ import annotations

import csv
import io
import json
import shutil
import time
from pathlib import Path

import pytest

from tests.faults.conftest import Fault, draws
from tests.faults.pipeline import Started, Undisturbed, before, check_resumes, rng, small
from tests.test_pipeline import STAGES, run

MODELS = ["dummy", "mlp", "svm", "ann"]
PATIENCE_S = 900


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return small(tmp_path_factory)


@pytest.mark.parametrize("number", draws(sample=0, slow=1, campaign=6))
def test_two_repros_in_one_folder(
    fault: Fault, tmp_path: Path, undisturbed: Undisturbed, number: int
) -> None:
    """The second starts at a drawn moment of the first; either may be refused, and at last all is as ever."""
    draw = rng("two", number)
    stage = STAGES[(5 * number + 3) % 8]
    folder = before(stage, undisturbed, draw.random() < 0.5, tmp_path / "run")
    with fault("two `dvc repro` at once"):
        first = Started(folder, "dvc", "repro")
        time.sleep(draw.uniform(0, 2 * undisturbed.seconds[stage]))
        second = Started(folder, "dvc", "repro")
        said = [started.end(PATIENCE_S) for started in (first, second)]
        codes = [started.process.returncode for started in (first, second)]
        assert 0 in codes, said
        for code, text in zip(codes, said, strict=True):
            assert code == 0 or "lock" in text or "busy" in text, text
        check_resumes(folder, undisturbed)


@pytest.mark.parametrize("number", draws(sample=0, slow=0, campaign=2))
def test_two_jobs_of_the_queue(fault: Fault, tmp_path: Path, undisturbed: Undisturbed, number: int) -> None:
    """Each queued experiment measures what it does when it runs alone."""
    chosen = rng("queue", number).sample(MODELS, 2)
    folder = shutil.copytree(undisturbed.folder, tmp_path / "queue", symlinks=True)
    alone = shutil.copytree(undisturbed.folder, tmp_path / "alone", symlinks=True)
    with fault("`dvc queue start --jobs 2`"):
        run(folder, "dvc", "exp", "run", "--queue", "-S", f"model={','.join(chosen)}")
        run(folder, "dvc", "queue", "start", "--jobs", "2")
        deadline = time.monotonic() + PATIENCE_S
        while "Running" in (status := run(folder, "dvc", "queue", "status")) or "Queued" in status:
            assert time.monotonic() < deadline, status
            time.sleep(2)
        assert status.count("Success") == len(chosen), status
        rows = {
            row["model"]: row
            for row in csv.DictReader(io.StringIO(run(folder, "dvc", "exp", "show", "--csv")))
            if row["State"] == "Success"
        }
        for model in chosen:
            run(alone, "dvc", "exp", "run", "-S", f"model={model}")
            measured = json.loads((alone / "metrics" / "test.json").read_text())
            assert float(rows[model]["uar"]) == pytest.approx(measured["uar"], abs=1e-5)
        check_resumes(folder, undisturbed)
