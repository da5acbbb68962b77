"""What was run, in words, and the clips that the model got most wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from stages.reporting import examples, notices

if TYPE_CHECKING:
    from stages.reporting.finished_run import FinishedRun

N_HARDEST = 10


def summary(run: FinishedRun) -> dict[str, str]:
    """Returns how the run was split, trained and tested, by term."""
    params, test, train = run.params, run.test, run.train
    inputs = params.block("models", params.model)["inputs"]
    copies = params.augment.copies if params.train.use_augmented else 0
    return {
        "Protocol": params.split.protocol,
        "Test": f"{test['n_clips']} clips of {test['n_speakers']} speakers, in {test['n_folds']} of "
        f"{run.split['n_folds']} folds",
        "Validation": notices.validation(run.split),
        **({"Left out by the protocol": _left_out(run.split)} if run.split.get("excluded_labels") else {}),
        "Model": f"{params.model}, {train['n_parameters']:,} fitted values, trained on "
        f"{train['n_train']:.0f} recordings and {train['n_train_copies']:.0f} augmented copies per fold",
        "Inputs": f"{', '.join(inputs['features'])}; layout: {inputs['layout']}",
        "Normalisation": notices.NORMALIZATION[params.train.normalize].format(**params.train.model_dump()),
        "Augmentation": f"{copies} per training clip: {', '.join(params.augment.chain)}"
        if copies
        else "none",
        "Probabilities": "uncalibrated"
        if params.train.calibrate == "none"
        else f"calibrated on validation clips, mean temperature {train['temperature']:.2f}",
    }


def _left_out(split: dict[str, Any]) -> str:
    """Returns the labels that not every corpus has, and how many clips are not tested for it."""
    return f"{split['n_excluded']['protocol']} clips; labels: {split['excluded_labels']}"


def hardest_clips(run: FinishedRun) -> pd.DataFrame:
    """Returns the clips that the model got most wrong; the first `report.n_audio` have a `player`."""
    hardest = examples.hardest(run.predictions, N_HARDEST)
    n_audio, rate_hz = run.params.report.n_audio, run.params.audio.sample_rate_hz
    paths = hardest["clip"].map(run.clips.set_index("clip")["path"])
    players = [examples.player(path, rate_hz) for path in paths[:n_audio]]
    return hardest.assign(player=players + [""] * (len(hardest) - len(players)))
