"""A stage's start-up imports only what it needs: every import is paid for at each `dvc repro`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.test_layout import PIPELINE, ROOT

# Libraries whose import takes a tenth of a second or more, or which no stage may need at all.
HEAVY = {
    "dvc", "keras", "librosa", "matplotlib", "numba", "requests", "scipy", "skops", "sklearn", "tensorflow",
}  # fmt: skip
NEEDED = {
    "ingest": {"requests"},
    "featurize": {"scipy"},
    "train": {"scipy", "sklearn"},
    "evaluate": {"scipy"},
    "report": {"matplotlib", "scipy"},
}


@pytest.mark.parametrize("name", PIPELINE)
def test_a_stage_starts_without_what_it_does_not_need(name: str) -> None:
    code = f"import sys, stages.{name}; print(*sorted({HEAVY!r} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    surplus = {*done.stdout.split()} - NEEDED.get(name, set())
    assert not surplus, f"stages/{name}.py imports {sorted(surplus)} before it knows whether they are needed"
