"""A trained and evaluated run on made-up features, to be corrupted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stages import evaluate, train
from stages.base.files import MODEL
from stages.data.keys import sha256
from stages.learning.record import RECORD
from tests.support.workspace import Workspace
from tests.test_train import store_inputs


def leave(folder: Path, model: str, **changes: Any) -> None:
    """Leaves a run in `folder`, which is the current one: of 6 speakers, 3 emotions and fold 0 of 3."""
    work = Workspace(folder)
    work.set(model=model, train__fold=0, train__threads=1, evaluate__n_resamples=100)
    work.set(**{f"models__{model}__inputs__features": ["mfcc"]})
    work.set(training__epochs=2, models__ann__units=[8], **changes)
    store_inputs()
    train.main()
    evaluate.main()


def pass_off(fold: Path = MODEL / "fold_00") -> None:
    """Makes the record of a fold agree with its files, as an attacker would."""
    record = json.loads((fold / RECORD).read_text())
    record["sha256"] = {name: sha256(fold / name) for name in record["sha256"]}
    (fold / RECORD).write_text(json.dumps(record))
