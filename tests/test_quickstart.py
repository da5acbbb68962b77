"""docs/quickstart.ipynb runs from the first cell to the last, and is stored without outputs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.test_pipeline import clone, edit

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "quickstart.ipynb"


def test_it_has_ten_cells_and_no_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert len(cells) == 10
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.mark.slow
def test_it_runs_to_the_leak_lesson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat", reason="needs nbclient")
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient")
    folder = clone(tmp_path)
    small = {"corpora__demo__sentences": ["IEO"], "split__validation_fraction": 0.3, "augment__copies": 0}
    edit(folder, **small, report__n_audio=0, evaluate__n_resamples=100)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    notebook = nbformat.read(folder / "docs" / NOTEBOOK.name, as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": folder / "docs"}}
    ).execute()
    outputs = [cell["outputs"] for cell in notebook.cells if cell["cell_type"] == "code"]
    printed = ["".join(output.get("text", "") for output in each) for each in outputs]
    assert "evaluate: svm" in printed[1]
    assert printed[3].count("data/raw/demo/") == 3
    assert "answered" in printed[4] or "warned" in printed[4] or "unsure" in printed[4]
    assert "leak inflation" in printed[5]
    assert any("image/png" in output.get("data", {}) for output in outputs[6])
