"""The scripts that measure speed: they import and start, record their results, and fill the page's table.

Nothing here measures the pipeline.
"""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmark.speed import __main__ as everything
from benchmark.speed import determinism, measure, record, recordings
from benchmark.speed.record import Row
from stages.data import tables
from stages.learning import dataset, training

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted(path.stem for path in (ROOT / "benchmark" / "speed").glob("[!_]*.py"))
FOREIGN = {"smile"}  # runs in the peers' environment
ROW = Row("features", 0.91234, "librosa", 7.1, "CPU ms a clip", 7.7823, "at least 7")


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name not in FOREIGN])
def test_a_script_imports(name: str) -> None:
    importlib.import_module(f"benchmark.speed.{name}")


@pytest.mark.parametrize("name", sorted(FOREIGN))
def test_a_script_of_the_peers_environment_parses(name: str) -> None:
    ast.parse((ROOT / "benchmark" / "speed" / f"{name}.py").read_text())


def test_every_section_is_a_script() -> None:
    assert {*everything.SECTIONS} <= {*SCRIPTS}


@pytest.mark.parametrize("name", ["scale", "determinism"])
def test_a_script_with_arguments_lists_them(name: str) -> None:
    command = [sys.executable, "-m", f"benchmark.speed.{name}", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"usage: python -m benchmark.speed.{name}" in done.stdout


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    record.RESULTS.parent.mkdir(parents=True)
    record.PAGE.parent.mkdir()
    record.PAGE.write_text("# Speed\n\n<!-- table -->\nold\n<!-- end of table -->\n\nmore\n")
    return record.PAGE


def test_a_section_replaces_only_itself(page: Path) -> None:
    record.write("features", "clips", [ROW], ["numpy"])
    record.write("train", "clips", [ROW, ROW], ["numpy"], profile={"a": 1})
    record.write("features", "other clips", [ROW], ["numpy"])
    sections = json.loads(record.RESULTS.read_text())
    assert list(sections) == ["features", "train"]
    assert sections["features"]["data"] == "other clips"
    assert sections["features"]["rows"][0]["ratio"] == 7.78
    assert len(sections["train"]["rows"]) == 2
    assert sections["train"]["profile"] == {"a": 1}
    assert sections["train"]["command"] == "python -m benchmark.speed.train"
    assert {"processor", "cores", "python", "libraries"} == set(sections["train"]["machine"])


def test_the_page_shows_every_row_and_keeps_its_text(page: Path) -> None:
    record.write("features", "clips", [ROW], ["numpy"])
    record.write("augment", "clips", [ROW], ["numpy"])
    said = page.read_text()
    row = "| features | 0.912 | librosa | 7.1 | CPU ms a clip | **7.78** | at least 7 |"
    assert said.count(row) == 2
    assert "old" not in said
    assert said.startswith("# Speed\n\n<!-- table -->\n| what |")
    assert said.endswith("<!-- end of table -->\n\nmore\n")


def test_the_projects_page_matches_its_recorded_results() -> None:
    page, results = ROOT / record.PAGE, ROOT / record.RESULTS
    shown = record.TABLE.search(page.read_text())
    assert shown, "docs/speed.md has no place for the table"
    if results.exists():
        assert record.table(json.loads(results.read_text())) in shown[0]


@pytest.mark.slow
def test_the_stages_start_from_a_workspace_of_recordings(tmp_path: Path) -> None:
    path = tmp_path / "03-01-01-01-01-01-01.wav"
    noise = np.random.default_rng(0).normal(scale=0.1, size=16_000)
    soundfile.write(path, noise, 16_000)
    place = recordings.workspace(
        tmp_path / "w", [path], n_times=2, augment__copies=1, featurize__features=["mfcc"]
    )
    for name in ("augment", "featurize"):
        recordings.stage(name, place)
    index = tables.read(place / dataset.INDEX, tables.FEATURES)
    assert len(index) == 4  # two clips and a copy of each


def test_a_folds_processor_time_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training, "train_fold", "train: fold {}".format)
    exec(determinism.TIMED)
    assert training.train_fold(1) == "train: fold 1"
    assert float((tmp_path / "processor_s").read_text()) >= 0


def test_sides_alternate_after_a_warm_up_round() -> None:
    calls: list[str] = []
    seconds = measure.alternate({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert "".join(calls) == "ab" * 4
    assert [len(each) for each in seconds.values()] == [3, 3]


def test_a_ratio_is_the_median_over_rounds() -> None:
    assert measure.ratio([2.0, 30.0, 8.0], [1.0, 10.0, 2.0]) == 3.0


def test_a_commands_time_and_memory_include_its_children(tmp_path: Path) -> None:
    child = (
        "held = bytearray(200_000_000); held[::4096] = bytes(len(held[::4096])); import time; time.sleep(0.5)"
    )
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    start = time.perf_counter()
    usage = measure.command([sys.executable, "-c", code], tmp_path)
    assert 0.5 < usage.wall_s <= time.perf_counter() - start
    assert usage.cpu_s > 0
    assert usage.peak_mb > 190


def test_a_failing_command_raises_with_its_output(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as raised:
        measure.command([sys.executable, "-c", "import sys; sys.exit('no such corpus')"], tmp_path)
    assert "no such corpus" in raised.value.output
