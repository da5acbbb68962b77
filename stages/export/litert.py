"""From a TensorFlow graph to a LiteRT file (formerly TensorFlow Lite)."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
from tensorflow.lite.python.convert import ConverterError

from stages.base.errors import InputError
from stages.base.files import write
from stages.compute import hardware


def convert(
    function: Callable[[tf.Tensor], tf.Tensor],
    shape: tuple[int | None, ...],
    path: Path,
    facts: dict[str, str],
) -> None:
    """Writes a function of one float32 tensor as a LiteRT file: input `input`, output `output`.

    It has built-in operations only, so the plain runtime computes it.

    Args:
        shape: of the tensor; None where it varies.
        facts: stored in a zip archive behind the model, as is usual for LiteRT; `unzip` shows them.

    Raises:
        InputError: an operation of the function is not built in.
    """
    module = tf.Module()
    module.answer = tf.function(
        lambda x: {"output": function(x)},
        input_signature=[tf.TensorSpec(shape, tf.float32, name="input")],
        autograph=False,
    )
    graph = module.answer.get_concrete_function()
    module.weights = graph.variables  # the names of input and output are lost if the module lacks some
    converter = tf.lite.TFLiteConverter.from_concrete_functions([graph], module)
    try:
        with hardware.quiet():
            model = converter.convert()
    except ConverterError as error:
        raise InputError(
            "export: LiteRT lacks an operation of this model, such as those of recurrent layers for any "
            "number of windows. Use `--to onnx`."
        ) from error
    archive = io.BytesIO(model)
    with zipfile.ZipFile(archive, "a") as files:
        for name, value in facts.items():
            files.writestr(zipfile.ZipInfo(name), value)
    write(archive.getvalue(), path)
