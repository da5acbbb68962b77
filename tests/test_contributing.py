"""The model that CONTRIBUTING.md shows is one that the registry takes."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from stages.base import params, registry
from stages.learning.preprocessing import Partition

ROOT = Path(__file__).resolve().parents[1]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text()


def shown(language: str) -> str:
    """Returns the one block of this language in the guide."""
    (block,) = re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    return str(block)


def test_the_model_shown_keeps_its_contract_and_learns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "logreg.py").write_text(shown("python"))
    monkeypatch.setattr(registry, "STAGES", tmp_path)
    monkeypatch.setattr(importlib.import_module("stages.models"), "__path__", [str(tmp_path / "models")])
    monkeypatch.delitem(sys.modules, "stages.models.logreg", raising=False)
    entry = registry.load("models", "logreg", "params.model")
    assert entry.__doc__
    block = YAML(typ="safe", pure=True).load(shown("yaml"))["models"]["logreg"]
    config = params.check(entry.Config, block, "params.models.logreg")
    assert config.inputs.layout in entry.LAYOUTS
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 90)
    x = (rng.normal(size=(90, 4)) + 2 * y[:, None]).astype(np.float32)
    trainer = entry.trainer(config)
    train = Partition(x, np.ones(90, int), y, ["anger", "fear", "sadness"])
    trainer.fit(train, None, tmp_path, 1)
    scores = trainer.scores(tmp_path, train, n_classes=3)
    assert (scores.argmax(axis=1) == y).mean() > 0.6
