"""Runs a fold's model with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.base.errors import InputError, one_line
from stages.data import onnx
from stages.learning.preprocessing import Clips


def probabilities(
    path: Path, shape: Sequence[int], padded: Sequence[int], n_classes: int
) -> Callable[[Clips], NDArray[np.float64]]:
    """Returns the function from prepared clips to probabilities, float64 (n_clips, n_classes).

    Args:
        path: of the ONNX file.
        shape: of a prepared clip.
        padded: the numbers of steps that shorter clips are padded to, the longest last; empty for one length.
        n_classes: of the model.

    Raises:
        InputError: onnxruntime is missing, or the file is not a model of these shapes.
    """
    session = onnx.session(path, "bundle")
    lengths = np.array(padded)

    def run(clips: Clips) -> NDArray[np.float64]:
        if not len(lengths):
            return _run(session, clips.x, path, n_classes)
        of_clips = lengths[np.searchsorted(lengths, clips.lengths)]
        out = np.empty((len(clips), n_classes))
        for length in np.unique(of_clips):
            some = of_clips == length
            out[some] = _run(session, clips.x[some, :length], path, n_classes)
        return out

    run(Clips(np.zeros((1, *shape), np.float32), np.ones(1, np.int64)))
    return run


def _run(session: Any, x: NDArray[np.float32], path: Path, n_classes: int) -> NDArray[np.float64]:
    try:
        (name,) = [wanted.name for wanted in session.get_inputs()]
        (out,) = session.run(None, {name: x})
    except Exception as error:
        raise InputError(f"{path}: does not take the bundle's input ({one_line(error)}).") from error
    if out.shape != (len(x), n_classes) or not np.isfinite(out).all():
        raise InputError(f"{path}: does not return {n_classes} probabilities per clip.")
    return np.asarray(out, np.float64)
