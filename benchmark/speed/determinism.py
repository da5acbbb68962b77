"""Measures the numbers of docs/determinism.md: `python -m benchmark.speed.determinism FOLDER`.

Uses RAVDESS speech, first fold of emobox_ravdess. Costs are ratios of median processor times, measured in
alternation, which other work on the machine hardly changes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from benchmark.speed import recordings
from benchmark.speed.recordings import ROOT
from stages.base.files import DATA, FEATURES, METRICS, MODEL, PREDICTIONS, RAW
from stages.data import shards, tables

NETWORKS = ("cnn1d", "gru")
SETTINGS: dict[str, Any] = {
    "corpus": ["ravdess"],
    "augment__copies": 0,
    "compute__workers": 2,
    "evaluate__n_resamples": 100,
    "featurize__features": ["mfcc", "zcr", "rms", "logmel", "chroma"],
    "split__protocol": "fixed",
    "train__fold": 0,
}

# Code that runs before a stage and removes one thing that makes it repeatable.
LOOSENED = {
    "as it is": "",
    "without op determinism": "import tensorflow as tf; "
    "tf.config.experimental.enable_op_determinism = lambda: None",
    "two inter-op threads": "import tensorflow as tf; threading = tf.config.threading; "
    "choose = threading.set_inter_op_parallelism_threads; "
    "threading.set_inter_op_parallelism_threads = lambda n: choose(2)",
}

# Writes the processor time of one fold's training, without imports, to a file.
TIMED = """
import time
from pathlib import Path
from stages.learning import training

def timed(*arguments, inner=training.train_fold):
    before_s = time.process_time()
    line = inner(*arguments)
    Path("processor_s").write_text(str(time.process_time() - before_s))
    return line

