"""`ser predict --bundle` in processes of its own: many at once, and how long one takes to start."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from stages.base import params
from tests.faults import trained
from tests.test_train import N_DIMS, RATE_HZ, syllables

pytest.importorskip("tf2onnx", reason="needs the extra `export`")
pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
N_AT_ONCE = 8
MOST_OF_TENSORFLOW = 0.5  # measured: 0.2
COMMAND = [*["-m", "stages.tools.predict", "--bundle", "bundle", "--format", "jsonl", "a.wav"]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a bundle and a recording."""
    from stages.export import folder

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    trained.leave(tmp_path, "svm", features__mfcc__n_mfcc=N_DIMS)
    folder.write(params.read(), Path("bundle"))
    soundfile.write("a.wav", syllables(1.0), RATE_HZ)


def start(*command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )


def processor_s(*command: str) -> float:
    """Returns the processor time of a command, the least of three runs."""
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        process = start(*command)
        _, errors = process.communicate()
        assert process.returncode == 0, errors
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(seconds)


@pytest.mark.usefixtures("here")
def test_many_at_once_give_the_same_answer() -> None:
    running = [start(*COMMAND) for _ in range(N_AT_ONCE)]
    printed = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0] * N_AT_ONCE, printed
    assert len({out for out, _ in printed}) == 1 and '"probabilities"' in printed[0][0]


@pytest.mark.usefixtures("here")
def test_a_bundle_answers_before_tensorflow_would_be_imported() -> None:
    predict, tensorflow = processor_s(*COMMAND), processor_s("-c", "import tensorflow")
    assert predict < MOST_OF_TENSORFLOW * tensorflow, f"{predict:.1f} s, TensorFlow {tensorflow:.1f} s"
