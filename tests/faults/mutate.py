"""Mutation testing: which small changes of the code that results depend on do its own tests notice?

    nice python -m tests.faults.mutate record.jsonl 20    20 random mutants of each module in TESTS
    nice python -m tests.faults.mutate record.jsonl       the survivors in the record once more

A mutant is one module with one operator, comparison, condition or number changed. Each is tried in a process
of its own, one at a time, and gets a line in the record, so a stopped run goes on where it stopped. Run it in
a clone: code that is edited meanwhile would be mixed into the trials.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import itertools
import json
import multiprocessing
import os
import random
import resource
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TESTS = {  # the quickest first
    "learning/profile": ["tests/learning/test_profile.py"],
    "learning/preprocessing": ["tests/learning/test_preprocessing.py"],
    "learning/calibration": ["tests/learning/test_calibration.py"],
    "audio/quality": ["tests/audio/test_quality.py"],
    "splitting/leak": ["tests/splitting/test_leak.py"],
    "evaluation/paired": ["tests/evaluation/test_paired.py"],
    "data/shards": ["tests/data/test_shards.py"],
    "audio/recording": ["tests/audio/test_recording.py"],
    "evaluation/metrics": ["tests/evaluation/test_metrics.py"],
    "splitting/protocols": ["tests/splitting/test_protocols.py"],
}
# Imported once for all trials.
LIBRARIES = ["hypothesis", "pandas", "pandera.pandas", "scipy.optimize", "scipy.stats", "sklearn.metrics"]
LIBRARIES += ["psutil", "pydantic", "ruamel.yaml", "sklearn.model_selection", "skops.io", "soundfile", "soxr"]
CPU_S = 300  # a mutant that needs more never ends

COMPARISONS: dict[type, list[type]] = {
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
}
OPERATORS: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "minimum": "maximum", "maximum": "minimum"}

Change = Callable[[ast.AST], None]


@dataclass(frozen=True)
class Mutant:
    """A module below stages, its changed code, and the change in words."""

    module: str
    tree: ast.Module
    change: str


def places(module: str) -> list[tuple[str, int, Change]]:
    """Returns every possible change of a module, with the number of the node that it changes."""
    tree = source(module)
    unchangeable = {id(node) for part in annotations(tree) for node in ast.walk(part)}
    return [
        (module, number, change)
        for number, node in enumerate(ast.walk(tree))
        if id(node) not in unchangeable
        for change in changes(node)
    ]


def source(module: str) -> ast.Module:
    """Returns the code of a module below stages."""
    return ast.parse((ROOT / "stages" / f"{module}.py").read_text())


def mutant_at(module: str, number: int, change: Change) -> Mutant:
    """Returns a module with one of its `places` changed."""
    tree = source(module)
    node = next(itertools.islice(ast.walk(tree), number, None))
    before = textwrap.shorten(ast.unparse(part(node)), 100)
    change(node)
    after = textwrap.shorten(ast.unparse(part(node)), 100)
    place = f"{getattr(node, 'lineno', 0)}:{getattr(node, 'col_offset', 0)}"
    return Mutant(module, ast.fix_missing_locations(tree), f"{place}: {before} -> {after}")


def part(node: ast.AST) -> ast.AST:
    """Returns what is shown of a node."""
    return node.test if isinstance(node, ast.If | ast.IfExp | ast.While) else node


def annotations(tree: ast.Module) -> Iterator[ast.AST]:
    """Yields the parts that are never run, or only describe types."""
    for node in ast.walk(tree):
        for name in ("annotation", "returns"):
            if isinstance(part := getattr(node, name, None), ast.AST):
                yield part
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                yield node
            case ast.Assign(value=ast.Subscript(value=ast.Name(id="NDArray" | "Callable" | "Annotated"))):
                yield node


def changes(node: ast.AST) -> Iterator[Change]:
    """Yields functions that change a node in place: one small change each."""
    match node:
        case ast.Compare(ops=[op]):
            for other in COMPARISONS[type(op)]:
                yield lambda twin, other=other: twin.ops.__setitem__(0, other())
        case ast.BinOp() | ast.BoolOp() | ast.AugAssign() if type(node.op) in OPERATORS:
            yield lambda twin: setattr(twin, "op", OPERATORS[type(twin.op)]())
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert()):  # twice is not at all
            yield lambda twin: setattr(twin, "operand", ast.UnaryOp(twin.op, twin.operand))
        case ast.If() | ast.IfExp() | ast.While():
            yield lambda twin: setattr(twin, "test", ast.UnaryOp(ast.Not(), twin.test))
        case ast.Constant(value=bool()):
            yield lambda twin: setattr(twin, "value", not twin.value)
        case ast.Constant(value=int()):
            for step in (1, -1):
                yield lambda twin, step=step: setattr(twin, "value", twin.value + step)
        case ast.Constant(value=float()):
            for factor in (1.1, 0.5):
                yield lambda twin, factor=factor: setattr(twin, "value", twin.value * factor or 0.1)
        case ast.Name(id=name) if name in NAMES:
            yield lambda twin: setattr(twin, "id", NAMES[twin.id])
        case ast.Attribute(attr=name) if name in NAMES:
            yield lambda twin: setattr(twin, "attr", NAMES[twin.attr])


def noticed(mutant: Mutant) -> bool:
    """Returns whether a test of the module fails, or never ends, with the changed code."""
    process = multiprocessing.get_context("fork").Process(target=try_out, args=[mutant])
    process.start()
    process.join()
    return process.exitcode != 0


def try_out(mutant: Mutant) -> None:
    """Ends this process with the exit code of the tests, for which the module is the mutant."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    name = f"stages.{mutant.module.replace('/', '.')}"
    code = compile(mutant.tree, f"{ROOT}/stages/{mutant.module}.py", "exec")
    original = SourceFileLoader.get_code

    def get_code(loader: SourceFileLoader, fullname: str) -> types.CodeType | None:
        return code if fullname == name else original(loader, fullname)

    SourceFileLoader.get_code = get_code  # type: ignore[method-assign]
    # Plain: else pytest compiles the module itself, whose path it gets for the doctests.
    options = ["--assert=plain", "-x", "-q", "-p", "no:cacheprovider", "-m", "not slow and not faults"]
    with Path(os.devnull).open("w") as nowhere:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere.fileno(), stream.fileno())
        os._exit(pytest.main([*options, f"stages/{mutant.module}.py", *TESTS[mutant.module]]))


