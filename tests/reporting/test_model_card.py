"""The model card of a finished run: every number is one of its records."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.base.files import METRICS
from stages.base.params import read
from stages.learning import trained_fold
from stages.reporting import finished_run, model_card, robustness
from tests.support import runs
from tests.support.workspace import pretend_edit


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.leave(tmp_path_factory.mktemp("card"), full=False, train__normalize="speaker")


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> finished_run.FinishedRun:
    monkeypatch.chdir(folder)
    return finished_run.read(read())


def test_the_scores_are_those_of_the_metrics(run: finished_run.FinishedRun) -> None:
    card = model_card.render(run)
    test = json.loads((METRICS / "test.json").read_text())
    for name in ("uar", "uar_low", "uar_high", "accuracy", "ece", "log_loss"):
        assert f"{test[name]:.3f}" in card
    for emotion, recall in test["recall"].items():
        assert any(emotion in line and f"{recall:.3f}" in line for line in card.splitlines())
    assert f"lowest, {test['worst_speaker']['speaker'].split('/')[-1]}" in card
    assert "Statistics of test clips: speaker" in card
    assert "2 of 2 test sentences are in the training data" in card
    assert "LEAKY" not in card


@pytest.fixture
def measured(run: finished_run.FinishedRun) -> Iterator[None]:
    """What the tool `robustness` leaves of the run."""
    values = {"uar": 0.123, "lost": 0.456, "warned": 0.25, "abstained": 0.0}
    origin = trained_fold.origin(trained_fold.read_records(run.params), run.params)
    made_from = robustness.made_from(origin, run.params)
    written = {"n_clips": 9, "n_speakers": 3, "conditions": {"-20 dB": values}, "made_from": made_from}
    robustness.FILE.write_text(json.dumps(written))
    yield
    robustness.FILE.unlink()


def test_robustness_is_shown_of_these_models_only(run: finished_run.FinishedRun, measured: None) -> None:
    assert "0.456" in model_card.render(run)
    run.predictions.attrs["models"] = {"0": "another"}
    assert "Not measured" in model_card.render(run)


@pytest.mark.parametrize(
    ("block", "change"), [("predict", {"level_db": 9.0}), ("manifest", {"shortest_s": 0.2})]
)
def test_robustness_is_shown_of_these_limits_only(
    run: finished_run.FinishedRun, measured: None, block: str, change: dict[str, float]
) -> None:
    limits = getattr(run.params, block).model_copy(update=change)
    changed = dataclasses.replace(run, params=run.params.model_copy(update={block: limits}))
    assert "0.456" not in model_card.render(changed)


@pytest.mark.parametrize("file", ["tools/robustness.py", "augmentations/noise.py", "audio/quality.py"])
def test_robustness_is_shown_of_the_present_code_only(
    run: finished_run.FinishedRun, measured: None, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_edit(file, monkeypatch)
    assert "0.456" not in model_card.render(run)


def test_names_are_shown_and_do_nothing(run: finished_run.FinishedRun) -> None:
    run.corpora["ravdess"]["title"] = "<script>|`x`"
    run.test["recall"] |= {"<b>": 0.5}
    card = model_card.render(run)
    assert "<script>" not in card and "<b>" not in card
    assert "&lt;script&gt;" in card
