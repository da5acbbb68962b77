"""Writes the trained model as one ONNX file, from samples to probabilities."""

from __future__ import annotations

from pathlib import Path

from stages.base import registry
from stages.base.errors import unknown
from stages.base.params import Params
from stages.export import graph, onnx
from stages.export.front_end import FrontEnd
from stages.inference import workspace


def write(params: Params, out: Path, fold: int | None) -> None:
    """Writes the workspace's trained model.

    Args:
        params: all parameters.
        out: the file.
        fold: the number of one fold, None for the mean of all.

    Raises:
        InputError: see `workspace.folds`; or the model, its layout or a feature has no graph.
    """
    folds = workspace.folds(params)
    if fold is not None:
        numbers = [str(each.number) for each in folds]
        folds = [each for each in folds if each.number == fold]
        if not folds:
            raise unknown("--fold", str(fold), numbers)
    config = folds[0].config
    features = {name: params.config("features", name, "params.features") for name in config.inputs.features}
    front_end = FrontEnd(params.audio, params.spectrum, features)
    trainers = [registry.load("models", params.model, "params.model").trainer(each.config) for each in folds]
    answer = graph.whole(front_end, trainers, folds)
    classes = folds[0].record["classes"]
    facts = {"classes": ",".join(classes), "sample_rate_hz": str(params.audio.sample_rate_hz)}
    onnx.convert(answer, (None,), out, facts)
