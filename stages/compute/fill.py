"""Fills a folder with shards, computing only those that are missing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tqdm import tqdm

from stages.base.errors import first_of
from stages.base.params import Compute
from stages.compute import engine
from stages.compute.task import Task
from stages.data.shards import INDEX, N_THREADS, Shard, changed, damaged, recorded


def fill(folder: Path, shards: Sequence[Shard], compute: Compute, stage: str) -> None:
    """Computes the shards that `folder` does not have yet, and deletes all other files except the index.

    A shard is written completely or not at all, so the next run continues an interrupted one; one that was
    changed or damaged since is computed again. The bytes do not depend on `compute`: each shard is computed
    with one thread.

    Args:
        folder: for these shards and their index only.
        shards: everything that the folder is to contain.
        compute: where the missing shards are computed.
        stage: name for the log.

    Raises:
        InputError: workers were killed, the cluster cannot be used, or code or recordings were changed
            meanwhile.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {shard.name for shard in shards} | {INDEX}
    present = _delete_all_but(wanted, folder)
    altered = sorted(present & (changed(folder, recorded(folder)) | damaged(folder, present - {INDEX})))
    present.difference_update(altered)
    missing = [shard for shard in shards if shard.name not in present]
    if missing:
        tasks = (Task(shard.stem, partial(shard.write, folder), N_THREADS) for shard in missing)
        processes = min(compute.workers, len(missing))
        written = engine.run(tasks, compute, stage, processes, here=True)
        for _ in tqdm(written, total=len(missing), desc=stage, unit="shard", leave=False):
            pass
        _delete_all_but(wanted, folder)  # a lost worker leaves a half-written file
    print(f"{stage}: {len(shards)} shards, {len(shards) - len(missing)} kept, {_listed(missing)}")
    if altered:
        print(f"  notice: {len(altered)} changed or damaged after {stage} wrote them: {first_of(altered)}")


def _delete_all_but(wanted: set[str], folder: Path) -> set[str]:
    """Returns the names of the files that are left."""
    present = {path.name for path in folder.iterdir() if path.is_file()}
    for name in present - wanted:
        (folder / name).unlink()
    return present & wanted


def _listed(computed: Sequence[Shard]) -> str:
    """Returns `2 computed (ravdess_01_000: 60 clips, ravdess_02_000: 60 clips)`."""
    names = [f"{shard.stem}: {shard.n_clips} clips" for shard in computed]
    return f"{len(computed)} computed" + (f" ({first_of(names)})" if names else "")
