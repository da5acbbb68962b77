"""From a TensorFlow graph to an ONNX file."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from stages.base.errors import extra
from stages.base.files import write

OPSET = 18


def convert(
    function: Callable[[tf.Tensor], tf.Tensor],
    shape: tuple[int | None, ...],
    path: Path,
    facts: dict[str, str] | None = None,
) -> None:
    """Writes a function of one float32 tensor as an ONNX file with the input `input` and the output `output`.

    The same function gives the same bytes.

    Args:
        shape: of the tensor; None where it varies.

    Raises:
        InputError: the extra `export` is not installed.
    """
    with extra("export", "ONNX export"):
        import tf2onnx

        from stages.export import canonical
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    signature = [tf.TensorSpec(shape, tf.float32, name="input")]
    graph = tf.function(
        lambda x: tf.identity(function(x), name="output"), input_signature=signature, autograph=False
    )
    model: Any
    model, _ = tf2onnx.convert.from_function(graph, signature, opset=OPSET)
    canonical.rename(model.graph)
    for name, value in (facts or {}).items():
        model.metadata_props.add(key=name, value=value)
    write(model.SerializeToString(deterministic=True), path)
