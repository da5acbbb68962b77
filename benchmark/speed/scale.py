"""Measures how time and memory grow with the number of clips, and what workers cost and gain.

    python -m benchmark.speed.scale stages --clips 10000 40000 --folder /tmp/scale
    python -m benchmark.speed.scale stages --clips 10000 --per-speaker 1 --copies 1 --folder /tmp/scale
    python -m benchmark.speed.scale table --clips 20000 200000 --per-speaker 20 --folder /tmp/scale
    python -m benchmark.speed.scale split --clips 8000 --per-speaker 10 --protocol leave_one_speaker_out
    python -m benchmark.speed.scale overhead --clips 2000 --folder /tmp/scale
    python -m benchmark.speed.scale cost --clips 200 --seconds 2.5 --folder /tmp/scale

`stages` writes that many short clips of noise into the folder, runs manifest, split, augment and featurize
on them as DVC would, and measures for each stage the seconds, the processor time of its own process and of
its workers, and the peak memory of its own process and of the largest worker. `table` does the same with
clips that a csv lists, from select to split, and `split` with manifest and split alone. `overhead`
alternates between the two engines: empty tasks, then extracting the features of the clips. `cost` is the
processor time per clip. All write to benchmark/speed/scale.json and delete their folder.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import psutil
import soundfile
from distributed import LocalCluster

from benchmark.speed import measure, recordings
from benchmark.speed.recordings import ROOT
from stages import augment, corpora, featurize, manifest
from stages.base import files, params, registry
from stages.base.errors import parser_of
from stages.base.params import Compute
from stages.compute import engine, hardware
from stages.compute.task import Task
from stages.data import shards, tables

RESULTS = ROOT / "benchmark" / "speed" / "scale.json"
RATE_HZ = 16_000
EMOTIONS = ("anger", "fear", "neutral", "sadness")
STAGES = ("manifest", "split", "augment", "featurize")
TABLE = Path("data/sources/noise/labels.csv")
OF_TABLE = ("select", "ingest", "manifest", "split")
N_IDLE = 300  # empty tasks
N_ROUNDS = 5
N_WORKERS = os.cpu_count() or 1
SETTINGS: dict[str, Any] = {
    "corpus": ["noise"],
    "corpora": {"noise": {}},
    "augment__copies": 0,
    "split__protocol": "speaker_independent",
    "compute__engine": "local",
    "compute__workers": N_WORKERS,
}

# A corpus that is only in the folder; file names give speaker, number and emotion.
CORPUS = '''"""Noise, for measurements."""

from pathlib import PurePosixPath

from stages.data.vocabulary import Corpus, ParsedName

EMOTIONS = ("anger", "fear", "neutral", "sadness")
ABOUT = Corpus("noise", "CC0-1.0", "none", "none", 0, 0, EMOTIONS, "s_n_e.wav", "none", "en")


def parse(path: PurePosixPath) -> ParsedName:
    speaker, number, emotion = path.stem.split("_")
    sex = "female" if int(speaker) % 2 else "male"
    return ParsedName(path.stem, speaker, sex, str(int(number) % 50), emotion)
'''


def main() -> None:
    parser = parser_of(__doc__.splitlines()[0], "python -m benchmark.speed.scale")
    parser.add_argument("what", choices=["stages", "table", "split", "overhead", "cost"])
    parser.add_argument("--clips", type=int, nargs="+", default=[2000], help="numbers of clips, one run each")
    parser.add_argument("--per-speaker", type=int, default=200, help="clips of one speaker")
    parser.add_argument("--copies", type=int, default=0, help="augmented copies of each clip")
    parser.add_argument("--protocol", default="speaker_independent", help="of the split")
    parser.add_argument("--seconds", type=float, default=0.3, help="of one clip")
    parser.add_argument(
        "--folder", type=Path, default=Path("scale"), help="working folder; deleted afterwards"
    )
    chosen = parser.parse_args()
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    found["machine"] = f"{platform.machine()}, {N_WORKERS} cores, Python {platform.python_version()}"
    for n_clips in chosen.clips:
        about = f"{n_clips} clips of {chosen.seconds:g} s"
        if chosen.copies or chosen.per_speaker != parser.get_default("per_speaker"):
            about += f", {chosen.per_speaker} a speaker, {chosen.copies} copies"
        if chosen.protocol != parser.get_default("protocol"):
            about += f", {chosen.protocol}"
        is_table = chosen.what == "table"
        clips, corpus = (TABLE.parent, {"table": str(TABLE)}) if is_table else (Path("data/raw/noise"), {})
        with workspace(chosen.folder, clips, n_clips, chosen.per_speaker, chosen.seconds):
            configure(
                corpora={"noise": corpus}, augment__copies=chosen.copies, split__protocol=chosen.protocol
            )
            if chosen.what == "stages":
                result: dict[str, Any] = {stage: measured(stage) for stage in STAGES}
            elif chosen.what == "table":
                describe()
                result = {stage: measured(stage) for stage in OF_TABLE}
            elif chosen.what == "split":
                result = {stage: measured(stage) for stage in ("manifest", "split")}
                result["splits_mb"] = files.SPLITS.stat().st_size / 1e6
            elif chosen.what == "overhead":
                result = overhead()
            else:
                measured("manifest")
                result = cost()
        print(about, json.dumps(result, indent=2))
        found.setdefault(chosen.what, {})[about] = result
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")


@contextmanager
def workspace(folder: Path, clips: Path, n_clips: int, per_speaker: int, seconds: float) -> Iterator[None]:
    """Changes into a folder with this project's code, one more corpus and its clips, until the block ends."""
    folder.mkdir(parents=True)
    before = Path.cwd()
    try:
        os.chdir(folder)
        shutil.copytree(ROOT / "stages", "stages", ignore=shutil.ignore_patterns("__pycache__"))
        registry.STAGES = Path("stages").absolute()
        Path("stages/corpora/noise.py").write_text(CORPUS)
        corpora.__path__.append(str(Path("stages/corpora").absolute()))  # for this process
        started = time.monotonic()
        record(clips, n_clips, per_speaker, int(seconds * RATE_HZ))
        print(f"clips written in {time.monotonic() - started:.0f} s", flush=True)
        yield
    finally:
        os.chdir(before)
        shutil.rmtree(folder)


