"""What many clips cost, and what spreading them over workers does.

    python -m benchmark.scale stages --clips 10000 40000 --folder /tmp/scale
    python -m benchmark.scale overhead --folder /tmp/scale

`stages` writes so many short clips of noise into the folder, runs manifest, split, augment (without copies)
and featurize on them as DVC would, and prints for each stage the seconds, the processor's seconds of its own
process and of its workers, and the most memory that its own process and the largest worker held. `overhead`
has both engines run tasks that do nothing, and the features of the same clips. Both write what they found
into benchmark/scale.json and delete their folder.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import platform
import shutil
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmark" / "scale.json"
RATE_HZ, CLIP_S = 16_000, 0.3
CLIPS_PER_SPEAKER = 200
EMOTIONS = ("anger", "fear", "neutral", "sadness")
STAGES = ("manifest", "split", "augment", "featurize")
N_IDLE = 500  # tasks that do nothing

# A corpus of the folder's own: a name tells speaker, number and emotion.
CORPUS = '''"""Noise, to count with."""

from __future__ import annotations

from pathlib import PurePosixPath

from stages.core.corpus import Corpus, Download, Facts
from stages.core.params import Block

EMOTIONS = ("anger", "fear", "neutral", "sadness")
ABOUT = Corpus("noise", "CC0-1.0", "none", "none", 0, 0, EMOTIONS, "s_n_e.wav", "none")


class Config(Block):
    pass


def parse(path: PurePosixPath) -> Facts | None:
    speaker, number, emotion = path.stem.split("_")
    sex = "female" if int(speaker) % 2 else "male"
    return Facts(path.stem, speaker, sex, str(int(number) % 50), emotion)


def downloads(config: Config) -> list[Download]:
    return []
'''


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmark.scale", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("what", choices=["stages", "overhead"])
    parser.add_argument("--clips", type=int, nargs="+", default=[2000], help="how many, one run for each")
    parser.add_argument("--folder", type=Path, default=Path("scale"), help="to work in; deleted afterwards")
    chosen = parser.parse_args()
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    found["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    for n_clips in chosen.clips:
        with workspace(chosen.folder, n_clips):
            if chosen.what == "stages":
                found.setdefault("stages", {})[str(n_clips)] = {stage: measured(stage) for stage in STAGES}
            else:
                found["overhead"] = overhead(n_clips)
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")


@contextmanager
def workspace(folder: Path, n_clips: int) -> Iterator[None]:
    """Stands in a folder with this project's code, one more corpus and its clips, until the block ends."""
    folder.mkdir(parents=True)
    before = Path.cwd()
    try:
        os.chdir(folder)
        shutil.copytree(ROOT / "stages", "stages", ignore=shutil.ignore_patterns("__pycache__"))
        Path("stages/corpora/noise.py").write_text(CORPUS)
        sys.path.insert(0, str(Path.cwd()))
        started = time.monotonic()
        record(n_clips)
        print(f"{n_clips} clips of {CLIP_S} s written in {time.monotonic() - started:.0f} s", flush=True)
        configure()
        yield
    finally:
        os.chdir(before)
        shutil.rmtree(folder)


def configure(**compute: Any) -> None:
    """Writes params.yaml: the project's, for this corpus and without copies."""
    params = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text())
    params |= {"corpus": ["noise"], "corpora": {"noise": {}}}
    params["augment"]["copies"] = 0
    params["compute"] |= {"engine": "local", "workers": os.cpu_count()} | compute
    Path("params.yaml").write_text(json.dumps(params))