def main(record: Path, n_each: int | None) -> None:
    lines = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    known = {(line["module"], line["change"]): line["noticed"] for line in lines}
    chosen = []
    for module in TESTS:
        every = places(module)
        if n_each is None:
            again = (mutant_at(*place) for place in every)
            chosen += [mutant for mutant in again if known.get(key(mutant)) is False]
        else:  # the same ones every time
            drawn = random.Random(module).sample(every, min(n_each, len(every)))
            chosen += [mutant for place in drawn if key(mutant := mutant_at(*place)) not in known]
    for library in LIBRARIES:
        importlib.import_module(library)
    unchanged: set[str] = set()  # whose tests pass without a change
    for mutant in chosen:
        if mutant.module not in unchanged:
            if noticed(Mutant(mutant.module, source(mutant.module), "nothing")):
                raise SystemExit(f"stages/{mutant.module}.py fails its tests without a change")
            unchanged.add(mutant.module)
        known[key(mutant)] = noticed(mutant)
        with record.open("a") as file:
            line = {"module": mutant.module, "change": mutant.change, "noticed": known[key(mutant)]}
            file.write(json.dumps(line) + "\n")
    print("\n".join(f"{module}, {change}" for (module, change), found in known.items() if not found))
    print(f"{len(known)} mutants tried, noticed: {sum(known.values())}")


def key(mutant: Mutant) -> tuple[str, str]:
    return mutant.module, mutant.change


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("record", type=Path, help="JSON lines, which are added to")
    parser.add_argument("number", type=int, nargs="?", help="mutants of each module; none: survivors again")
    arguments = parser.parse_args()
    main(arguments.record, arguments.number)