training.train_fold = timed
"""

# Older processors, as libraries can be made to assume.
PROCESSORS = {
    "AVX2": {
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4",
    },
    "SSE4": {
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "OPENBLAS_CORETYPE": "Nehalem",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 X86_V3",
    },
}


@dataclass(frozen=True)
class Trained:
    """One training: weights by name, hash of the model file, UAR, predictions, processor time."""

    weights: dict[str, np.ndarray]
    sha256: str
    uar: float
    predictions: pd.DataFrame
    processor_s: float


def prepare() -> None:
    """Extracts the features of RAVDESS in the current folder, and splits it."""
    recordings.write_params(Path(), **SETTINGS)
    if not (FEATURES / shards.INDEX).exists():
        for path in recordings.ravdess():
            recordings.link(path, RAW / "ravdess" / path.parent.name / path.name)
        for verb in ("manifest", "split", "augment", "featurize"):
            stage(verb)


def stage(verb: str, loosened: str = "", environment: Mapping[str, str] = {}) -> None:
    """Runs a stage; exits if it fails."""
    code = "\n".join(
        [loosened, TIMED, f"from stages.base.errors import run\nfrom stages import {verb}\nrun({verb}.main)"]
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    if done.returncode:
        raise SystemExit(done.stderr.decode())


def train(
    model: str,
    n_epochs: int,
    threads: int = 2,
    loosened: str = "",
    environment: Mapping[str, str] = {},
    precision: str = "float32",
) -> Trained:
    """Trains and evaluates a model on the features in the current folder."""
    changes: dict[str, Any] = {"model": model, "train__threads": threads}
    if model != "svm":
        changes |= {"training__epochs": n_epochs, f"models__{model}__training__precision": precision}
    recordings.write_params(Path(), **SETTINGS, **changes)
    shutil.rmtree(DATA / "checkpoints", ignore_errors=True)
    stage("train", loosened, environment)
    stage("evaluate", environment=environment)
    file = next(path for path in (MODEL / "fold_00").iterdir() if path.name.startswith("model."))
    return Trained(
        _weights(file) if file.suffix == ".h5" else {},
        hashlib.sha256(file.read_bytes()).hexdigest()[:12],
        json.loads((METRICS / "test.json").read_text())["uar"],
        tables.read(PREDICTIONS, tables.PREDICTIONS),
        float(Path("processor_s").read_text()),
    )


def _weights(file: Path) -> dict[str, np.ndarray]:
    names: list[str] = []
    with h5py.File(file) as stored:
        stored.visit(names.append)
        arrays = {name: stored[name][()] for name in names if isinstance(stored[name], h5py.Dataset)}
    return {name: value for name, value in arrays.items() if value.dtype == np.float32}


def difference(a: Trained, b: Trained) -> dict[str, Any]:
    """Returns how two trainings differ.

    Returns:
        `same_bytes`; `differing`, the fraction of weights that differ; `bits`, how many of a weight's 24
        significant bits agree, median over the weights that differ; `largest`, the largest difference as a
        fraction of its tensor's largest weight; `probability`, the largest difference of a predicted
        probability; `other_label`, the fraction of test clips with another label; `uar`, b's minus a's.
    """
    x = np.concatenate([a.weights[name].ravel() for name in a.weights]).astype(np.float64)
    y = np.concatenate([b.weights[name].ravel() for name in a.weights]).astype(np.float64)
    scale = np.concatenate([np.full(v.size, np.abs(v).max()) for v in a.weights.values()])
    apart = x != y
    relative = np.abs(x - y)[apart] / np.maximum(np.abs(x), np.abs(y))[apart]
    p, q = (run.predictions.filter(regex="^p_").to_numpy() for run in (a, b))
    return {
        "same_bytes": a.sha256 == b.sha256,
        "differing": float(apart.mean()),
        "bits": float(-np.log2(np.median(relative))) if apart.any() else 24.0,
        "largest": float((np.abs(x - y) / np.maximum(scale, 1e-12)).max()),
        "probability": float(np.abs(p - q).max()),
        "other_label": float((p.argmax(1) != q.argmax(1)).mean()),
        "uar": b.uar - a.uar,
    }


def of_threads(epochs: list[int]) -> Iterator[dict[str, Any]]:
    """Yields how the weights differ between one and two intra-op threads, by number of epochs."""
    for model, precision in (("cnn1d", "float32"), ("cnn1d", "bfloat16"), ("gru", "float32")):
        for n_epochs in epochs:
            two, one = (train(model, n_epochs, threads, precision=precision) for threads in (2, 1))
            about = {"model": model, "precision": precision, "epochs": n_epochs, "uar_2": two.uar}
            yield about | difference(two, one)


def of_cost(n_epochs: int, rounds: int) -> Iterator[dict[str, Any]]:
    """Yields the time without each thing that makes training repeatable, and how many results differ."""
    for model in ("cnn2d", *NETWORKS):
        runs: dict[str, list[Trained]] = {name: [] for name in LOOSENED}
        for _ in range(rounds):
            for name, loosened in LOOSENED.items():
                runs[name].append(train(model, n_epochs, loosened=loosened))
        strict = np.median([run.processor_s for run in runs["as it is"]])
        for name, done in runs.items():
            yield {
                "model": model,
                "variant": name,
                "rounds": rounds,
                "results": len({run.sha256 for run in done}),
                "time_ratio": float(np.median([run.processor_s for run in done]) / strict),
            }


def of_processors(n_epochs: int) -> Iterator[dict[str, Any]]:
    """Yields how features, and trainings on this processor's features, differ on older processors."""
    here = _features({})
    for name, environment in PROCESSORS.items():
        there = _features(environment)
        for feature, values in here.items():
            apart = np.abs(there[feature] - values)
            yield {
                "processor": name,
                "feature": feature,
                "differing": float((apart > 0).mean()),
                "largest": float(apart.max()),
                "std": float(values.std()),
            }
    for model in ("svm", *NETWORKS):
        default = train(model, n_epochs)
        for name, environment in PROCESSORS.items():
            other = train(model, n_epochs, environment=environment)
            found = {"same_bytes": default.sha256 == other.sha256, "uar": other.uar - default.uar}
            if default.weights:
                found = difference(default, other)
            yield {"processor": name, "model": model, "epochs": n_epochs} | found


def _features(environment: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Returns features of every 20th recording, as featurize computes them, from another process."""
    code = """
import numpy as np
from stages.audio import extractor
from stages.audio.recording import load_listed
from stages.base import params
from stages.base.files import MANIFEST, RAW
from stages.compute import hardware
from stages.data import tables
hardware.limit(1)
settings = params.read()
extract = extractor.extractor(settings, settings.featurize.features, "params.featurize.features")
paths = tables.read(MANIFEST, tables.MANIFEST)["path"].iloc[::20]
each = [extract(load_listed(RAW / path, settings.audio.sample_rate_hz)) for path in paths]
np.savez("some_features.npz", **{name: np.concatenate([clip[name] for clip in each]) for name in each[0]})
"""
    subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)} | environment, check=True
    )
    with np.load("some_features.npz") as stored:
        return dict(stored)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmark.speed.determinism", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quick", action="store_true", help="fewer epochs and rounds")
    parser.add_argument("--only", choices=["threads", "processors", "cost"], help="measure only this")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    os.chdir(chosen.folder)
    prepare()
    epochs, rounds = ([1, 4], 3) if chosen.quick else ([1, 10], 5)
    for title, rows in {
        "threads": of_threads(epochs),
        "processors": of_processors(epochs[-1]),
        "cost": of_cost(2, rounds),
    }.items():
        if chosen.only in (None, title):
            print(f"# {title}", flush=True)
            for row in rows:
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
