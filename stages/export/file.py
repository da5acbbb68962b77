"""Writes the trained model as one file, from samples to probabilities."""

from __future__ import annotations

from pathlib import Path

from stages.base.errors import InputError, unknown
from stages.base.params import Params
from stages.export import graph, litert, onnx
from stages.export.front_end import FrontEnd
from stages.learning import trained_fold

FORMATS = {"onnx": onnx.convert, "litert": litert.convert}
SUFFIXES = {"onnx": ".onnx", "litert": ".tflite"}
RATE = "sample_rate_hz"  # a fact that every exported file has, and by which one is known


def write(params: Params, out: Path, fold: int | None, to: str = "onnx") -> None:
    """Writes the workspace's trained model.

    Args:
        out: the file, with the suffix of its format; an earlier export is replaced.
        fold: the number of one fold, None for the mean of all.
        to: one of FORMATS.

    Raises:
        InputError: see `trained_fold.trained`; or `out` has another suffix or is a file of another origin; or
            the model, its layout or a feature has no graph, or it needs the statistics of other recordings.
    """
    _check_out(out, to)
    folds = trained_fold.trained(params)
    if (normalize := params.train.normalize) != "global":
        raise InputError(
            f"params.train.normalize: '{normalize}' needs the statistics of other recordings, and an "
            "exported file takes one. Use the bundle, or train with 'global'."
        )
    if fold is not None:
        numbers = [str(each.number) for each in folds]
        folds = [each for each in folds if each.number == fold]
        if not folds:
            raise unknown("--fold", str(fold), numbers)
    config = folds[0].config
    features = {name: params.config("features", name, "params.features") for name in config.inputs.features}
    front_end = FrontEnd(params.audio, params.spectrum, features)
    answer = graph.whole(front_end, folds)
    classes = folds[0].record["classes"]
    facts = {"classes": "\n".join(classes), RATE: str(params.audio.sample_rate_hz)}
    FORMATS[to](answer, (None,), out, facts)


def _check_out(out: Path, to: str) -> None:
    """Raises InputError if `out` has not the name of an exported file, or is a file that is none."""
    if out.suffix != SUFFIXES[to]:
        raise InputError(f"{out}: not a name for '{to}'. Choose one that ends in {SUFFIXES[to]}.")
    if out.is_file() and RATE.encode() not in out.read_bytes():
        raise InputError(f"{out}: exists and was not written by `ser export`. Choose another name.")
