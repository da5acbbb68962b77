"""What `python -m stages.tools.predict` takes, and that an interrupted run continues."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages.base.errors import InputError
from stages.inference.bundle import Prediction
from stages.tools import predict


class Model:
    """A model that knows nothing, and counts the files that it was asked about."""

    classes = ("anger", "fear")
    facts = SimpleNamespace(notice=lambda: "svm trained on demo", model_dump=lambda: {"model": "svm"})

    def __init__(self) -> None:
        self.asked: list[str] = []

    def predict_files(self, paths: Iterable[Path]) -> Iterator[Prediction]:
        for path in paths:
            self.asked.append(path.name)
            status: Any = "failed" if path.suffix == ".txt" else "answered"
            yield Prediction(0.0, 1.0, True, status, "", {"anger": 0.6, "fear": 0.4})


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Model:
    monkeypatch.chdir(tmp_path)
    made = Model()
    monkeypatch.setattr(predict, "loaded", lambda *_: made)
    return made


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["predict", *arguments])
    predict.main()


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def test_folders_and_patterns_are_resolved(model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    touch("calls/b.mp3", "calls/deep/a.WAV", "calls/notes.doc", "x1.flac", "x2.flac")
    found = predict.found(["calls", "x*.flac", "x1.flac"], Path())
    assert [name for name, _ in found] == ["calls/b.mp3", "calls/deep/a.WAV", "x1.flac", "x2.flac", "x1.flac"]
    assert "1 files are not audio" in capsys.readouterr().err


def test_missing_files_are_reported_before_the_model_is_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(predict, "loaded", lambda *_: pytest.fail("the model was loaded"))
    touch("here.wav")
    Path("empty").mkdir()
    with pytest.raises(InputError, match=r"^gone\.wav, no\*\.wav, empty: no such file"):
        run(monkeypatch, "gone.wav", "here.wav", "no*.wav", "empty")


def test_a_recording_on_the_standard_input(
    model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"RIFF")))
    ((name, path),) = predict.found(["-"], tmp_path)
    assert (name, path.read_bytes()) == ("-", b"RIFF")


def test_a_bad_file_ends_with_exit_code_1_after_all_others(
    model: Model, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    touch("a.wav", "b.txt", "c.wav")
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "--format", "jsonl", "a.wav", "b.txt", "c.wav")
    assert ended.value.code == 1
    printed = capsys.readouterr()
    assert [json.loads(line)["status"] for line in printed.out.splitlines()] == [
        *("answered", "failed", "answered")
    ]
    assert printed.err.count("svm trained on demo") == 1


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_an_interrupted_run_continues_to_the_same_bytes(
    model: Model, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{number}.wav" for number in range(9)]
    touch(*names)
    command = ["--format", kind, "--output", "out", *names]
    run(monkeypatch, *command)
    whole, asked = Path("out").read_bytes(), len(model.asked)
    assert asked == 9
    Path("out").write_bytes(whole[: 2 * len(whole) // 3])
    run(monkeypatch, *command)
    assert Path("out").read_bytes() == whole
    assert 0 < len(model.asked) - asked < 9


def test_an_output_that_is_not_ones_own_is_kept(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    touch("a.wav")
    Path("out").write_text("years of work")
    with pytest.raises(InputError, match=r"^out: not the unfinished output"):
        run(monkeypatch, "--output", "out", "a.wav")
    with pytest.raises(InputError, match=r"^--output: 'table' cannot be continued"):
        run(monkeypatch, "--format", "table", "--output", "out", "a.wav")
    assert Path("out").read_text() == "years of work"