def describe() -> None:
    """Writes a table of the clips in its folder."""
    rows = ["path,speaker,label,text"]
    for path in sorted(TABLE.parent.glob("*/*.wav")):
        speaker, number, emotion = path.stem.split("_")
        rows.append(f"{speaker}/{path.name},{speaker},{emotion},{int(number) % 50}")
    TABLE.write_text("\n".join(rows))


def configure(**changes: Any) -> None:
    """Writes params.yaml: the project's, for this corpus, with changes as `recordings.write_params` takes."""
    recordings.write_params(Path(), **SETTINGS | changes)


def record(folder: Path, n_clips: int, per_speaker: int, n_samples: int) -> None:
    """Writes clips, each a different section of the same noise: 16 bits, one channel.

    The noise is loud and quiet in turn, ten times a second, or manifest would find no speech in it.
    """
    noise = np.random.default_rng(0).normal(0, 3000, n_clips + n_samples)
    noise[np.arange(len(noise)) * 20 // RATE_HZ % 2 == 1] /= 10
    noise = noise.astype(np.int16)
    for number in range(n_clips):
        speaker, take = divmod(number, per_speaker)
        path = folder / f"{speaker:05}/{speaker:05}_{take:03}_{EMOTIONS[number % 4]}.wav"
        if not take:
            path.parent.mkdir(parents=True)
        soundfile.write(path, noise[number : number + n_samples], RATE_HZ)


def measured(stage: str) -> dict[str, float]:
    """Runs a stage and returns its seconds, its processes' processor time in s, and memory in MB."""
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
    """An empty task: all of its time is overhead."""


def overhead() -> dict[str, Any]:
    """Returns each engine's time for empty tasks, and for features.

    `task_own_cpu_ms` is the time of the process that distributes tasks, with dask including the scheduler in
    it: it limits the tasks per second, whatever the number of workers.
    """
    wall_ms: dict[str, list[float]] = {}
    cpu_ms: dict[str, list[float]] = {}
    features_s: dict[str, list[float]] = {}
    with LocalCluster(n_workers=N_WORKERS, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:
        address = cluster.scheduler_address
        for name in ("local", "dask") * N_ROUNDS:
            compute = Compute(engine=name, workers=N_WORKERS, scheduler=address)
            results = engine.run([Task(f"{i}", nothing, 1) for i in range(N_IDLE)], compute, "idle")
            next(results)  # the processes have started
            wall, cpu = time.perf_counter(), time.process_time()
            list(results)
            wall_ms.setdefault(name, []).append(1000 * (time.perf_counter() - wall) / N_IDLE)
            cpu_ms.setdefault(name, []).append(1000 * (time.process_time() - cpu) / N_IDLE)
            print(f"{name}: {wall_ms[name][-1]:.2f} ms a task, {cpu_ms[name][-1]:.2f} of own cpu", flush=True)
        for stage in STAGES[:-1]:
            measured(stage)
        for name in ("local", "dask") * N_ROUNDS:
            configure(compute__engine=name, compute__scheduler=address)
            shutil.rmtree("data/features", ignore_errors=True)
            features_s.setdefault(name, []).append(measured("featurize")["s"])
    return {
        "task_ms": {name: round(statistics.median(times), 2) for name, times in wall_ms.items()},
        "task_own_cpu_ms": {name: round(statistics.median(times), 2) for name, times in cpu_ms.items()},
        "featurize_s": features_s,
        "task_bytes": len(cloudpickle.dumps(first_shards()["featurize"].make)),
    }


def cost() -> dict[str, float]:
    """Returns the processor time per clip in ms, on one core: medians after a warm-up."""
    hardware.limit(1)
    paths = sorted(Path("data/raw/noise").rglob("*.wav"))[:100]
    limits = params.read().manifest
    work = {"manifest": lambda: [manifest.probe(path, limits) for path in paths]}
    work |= {name: shard.make for name, shard in first_shards().items()}
    seconds = measure.alternate(work, N_ROUNDS)
    return {name: round(1000 * statistics.median(each) / len(paths), 2) for name, each in seconds.items()}


def first_shards() -> dict[str, shards.Shard]:
    """Returns the first shard of augment and of featurize."""
    chosen = params.read()
    listed = tables.read(files.MANIFEST, tables.MANIFEST)
    names = chosen.augment.chain
    chain = augment.Chain({name: chosen.config("augmentations", name, "here") for name in names}, 0, RATE_HZ)
    copied = chosen.model_copy(update={"augment": chosen.augment.model_copy(update={"copies": 1})})
    return {
        "augment": augment.plan(listed, chain, copied)[0],
        "featurize": featurize.plan(listed, tables.build([], tables.AUGMENTED), chosen)[0],
    }


if __name__ == "__main__":
    main()
