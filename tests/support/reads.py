"""Writes the parameters that stages read: `python -m tests.support.reads reads.json split augment`."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from stages.base import params, registry


class Entries(dict):
    """A registry's raw blocks, which notes the entries asked for."""

    def __init__(self, blocks: dict[str, Any], place: str, seen: set[str]) -> None:
        super().__init__(blocks)
        self.place, self.seen = place, seen

    def __getitem__(self, name: str) -> Any:
        self.seen.add(f"{self.place}.{name}")
        return super().__getitem__(name)


def watch(block: params.Block, place: str, seen: set[str]) -> None:
    """Makes `block` note in `seen` every value read of it, `<place><name>`, and the blocks in it likewise."""
    plain = set()
    for name, value in [*block]:
        if isinstance(value, params.Block):
            watch(value, f"{place}{name}.", seen)
        elif isinstance(block, params.Params) and name in registry.CONTRACTS:
            block.__dict__[name] = Entries(value, name, seen)
        else:
            plain.add(name)

    class Watched(type(block)):  # type: ignore[misc]
        def __getattribute__(self, name: str) -> Any:
            if name in plain:
                seen.add(f"{place}{name}")
            return super().__getattribute__(name)

        def model_dump(self, **options: Any) -> dict[str, Any]:
            seen.update(f"{place}{name}" for name in plain - set(options.get("exclude") or ()))
            values: dict[str, Any] = super().model_dump(**options)
            return values

    object.__setattr__(block, "__class__", Watched)


def main(path: str, *verbs: str) -> None:
    seen: dict[str, set[str]] = {}
    read = params.read

    def watched() -> params.Params:
        chosen = read()
        watch(chosen, "", seen[verb])
        return chosen

    params.read = watched  # type: ignore[assignment]
    for verb in verbs:
        seen[verb] = set()
        importlib.import_module(f"stages.{verb}").main()
    Path(path).write_text(json.dumps({verb: sorted(names) for verb, names in seen.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
