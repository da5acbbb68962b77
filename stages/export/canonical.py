"""Gives an ONNX graph names and an order that only depend on what it computes.

tf2onnx merges equal constants and keeps the name of any of them, another one in each run. Without that, the
same model would have another checksum each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import onnx
from onnx import numpy_helper


def rename(graph: onnx.GraphProto) -> None:
    """Orders and renames everything in a graph but its inputs, and merges equal constants.

    Its one output is called `output`.
    """
    (output,) = graph.output
    _rename(graph, {value.name: value.name for value in graph.input} | {output.name: "output"}, count())


def _rename(graph: onnx.GraphProto, names: dict[str, str], numbers: Iterator[int]) -> None:
    """Renames a graph whose inputs are already in `names`, and the graphs in it."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    merged: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    kept = []
    nodes = _ordered(graph)
    outputs = onnx.NodeProto(input=[value.name for value in graph.output])  # one may be a constant
    for node in (*nodes, outputs):
        for name in _used(node):
            if name in constants and name not in names:
                tensor = constants[name]
                value = tensor.data_type, tuple(tensor.dims), numpy_helper.to_array(tensor).tobytes()
                if value not in merged:
                    merged[value] = tensor.name = f"c{next(numbers)}"
                    kept.append(tensor)
                names[name] = merged[value]
        for inner in _graphs(node):
            for given in inner.input:
                names[given.name] = f"t{next(numbers)}"
                given.name = names[given.name]
            _rename(inner, dict(names), numbers)
        for field in ("name", "doc_string", *([] if node.domain else ["domain"])):
            node.ClearField(field)  # an empty one may be written or not
        node.input[:] = [names[name] if name else "" for name in node.input]
        node.output[:] = [names.setdefault(name, f"t{next(numbers)}") if name else "" for name in node.output]
    for value in graph.output:
        value.name = names[value.name]
    graph.name = "graph"
    graph.ClearField("doc_string")  # it has a number of TensorFlow's, of the functions that the process made
    for value in (*graph.input, *graph.output):
        for i, size in enumerate(value.type.tensor_type.shape.dim):
            if size.HasField("dim_param"):  # one that varies; its name is numbered by chance
                size.dim_param = f"{value.name}_{i}"
    kept = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    for field, content in (("initializer", kept), ("node", nodes), ("value_info", [])):
        graph.ClearField(field)
        getattr(graph, field).extend(content)


def _ordered(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Returns the nodes that the outputs need, each after those that it needs."""
    for node in graph.node:
        for inner in _graphs(node):
            _source_first(inner)
            nodes = [onnx.NodeProto.FromString(each.SerializeToString()) for each in _ordered(inner)]
            inner.ClearField("node")
            inner.node.extend(nodes)
    nodes = list(graph.node)
    maker = {name: i for i, node in enumerate(nodes) for name in node.output if name}
    done: dict[int, None] = {}
    waiting = [value.name for value in graph.output][::-1]
    while waiting:
        i = maker.get(waiting[-1])
        if i is None or i in done:
            waiting.pop()
        elif needed := [name for name in _used(nodes[i]) if name in maker and maker[name] not in done]:
            waiting += reversed(needed)
        else:
            done[i] = None
    return [nodes[i] for i in done]


def _source_first(graph: onnx.GraphProto) -> None:
    """Of two outputs of a loop that are one value, makes the second one the copy."""
    for node in graph.node:
        outputs = [value.name for value in graph.output]
        if node.op_type == "Identity" and {*node.input, *node.output} <= {*outputs}:
            names = (node.input[0], node.output[0])
            for i, name in zip(sorted(map(outputs.index, names)), names, strict=True):
                graph.output[i].name = name


def _graphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    return [attribute.g for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH]


def _used(node: onnx.NodeProto) -> list[str]:
    """Returns the names that a node uses, those in its graphs included."""
    names = list(node.input)
    for inner in _graphs(node):
        names += [name for each in inner.node for name in _used(each)]
        names += [value.name for value in inner.output]
    return names
