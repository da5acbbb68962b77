"""Loading ONNX files, so that one gives the same bytes in every process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages.base.errors import InputError, one_line


def session(path: Path, place: str) -> Any:
    """Returns an `onnxruntime.InferenceSession` of one thread.

    Args:
        place: what needs it, for errors.

    Raises:
        InputError: onnxruntime is missing, or the file is not a model that it loads.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(f"{place}: needs onnxruntime. Run `pip install onnxruntime`.") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # more threads, other last bits
    options.log_severity_level = 4  # errors are raised, not printed
    try:
        # The bytes, not the path: a model could name other files as its weights.
        return onnxruntime.InferenceSession(path.read_bytes(), options, ["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no other class
        raise InputError(f"{path}: not a model that ONNX Runtime loads ({one_line(error)}).") from error
