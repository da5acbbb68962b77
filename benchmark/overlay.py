"""The files in benchmark/systems: what a report tells, and how its system is run by this pipeline.

A system is an overlay on params.yaml: `params`, then those of a variant, then those of a protocol. Blocks are
merged, key by key; lists and values replace what stands there.
"""

from __future__ import annotations

import copy
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.core.errors import InputError, unknown
from stages.core.params import PARAMS, Block, Params, Positive, check, read

SYSTEMS = Path("benchmark/systems")

# Blocks of params.yaml whose keys are the user's own; all others have the keys that they have.
OPEN_BLOCKS = ("split.labels.merge", "split.lists")

Score = Annotated[float, Field(gt=0, le=1)]
Protocol = Literal["as_reported", "speaker_independent"]


class Report(Block):
    """What the report tells; null where it does not.

    Attributes:
        source: the report, in a few words.
        split: how it parted the clips.
        scored_on: the clips that its numbers are of.
        accuracy, f1: as published, in [0, 1].
        train_seconds: as published, on its machine.
    """

    source: str
    split: str
    scored_on: Literal["test", "validation"] | None
    accuracy: Score | None
    f1: Score | None
    train_seconds: Positive | None


class Variant(Block):
    """One set of recordings or features that a system is run on.

    Attributes:
        role: `reported`: what the report's numbers are of; `stand_in`: as near to it as a corpus at hand
            comes; `further`: what the report compares besides.
        about: what it is, in a few words.
        params: overlay on params.yaml.
    """

    role: Literal["reported", "stand_in", "further"]
    about: str
    params: dict[str, Any]


class System(Block):
    """A published system.

    Attributes:
        title: what it is, in a few words.
        report: what is published of it.
        note: what a reader of its row must know (fewer epochs, one fold), or "".
        needs: what has to be at hand beside the corpora: its name, and the key of params.yaml that tells
            where. A row that lacks it is not run.
        params: overlay on params.yaml.
        variants: by name, the most telling first.
        protocols: overlay on params.yaml of the report's protocol and of ours.
    """

    title: str
    report: Report
    note: str
    needs: dict[str, str]
    params: dict[str, Any]
    variants: Annotated[dict[str, Variant], Field(min_length=1)]
    protocols: Annotated[dict[Protocol, dict[str, Any]], Field(min_length=2)]


@dataclass(frozen=True)
class Run:
    """One row of the benchmark.

    Attributes:
        system, variant, protocol: its names.
        values: the whole of params.yaml, overlaid.
        needs: what has to be at hand beside the corpora, and what params.yaml names; null needs nothing.
    """

    system: str
    variant: str
    protocol: Protocol
    values: dict[str, Any]
    needs: dict[str, str | None]

    @property
    def name(self) -> str:
        return f"{self.variant}-{self.protocol}"

    @property
    def block(self) -> dict[str, Any]:
        """The selected model's block."""
        block: dict[str, Any] = self.values["models"][self.values["model"]]
        return block

    def params(self) -> Params:
        """Returns the checked parameters, the model's own included.

        Raises:
            InputError: a key or value is at fault.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / PARAMS.name
            write(self.values, path)
            try:
                params = read(path)
                params.config("models", params.model, "params.model")
            except InputError as error:
                raise InputError(f"{SYSTEMS / self.system}.yaml, {self.name}: {error}") from error
        return params


def names() -> list[str]:
    """Returns the systems, sorted."""
    return sorted(path.stem for path in SYSTEMS.glob("*.yaml"))


def load(name: str) -> System:
    """Returns a system.

    Raises:
        InputError: there is no such file, or a fault in it.
    """
    if not SYSTEMS.is_dir():
        raise InputError(f"{SYSTEMS}: no such folder. Run this from the repository's root.")
    if name not in names():
        raise unknown(str(SYSTEMS), name, names())
    path = SYSTEMS / f"{name}.yaml"
    return check(System, parse(path), str(path))


def runs(name: str, base: dict[str, Any]) -> list[Run]:
    """Returns the rows of a system: each variant by each protocol.

    Args:
        name: of the system.
        base: the content of params.yaml.

    Raises:
        InputError: the system's file has a fault, or a key that params.yaml does not have.
    """
    system, path = load(name), SYSTEMS / f"{name}.yaml"
    found = []
    for variant, chosen in system.variants.items():
        for protocol, split in system.protocols.items():
            values = overlaid(base, system.params, f"{path}: params")
            values = overlaid(values, chosen.params, f"{path}: variants.{variant}.params")
            values = overlaid(values, split, f"{path}: protocols.{protocol}")
            needs = {title: _at(values, key, f"{path}: needs.{title}") for title, key in system.needs.items()}
            found.append(Run(name, variant, protocol, values, needs))
    return found


def _at(values: Any, key: str, place: str) -> Any:
    """Returns the value under a key with dots."""
    for part in key.split("."):
        if not isinstance(values, dict) or part not in values:
            raise InputError(f"{place}: params.yaml has no '{key}'.")
        values = values[part]
    return values


def overlaid(base: dict[str, Any], overlay: dict[str, Any], place: str, block: str = "") -> dict[str, Any]:
    """Returns a copy of `base` with the values of `overlay`.

    Args:
        place: where the overlay stands, for the error.
        block: the key of params.yaml that `base` stands under.

    Raises:
        InputError: `overlay` has a key that `base` has not.
    """
    merged = copy.deepcopy(base)
    for key, value in overlay.items():
        if key not in base and block not in OPEN_BLOCKS:
            raise unknown(place, key, map(str, base))
        below = f"{block}.{key}".lstrip(".")
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            merged[key] = overlaid(base[key], value, f"{place}.{key}", below)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def parse(path: Path) -> Any:
    """Returns the content of a YAML file.

    Raises:
        InputError: it is missing or no YAML.
    """
    try:
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}. Run this from the repository's root.") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from error


def write(values: dict[str, Any], path: Path) -> None:
    """Writes `values` as YAML with lists in block style."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(values, path)
