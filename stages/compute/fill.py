"""Makes a folder hold the shards it should, computing only those that are missing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tqdm import tqdm

from stages.base.params import Compute
from stages.compute import engine
from stages.compute.engine import Task
from stages.data.shards import INDEX, N_THREADS, Shard

N_NAMED = 5  # shards named in the log


def fill(folder: Path, shards: Sequence[Shard], compute: Compute, stage: str) -> None:
    """Makes `folder` hold these shards and no others, computing only those that are missing.

    Every shard is written whole or not at all, so an interrupted run is continued by the next one. The
    bytes do not depend on `compute`: each shard is computed with one thread.

    Args:
        folder: theirs alone, but for the index.
        shards: all that it shall hold.
        compute: by whom the missing ones are computed.
        stage: name for the log.

    Raises:
        InputError: workers were killed, or there is no such cluster.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {shard.name for shard in shards}
    present = {path.name for path in folder.iterdir() if path.is_file()}
    for name in sorted(present - wanted - {INDEX}):
        (folder / name).unlink()
    missing = [shard for shard in shards if shard.name not in present]
    if missing:
        tasks = [Task(s.stem, partial(s.write, folder), N_THREADS, s.reads, folder / s.name) for s in missing]
        written = engine.run(tasks, compute, stage)
        for _ in tqdm(written, total=len(missing), desc=stage, unit="shard", leave=False):
            pass
    print(f"{stage}: {len(shards)} shards, {len(shards) - len(missing)} kept, {_listed(missing)}")


def _listed(computed: Sequence[Shard]) -> str:
    """Returns `2 computed (ravdess_01_000: 60 clips, ravdess_02_000: 60 clips)`."""
    names = [f"{shard.stem}: {shard.n_clips} clips" for shard in computed[:N_NAMED]]
    if len(computed) > N_NAMED:
        names.append(f"and {len(computed) - N_NAMED} more")
    return f"{len(computed)} computed" + (f" ({', '.join(names)})" if names else "")
