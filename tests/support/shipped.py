"""params.yaml with the settings that its readers change put back to those of this project.

So a copy of the project with its own corpus, model and training in params.yaml passes the same tests.
"""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.base import params
from stages.base.params import Params

ROOT = Path(__file__).resolve().parents[2]

CHANGED = {
    "seed": 20,
    "model": "svm",
    "corpus": ["demo"],
    "split.protocol": "speaker_independent",
    "split.n_folds": 6,
    "split.group_by": "group",
    "split.test_fraction": 0.1,
    "split.validation_fraction": 0.1,
    "split.train_clips": None,
    "split.fixed_list": "emobox_ravdess",
    "split.channels": ["speech"],
    "split.train_only.corpora": [],
    "split.train_only.channels": [],
    "split.labels.merge": {},
    "split.labels.drop": [],
    "audio.sample_rate_hz": 16000,
    "audio.trim_db": 30.0,
    "audio.level_db": -20.0,
    "audio.pre_emphasis": 0.0,
    "augment.copies": 1,
    "augment.chain": ["pitch", "stretch", "reverberation", "babble", "noise", "band_limit", "codec"],
    "featurize.features": ["logmel", "mfcc", "zcr", "rms", "chroma"],
    "compute.engine": "local",
    "train.fold": "all",
    "train.seed": 20,
    "train.n_seeds": 1,
    "train.use_augmented": True,
    "train.normalize": "global",
    "train.calibrate": "temperature",
    "train.threads": 1,
    "training.epochs": 60,
    "training.batch_size": 32,
    "training.learning_rate": 0.001,
    "models.svm.inputs.features": ["logmel", "mfcc", "rms", "zcr"],
    "models.svm.inputs.layout": "stats",
    "models.svm.inputs.duration_s": None,
    "models.svm.inputs.frames_per_step": 1,
    "models.svm.kernel": "rbf",
    "models.svm.c": 10.0,
    "models.svm.gamma": "scale",
    "models.svm.class_weights": "none",
}


@cache
def text() -> str:
    """Returns the content of params.yaml, comments included; only what differs from CHANGED is another."""
    yaml = YAML()
    content = yaml.load(ROOT / params.PARAMS)
    for key, value in CHANGED.items():
        *above, last = key.split(".")
        block = content
        for name in above:
            block = block[name]
        if block[last] != value or isinstance(value, float):  # 10 and 1e1 equal 10.0, but are other texts
            block[last] = value
    written = io.StringIO()
    yaml.dump(content, written)
    return written.getvalue()


def values() -> dict[str, Any]:
    """Returns the content of params.yaml as a new dictionary."""
    return dict(YAML(typ="safe").load(text()))


def read() -> Params:
    """Returns the checked parameters."""
    return params.checked(values())


def write(path: Path) -> Path:
    """Writes a params.yaml to the file or into the folder `path`, and returns its path."""
    path = path / params.PARAMS if path.is_dir() else path
    path.write_text(text())
    return path
