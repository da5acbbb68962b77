"""The corpus that CONTRIBUTING.md shows runs through the pipeline, and the model it shows learns."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from ruamel.yaml import YAML

from stages.base import params, registry
from stages.learning.preprocessing import Partition
from tests.support import shipped

ROOT = Path(__file__).resolve().parents[1]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text()


def shown(language: str, of: str) -> str:
    """Returns the one block of this language in the guide that has the word `of`."""
    (block,) = [block for block in re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL) if of in block]
    return str(block)


@pytest.mark.slow
def test_the_corpus_shown_runs_through_the_whole_pipeline(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "stages", tmp_path / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "stages/corpora/my_lab.py").write_text(shown("python", "Names"))
    values = shipped.values()
    values["corpora"] |= YAML(typ="safe", pure=True).load(shown("yaml", "my_lab"))["corpora"]
    values |= {"corpus": ["my_lab"], "evaluate": {"n_resamples": 100}}
    values["split"]["n_folds"], values["augment"]["copies"], values["compute"]["workers"] = 3, 0, 1
    (tmp_path / "params.yaml").write_text(json.dumps(values))
    for speaker in ("s1_m", "s2_f", "s3_f"):
        for take in ("awe_1", "awe_2", "neu_1", "neu_2"):
            path = tmp_path / f"data/sources/my_lab/{speaker}_{take}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng([*path.name.encode()]).normal(0, 0.1, 8000)
            soundfile.write(path, noise * np.where(np.sin(np.arange(8000) / 250) > 0, 1, 0.1), 16_000)
    stages = "select, ingest, manifest, split, augment, featurize, train, evaluate, report"
    run = f"from stages import {stages}\nfor stage in ({stages}):\n    stage.main()"
    subprocess.run([sys.executable, "-c", run], cwd=tmp_path, check=True)
    assert set(json.loads((tmp_path / "metrics/test.json").read_text())["recall"]) == {"awe", "neutral"}


def test_the_model_shown_keeps_its_contract_and_learns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "logreg.py").write_text(shown("python", "LogisticRegression"))
    monkeypatch.setattr(registry, "STAGES", tmp_path)
    monkeypatch.setattr(importlib.import_module("stages.models"), "__path__", [str(tmp_path / "models")])
    monkeypatch.delitem(sys.modules, "stages.models.logreg", raising=False)
    entry = registry.load("models", "logreg", "params.model")
    assert entry.__doc__
    block = YAML(typ="safe", pure=True).load(shown("yaml", "logreg"))["models"]["logreg"]
    config = params.check(entry.Config, block, "params.models.logreg")
    assert config.inputs.layout in entry.LAYOUTS
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 90)
    x = (rng.normal(size=(90, 4)) + 2 * y[:, None]).astype(np.float32)
    trainer = entry.trainer(config)
    train = Partition(x, np.ones(90, int), y, ["anger", "fear", "sadness"])
    trainer.fit(train, None, tmp_path, 1)
    scores = trainer.load(tmp_path, 3)(train)
    assert (scores.argmax(axis=1) == y).mean() > 0.6
