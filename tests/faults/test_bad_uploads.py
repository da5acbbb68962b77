"""Corrupted recordings through predict, the Python API and the page: a sentence each, never a trace."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stages.base import params
from stages.base.errors import InputError
from stages.inference import bundle
from stages.inference.bundle import Bundle, Prediction
from stages.tools import app
from tests.faults import mutants, trained
from tests.faults.conftest import ROOT, Fault, draws
from tests.faults.test_recordings import NO_SPEECH, REASONS, real_recordings
from tests.test_train import N_DIMS

pytest.importorskip("tf2onnx", reason="needs the extra `export`")
PER_KIND = 2
ABSTAINED = {"failed", "abstained"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle."""
    from stages.export import folder

    work, before = tmp_path_factory.mktemp("run"), Path.cwd()
    os.chdir(work)
    try:
        trained.leave(work, "svm", features__mfcc__n_mfcc=N_DIMS)
        folder.write(params.read(), Path("bundle"))
    finally:
        os.chdir(before)
    return work / "bundle"


def check(prediction: Prediction) -> None:
    if prediction.status in ABSTAINED:
        assert prediction.reason.split(":")[0] in {*REASONS, "unreadable"} and not prediction.probabilities
    else:
        assert sum(prediction.probabilities.values()) == pytest.approx(1)


def store(folder: Path, number: int) -> dict[Path, str]:
    """Stores files of every kind of fault and returns the kind of each."""
    rng, real = np.random.default_rng((11, number)), real_recordings()
    contents = [(kind, mutants.mutant(rng, kind, real)) for kind in mutants.KINDS for _ in range(PER_KIND)]
    contents += [(kind, mutants.encoded(make(rng), subtype="FLOAT")) for kind, (make, _) in NO_SPEECH.items()]
    contents.append(("no file, or a name that is not text", b""))
    paths = {folder / f"{place:03}.wav": kind for place, (kind, _) in enumerate(contents)}
    for path, (_, content) in zip(paths, contents, strict=True):
        path.write_bytes(content)
    unnamed = folder / os.fsdecode(b"caf\xe9.wav")
    unnamed.write_bytes(mutants.good(rng))
    return paths | {unnamed: "no file, or a name that is not text"}


def page_says(model: Bundle, path: Path, prediction: Prediction) -> None:
    text, shown = app.answer(model, str(path))
    assert ("not a usable recording" in text) == (prediction.status == "failed")
    assert prediction.status != "abstained" or text.startswith("**No answer:**")
    assert (shown != "") == (prediction.status != "failed")


def api_says(model: Bundle, path: Path) -> None:
    """Gives the API what libsndfile decodes, whatever it is."""
    try:
        samples, rate_hz = soundfile.read(path)
    except (soundfile.LibsndfileError, TypeError, ValueError, MemoryError):  # samples are not what is tested
        return
    try:
        check(model.predict(samples, rate_hz))
    except InputError as error:
        assert str(error).startswith("samples: ")


@pytest.mark.parametrize("number", draws(sample=0, slow=2, campaign=30))
def test_a_bad_recording_gets_a_sentence_everywhere(
    made: Path, tmp_path: Path, fault: Fault, number: int
) -> None:
    model, kinds = bundle.load(made), store(tmp_path, number)
    with ExitStack() as faults:
        for kind in kinds.values():
            faults.enter_context(fault(f"recording to predict, API and page: {kind}"))
        for path, prediction in zip(kinds, model.predict_files(kinds), strict=True):
            check(prediction)
            page_says(model, path, prediction)
            api_says(model, path)
        command = ["-m", "stages.tools.predict", "--bundle", made, "--format", "csv", tmp_path]
        done = subprocess.run(
            [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, errors="surrogateescape"
        )
        assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
        rows = list(csv.DictReader(io.StringIO(done.stdout)))
        named = [os.fsencode(path).decode(errors="backslashreplace") for path in kinds]
        assert sorted(row["file"] for row in rows) == sorted(named)
