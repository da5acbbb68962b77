"""Mutation testing of stages/splitting/leak.py: which small changes its tests notice.

`python -m tests.faults.mutate_leak` prints a JSON object of each change and whether a test fails, and
`python -m tests.faults.mutate_leak 1 3` that of every third change from the second on.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import io
import json
import sys
import types
from collections.abc import Iterator
from itertools import islice

import pytest

import stages.splitting
from tests.support.workspace import ROOT

GATE = ROOT / "stages" / "splitting" / "leak.py"
TESTS = [
    str(ROOT / "tests" / "splitting" / "test_leak.py"),
    str(ROOT / "tests" / "faults" / "test_leak_gate.py"),
]

OPPOSITE: dict[type, type] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Gt: ast.LtE,
    ast.Lt: ast.GtE,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
OTHER_WORD = {"test": "train", "train": "validation", "sha256": "clip", "audio_sha256": "clip"}
OTHER_WORD |= {"speaker": "sentence", "sentence": "speaker", "corpus": "fold", "fold": "corpus"}


def mutants() -> Iterator[tuple[str, ast.Module]]:
    """Yields each change, with its line, and the changed code."""
    tree = ast.parse(GATE.read_text())
    # Which of two sides is called which does not matter.
    sides = [node.args[-1] for node in ast.walk(tree) if isinstance(node, ast.Call) and len(node.args) == 3]
    for number, node in enumerate(ast.walk(tree)):
        for change in [] if node in sides else changes(node):
            mutant = copy.deepcopy(tree)
            twin = next(twin for i, twin in enumerate(ast.walk(mutant)) if i == number)
            text = change(twin)
            place = f"{getattr(node, 'lineno', 0)}:{getattr(node, 'col_offset', 0)}"
            yield f"{place}: {text}", ast.fix_missing_locations(mutant)


def changes(node: ast.AST) -> Iterator[types.FunctionType]:
    """Yields functions that change such a node in place and describe the change."""
    match node:
        case ast.Compare(ops=[op]) if type(op) in OPPOSITE:
            yield opposite
        case ast.BinOp(op=ast.BitAnd() | ast.BitOr()) if not isinstance(node.right, ast.Name):
            yield other_side
        case ast.UnaryOp(op=ast.Not() | ast.Invert()):
            yield nothing_inverted
        case ast.If():
            yield never
        case ast.Dict(keys=[_, *_]):
            for at in range(len(node.keys)):
                yield without_entry(at)
        case ast.Assign(targets=[ast.Subscript()]):
            yield nothing_assigned
        case ast.Return(value=ast.Subscript() | ast.Call()) if "splits" in names(node) or "rows" in names(
            node
        ):
            yield nothing_found
        case ast.Constant(value=int()):
            yield one_more
        case ast.Constant(value=str() as word) if word in OTHER_WORD:
            yield other_word


def names(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def opposite(node: ast.Compare) -> str:
    was = ast.unparse(node)
    node.ops = [OPPOSITE[type(node.ops[0])]()]
    return f"{was} -> {ast.unparse(node)}"


def other_side(node: ast.BinOp) -> str:
    was = ast.unparse(node)
    node.op = OPPOSITE[type(node.op)]()
    return f"{was} -> {ast.unparse(node)}"


def nothing_inverted(node: ast.UnaryOp) -> str:
    was = ast.unparse(node)
    node.op = ast.UAdd() if isinstance(node.op, ast.Not) else ast.Invert()
    node.operand = node.operand if isinstance(node.op, ast.UAdd) else ast.UnaryOp(ast.Invert(), node.operand)
    return f"{was} -> the same, not inverted"


def never(node: ast.If) -> str:
    was = ast.unparse(node.test)
    node.test = ast.Constant(False)
    return f"if {was} -> never"


def without_entry(at: int) -> types.FunctionType:
    def left_out(node: ast.Dict) -> str:
        key = node.keys.pop(at)
        node.values.pop(at)
        return f"without {ast.unparse(key) if key else at}"

    return left_out  # type: ignore[return-value]


def nothing_assigned(node: ast.Assign) -> str:
    was = ast.unparse(node.targets[0])
    node.targets = [ast.Name("_", ast.Store())]
    return f"without {was}"


def nothing_found(node: ast.Return) -> str:
    was = ast.unparse(node)
    node.value = ast.Subscript(node.value, ast.Slice(upper=ast.Constant(0)), ast.Load())  # type: ignore[arg-type]
    return f"{was} -> nothing of it"


def one_more(node: ast.Constant) -> str:
    node.value += 1  # type: ignore[operator]
    return f"{node.value - 1} -> {node.value}"  # type: ignore[operator]


def other_word(node: ast.Constant) -> str:
    was = node.value
    node.value = OTHER_WORD[str(was)]
    return f"{was} -> {node.value}"


def noticed(mutant: ast.Module) -> bool:
    """Returns whether a test of the leakage check fails with this code."""
    for name in [name for name in sys.modules if name.endswith(("test_leak", "test_leak_gate"))]:
        del sys.modules[name]
    gate = types.ModuleType("stages.splitting.leak")
    sys.modules["stages.splitting.leak"] = stages.splitting.leak = gate  # type: ignore[attr-defined]
    exec(compile(mutant, str(GATE), "exec"), gate.__dict__)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        status = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow and not faults", *TESTS])
    return status == pytest.ExitCode.TESTS_FAILED


def main(first: int = 0, step: int = 1) -> None:
    if noticed(ast.parse(GATE.read_text())):
        raise SystemExit("the unchanged leakage check fails its tests")
    print(json.dumps({text: noticed(mutant) for text, mutant in islice(mutants(), first, None, step)}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