def record(n_clips: int) -> None:
    """Writes clips, each another stretch of one noise: 16 bits, one channel."""
    noise = np.random.default_rng(0).normal(0, 3000, n_clips + int(CLIP_S * RATE_HZ)).astype("<i2")
    n_bytes = 2 * int(CLIP_S * RATE_HZ)
    header = b"RIFF" + struct.pack("<I", 36 + n_bytes) + b"WAVEfmt "
    header += (
        struct.pack("<IHHIIHH", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16) + b"data" + struct.pack("<I", n_bytes)
    )
    for number in range(n_clips):
        speaker, take = divmod(number, CLIPS_PER_SPEAKER)
        path = Path(f"data/raw/noise/{speaker:05}/{speaker:05}_{take:03}_{EMOTIONS[take % 4]}.wav")
        if not take:
            path.parent.mkdir(parents=True)
        path.write_bytes(header + noise[number : number + n_bytes // 2].tobytes())


def measured(stage: str) -> dict[str, float]:
    """Runs a stage and returns its seconds, its processes' seconds of processor, and memory in MB."""
    started = time.monotonic()
    process = psutil.Popen([sys.executable, "-m", f"stages.{stage}"], stdout=subprocess.DEVNULL)
    cpu_s: dict[int, float] = {}
    mb: dict[int, float] = {process.pid: 0.0}
    while process.poll() is None:
        with suppress(psutil.Error):
            for each in (process, *process.children(recursive=True)):
                cpu_s[each.pid] = sum(each.cpu_times()[:2])
                mb[each.pid] = max(mb.get(each.pid, 0.0), each.memory_info().rss / 1e6)
        time.sleep(0.1)
    if process.returncode:
        raise SystemExit(f"{stage}: exit code {process.returncode}")
    own_cpu_s, own_mb = cpu_s.pop(process.pid), mb.pop(process.pid)
    found = {
        "s": time.monotonic() - started,
        "own_cpu_s": own_cpu_s,
        "worker_cpu_s": sum(cpu_s.values()),
        "own_mb": own_mb,
        "worker_mb": max(mb.values(), default=0.0),
    }
    print(stage, *(f"{name} {value:.1f}" for name, value in found.items()), flush=True)
    return {name: round(value, 1) for name, value in found.items()}


def nothing() -> None:
    """A task that is all overhead."""


def overhead(n_clips: int) -> dict[str, Any]:
    """Returns what a task costs beside its work, how large it is, and both engines' time for features."""
    from stages.core import engine
    from stages.core.params import Compute

    found: dict[str, Any] = {}
    each: dict[str, list[float]] = {"local": [], "dask": []}
    with cluster() as scheduler:
        for _ in range(5):
            for name, times in each.items():
                compute = Compute(engine=name, workers=os.cpu_count(), scheduler=scheduler, storage=None)
                tasks = [engine.Task(f"{number}", nothing, 1) for number in range(N_IDLE)]
                results = engine.run(tasks, compute, "overhead")
                next(results)  # the processes are there now
                started = time.monotonic()
                list(results)
                times.append((time.monotonic() - started) / N_IDLE)
        for stage in STAGES[:-1]:
            subprocess.run([sys.executable, "-m", f"stages.{stage}"], check=True)
        found["features_s"] = {name: [] for name in each}
        for _ in range(3):
            for name in each:
                configure(engine=name, scheduler=scheduler)
                shutil.rmtree("data/features", ignore_errors=True)
                found["features_s"][name].append(round(measured("featurize")["s"], 1))
        found["task_bytes"] = task_size()
    found["task_ms"] = {name: round(1000 * statistics.median(times), 2) for name, times in each.items()}
    print(json.dumps(found, indent=2))
    return found | {"n_clips": n_clips, "n_tasks": N_IDLE}


def task_size() -> int:
    """Returns the bytes of a task of featurize, as it goes to a worker."""
    from stages import featurize
    from stages.core import params, tables

    chosen = params.read()
    manifest = tables.read(featurize.MANIFEST, tables.MANIFEST)
    shard = featurize.plan(
        manifest, featurize.read_copies(featurize.AUGMENTED / "index.parquet", manifest), chosen
    )[0]
    return len(pickle.dumps(partial(shard.make)))


@contextmanager
def cluster() -> Iterator[str]:
    """Yields the address of a Dask cluster on this machine, a worker for each core."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=os.cpu_count(), threads_per_worker=1, dashboard_address=None) as started:
        yield started.scheduler_address


if __name__ == "__main__":
    main()
