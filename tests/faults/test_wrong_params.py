"""Every key of params.yaml missing, misspelt, of the wrong type, out of range, NaN or huge.

The cases are made from the file and from the classes that check it, the block of every entry included: a new
key is put to the test by being there.
"""

from __future__ import annotations

import copy
import json
import math
import os
import random
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from stages.base import params, registry
from stages.base.errors import InputError
from tests.faults.conftest import Fault, draws
from tests.support import shipped
from tests.test_pipeline import STAGES

ROOT = Path(__file__).resolve().parents[2]
GOOD = shipped.values()
LONGEST_MESSAGE = 600  # characters: a sentence, and the choices it gives
HUGE = {int: 10**31, float: 1e300, str: "x" * 10**4, list: [["x"] * 10] * 100}
N_CHUNKS = 40

Path_ = tuple[str | int, ...]


@dataclass(frozen=True)
class Case:
    """A params.yaml with one fault.

    Attributes:
        kind: of the fault.
        path: of the key at fault.
        make: returns all of params.yaml.
    """

    kind: str
    path: Path_
    make: Callable[[], dict[str, Any]]


def classes() -> dict[Path_, type[BaseModel]]:
    """Returns the class that checks each entry's block, and under an empty path the one for the rest."""
    found: dict[Path_, type[BaseModel]] = {(): params.Params}
    for kind in registry.CONTRACTS:
        for name in registry.names(kind):
            found[kind, name] = getattr(registry.load(kind, name, kind), "Config", params.Block)
    return found


@cache
def cases() -> list[Case]:
    """Returns every case, in an order that is drawn once for all."""
    made = [case for path, cls in classes().items() for case in in_block(path, cls, at(GOOD, path))]
    random.Random(20).shuffle(made)
    return made


def in_block(path: Path_, cls: type[BaseModel], block: dict[str, Any]) -> Iterator[Case]:
    is_merged = path[:1] == ("models",) and path[2:] == ("training",)  # with the shared `training`
    for name, info in cls.model_fields.items():
        if name not in block and is_merged:
            continue
        own = (*path, name)
        if name not in GOOD["training"] or not is_merged:
            yield Case("missing", own, partial(without, own))
        yield Case("misspelt", (*path, f"{name}x"), partial(renamed, own, f"{name}x"))
        annotation = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
        yield from in_value(own, annotation, block[name])


def in_value(path: Path_, annotation: Any, value: Any) -> Iterator[Case]:
    for kind, wrong in wrong_values(annotation):
        yield Case(kind, path, partial(replaced, path, wrong))
    for part, _ in parts(annotation):
        if isinstance(part, type) and issubclass(part, BaseModel) and isinstance(value, dict):
            if path[0] == "models" and "blocks" in path and not {*value} <= {*part.model_fields}:
                continue  # the block is of the other kind that may stand here
            yield from in_block(path, part, value)
        elif get_origin(part) is list and value:
            yield from in_value((*path, 0), get_args(part)[0], value[0])


