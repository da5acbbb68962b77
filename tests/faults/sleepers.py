"""Starts workers that sleep, as a stage does: `python -m tests.faults.sleepers three_shards folder`."""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from typing import Literal

from numpy.typing import NDArray

from stages.acquire import espeak
from stages.base.params import Compute
from stages.compute.fill import fill
from stages.data import shards


def sleep(started: Path) -> dict[str, NDArray]:
    started.touch()
    time.sleep(600)
    return {}


def main(kind: str, folder: Path) -> None:
    if kind != "espeak":  # with one shard, the second worker waits for work
        names = "a" if kind == "one_shard" else "abc"
        engine: Literal["local", "dask"] = "dask" if kind == "dask" else "local"
        made = [shards.Shard(name, 1, "f00d", partial(sleep, folder / f"{name}.started")) for name in names]
        two = Compute(engine=engine, workers=2, scheduler=None)
        fill(folder / "shards", made, two, "sleep")
    else:
        word = espeak.Utterance("en-us+f1", "Well.", 165, 50, 50)
        for number, _ in enumerate(espeak.speak([word] * 3)):
            (folder / f"{number}.started").touch()
            sleep(folder / "b.started")  # the worker waits for more to say


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
