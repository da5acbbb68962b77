"""Writes a bundle: the folder with everything that `inference.bundle.load` needs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from stages.base.errors import InputError
from stages.base.params import Params
from stages.data import keys
from stages.export import card, graph, onnx
from stages.inference import facts as facts_file
from stages.inference import workspace
from stages.inference.facts import Facts
from stages.learning import trained_fold
from stages.learning.normalization import SPEAKER_MEANS
from stages.learning.windows import POOLING, PREPROCESSOR


def write(params: Params, out: Path) -> Facts:
    """Writes the workspace's trained model as a bundle and returns its facts. bundle.json is written last.

    Args:
        out: a folder that is new, empty or a bundle, which is replaced.

    Raises:
        InputError: see `trained_fold.trained`; or `out` contains other files.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())) and not (out / facts_file.FILE).is_file():
        raise InputError(f"{out}: exists and is not a bundle. Choose another folder, or delete it.")
    trained = trained_fold.trained(params)
    facts = workspace.facts(params, trained)
    shutil.rmtree(out, ignore_errors=True)
    of_folds = []
    for fold, of_fold in zip(trained, facts.folds, strict=True):
        shape, folder = fold.preparation.preprocessor.shape, out / of_fold.folder
        lengths = graph.padded_lengths(fold)
        inputs = (None, None if lengths else shape[0], *shape[1:])
        onnx.convert(graph.probabilities(fold), inputs, folder / facts_file.PROBABILITIES)
        for name in (PREPROCESSOR, POOLING, SPEAKER_MEANS):
            if (fold.folder / name).is_file():
                shutil.copyfile(fold.folder / name, folder / name)
        of_folds.append(of_fold.model_copy(update={"padded": lengths}))
    features = {name: _with_files(block, out) for name, block in facts.features.items()}
    facts = facts.model_copy(update={"folds": of_folds, "features": features})
    (out / card.FILE).write_text(card.text(facts), encoding="utf-8")
    files = sorted(path for path in out.rglob("*") if path.is_file())
    sums = {path.relative_to(out).as_posix(): keys.sha256(path) for path in files}
    facts = facts.model_copy(update={"sha256": sums})
    facts_file.write(facts, out)
    return facts


def _with_files(block: dict[str, Any], out: Path) -> dict[str, Any]:
    """Returns a feature's block that names its file within the bundle, after copying it there."""
    if facts_file.WEIGHTS not in block:
        return block
    source = Path(block[facts_file.WEIGHTS])
    target = Path("features") / source.name
    (out / target).parent.mkdir(exist_ok=True)
    shutil.copyfile(source, out / target)
    return block | {facts_file.WEIGHTS: target.as_posix()}