def parts(annotation: Any, constraints: tuple[Any, ...] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Yields each type that `annotation` allows, and what binds it."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        yield from parts(inner, (*constraints, *more))
    elif get_origin(annotation) in (Union, types.UnionType):
        for one in get_args(annotation):
            yield from parts(one, constraints)
    else:
        yield annotation, constraints


def wrong_values(annotation: Any) -> Iterator[tuple[str, Any]]:
    """Yields values that `annotation` does not allow, each with the kind of fault it is."""
    allowed = [*parts(annotation)]
    plain = [get_origin(part) or part for part, _ in allowed]
    choices = [choice for part, _ in allowed if get_origin(part) is Literal for choice in get_args(part)]
    is_block = any(isinstance(part, type) and issubclass(part, BaseModel) for part in plain)
    is_open = Any in plain
    fits = {
        "text": str in plain,
        3: int in plain or float in plain,
        3.5: float in plain,
        True: bool in plain,
        None: types.NoneType in plain,
    }
    yield from (("of the wrong type", value) for value, fit in fits.items() if not fit and not is_open)
    if not is_open and list not in plain:
        yield from (("of the wrong type", value) for value in ([], ["text"], [[]]))
        yield "huge", HUGE[list]
    if not is_open and dict not in plain and not is_block:
        yield from (("of the wrong type", value) for value in ({}, {"a": {"b": 1}}))
    if str not in plain and not is_open:
        yield "huge", HUGE[str]
    if choices:
        yield from (("out of range", value) for value in ("", "nonsense", str(choices[0]).upper() + " "))
    yield from (("NaN", value) for value in (math.nan, math.inf, -math.inf) if not is_open)
    if not is_open:
        yield from (("huge", value) for value in (HUGE[int], -HUGE[int], HUGE[float], -HUGE[float]))
    for part, constraints in allowed:
        for bound in constraints:
            yield from out_of_range(part, bound)


def out_of_range(part: Any, constraint: Any) -> Iterator[tuple[str, Any]]:
    bounds = {name: getattr(constraint, name, None) for name in ("ge", "gt", "le", "lt")}
    for extra in getattr(constraint, "metadata", []):  # a pydantic Field holds its bounds in a list
        bounds |= {name: getattr(extra, name) for name in bounds if hasattr(extra, name)}
    step = 1 if part is int else 1e-3
    for name, sign, within in (("ge", -1, True), ("gt", -1, False), ("le", 1, True), ("lt", 1, False)):
        if bounds[name] is not None and part in (int, float):
            yield "out of range", part(bounds[name] + sign * (step if within else 0))
    if getattr(constraint, "min_length", None) or any(
        hasattr(e, "min_length") for e in getattr(constraint, "metadata", [])
    ):
        yield "out of range", []


def at(values: Any, path: Path_) -> Any:
    for key in path:
        values = values[key]
    return values


def without(path: Path_) -> dict[str, Any]:
    values = copy.deepcopy(GOOD)
    del at(values, path[:-1])[path[-1]]
    return values


def renamed(path: Path_, name: str) -> dict[str, Any]:
    values = copy.deepcopy(GOOD)
    block = at(values, path[:-1])
    block[name] = block.pop(path[-1])
    return values


def replaced(path: Path_, wrong: Any) -> dict[str, Any]:
    values = copy.deepcopy(GOOD)
    at(values, path[:-1])[path[-1]] = wrong
    return values


def write(values: Any, path: Path) -> Path:
    """Writes `values` as JSON, which is YAML but for the names of what is no number."""
    text = json.dumps(values).replace("-Infinity", "-.inf").replace("Infinity", ".inf").replace("NaN", ".nan")
    path.write_text(text)
    return path


def read(case: Case, path: Path) -> None:
    """Does what stages do: reads the file, and of the registries the entry that is chosen."""
    chosen = params.read(write(case.make(), path))
    match case.path:
        case (kind, name, *_) if kind in registry.CONTRACTS:
            chosen.config(str(kind), str(name), "here")


def place(case: Case) -> str:
    """Returns the key as an error names it; what is wrong with a list's element may be said of the list."""
    keys = case.path[:-1] if case.kind == "huge" and case.path[-1] == 0 else case.path
    return ".".join(["params", *map(str, keys)])


@pytest.mark.parametrize("number", draws(sample=1, slow=4, campaign=N_CHUNKS))
def test_a_wrong_key_is_reported_in_one_line_that_names_it(fault: Fault, tmp_path: Path, number: int) -> None:
    chunk = cases()[number::N_CHUNKS]
    assert len(chunk) > 20
    for case in chunk:
        with fault(f"params.yaml: a key {case.kind}"):
            with pytest.raises(InputError) as error:
                read(case, tmp_path / "params.yaml")
            check_message(str(error.value), place(case))


def check_message(message: str, named: str) -> None:
    assert named in message
    assert message.isprintable()
    assert len(message) <= LONGEST_MESSAGE, message


LAUGHS = "\n".join(
    ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, 40))]
)
NO_PARAMS = {
    "empty": "",
    "a list": "[]",
    "a text": "text",
    "no UTF-8": b"seed: \xff\xfe",
    "a NUL": "seed: \0",
    "a tab": "seed:\n\t- 20",
    "an open bracket": "seed: [",
    "nested lists": "seed: " + "[" * 100_000 + "]" * 100_000,
    "nested blocks": "\n".join(" " * depth + "a:" for depth in range(200)),
    "nested lists of blocks": "- " * 5000,
    "a number of 5000 digits": "seed: " + "9" * 5000,
    "a number of 5000 hexadecimal digits": "seed: 0x" + "f" * 5000,
    "a day that is none": "seed: 2020-13-45",
    "a tag that would run code": "seed: !!python/object/apply:os.system [touch ran]",
    "a tag that does not fit": "seed: !!int text",
    "a merge of nothing": "<<: 3",
    "a list as a key": "? [a]\n: 1",
    "a number as a key": "1: 2",
    "no key": ": 2",
    "a key of many lines": json.dumps("a\nb" * 1000) + ": 1",
    "a key without end": "x" * 10**5 + ": 1",
    "a key twice": "seed: 20\nseed: 20",
    "a billion laughs": LAUGHS + "\ncorpus: *a39",
    "itself within itself": "corpus: &a [*a]",
}


@pytest.mark.parametrize("text", NO_PARAMS.values(), ids=NO_PARAMS)
def test_a_file_that_is_not_a_params_yaml_is_reported_in_one_line(
    fault: Fault, tmp_path: Path, text: str | bytes
) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with fault("params.yaml: none at all"):
        with pytest.raises(InputError) as error:
            params.read(path)
        check_message(str(error.value), "params")


@pytest.mark.parametrize("number", draws(sample=1, slow=2, campaign=10))
def test_a_typing_mistake_is_reported_in_one_line_or_is_harmless(
    fault: Fault, tmp_path: Path, number: int
) -> None:
    draw, path = random.Random(f"slip:{number}"), tmp_path / "params.yaml"
    text = shipped.text()
    for _ in range(50):
        start = draw.randrange(len(text))
        slip = draw.choice(
            ["", " ", "\n", ":", "-", "#", "'", "{", "&", "*", "!", "%", "\t", "0", "é", "\x07"]
        )
        path.write_text(text[:start] + slip + text[start + draw.randrange(4) :])
        with fault("params.yaml: a typing mistake"):
            try:
                params.read(path)
            except InputError as error:
                check_message(str(error), "params")


@pytest.mark.parametrize("number", draws(sample=0, slow=2, campaign=16))
def test_a_stage_with_a_wrong_key_runs_nothing(fault: Fault, tmp_path: Path, number: int) -> None:
    """In a process of its own, as DVC starts it: exit code 1, one line, and not one file."""
    general = [case for case in cases() if len(case.path) > 1 and case.path[0] not in registry.CONTRACTS]
    case = general[number]
    write(case.make(), tmp_path / "params.yaml")
    with fault("params.yaml: a stage with a wrong key"):
        done = subprocess.run(
            [sys.executable, "-m", f"stages.{STAGES[number % 8]}"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout) == (1, ""), done.stderr
        [line] = done.stderr.splitlines()
        assert line.startswith("error: ")
        check_message(line, place(case))
        assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]
