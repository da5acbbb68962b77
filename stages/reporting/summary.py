"""The result in a sentence, what was run, and the clips that the model got most wrong."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pandas as pd

from stages.base.params import Train
from stages.reporting import examples, notices

if TYPE_CHECKING:
    from stages.reporting.finished_run import FinishedRun

N_HARDEST = 10
HELD_OUT = {  # where the temperature is from, by `validated_on` of metrics/train.json
    "training": "training speakers held out in turn",
    "validation": "validation clips",
}
LAYOUTS = {
    "mean": "mean over time",
    "stats": "statistics over time",
    "pooled": "second-order pooling over time",
    "frames": "frames over time",
    "flat": "all frames, one after the other",
    "image": "images of time and frequency",
}


def claim(predictions: pd.DataFrame, test: dict[str, Any]) -> str:
    """Returns the result in a few sentences: how many of 100 clips are recognised, and what is confused.

    The numbers are recalls, so every emotion counts the same however many clips it has.

    Args:
        test: metrics/test.json.

    >>> clips = pd.DataFrame({"label": list("aabb"), "predicted": list("aaab")})
    >>> print(claim(clips, {"uar": 0.75, "chance_uar": 0.5, "leaky": False, "recall": {"a": 1.0, "b": 0.5}}))
    Recognises 75 of 100 clips of speakers it was not trained on; guessing gets 50. Best is a (100 of 100), \
worst is b (50). Most often, b is taken for a (50 of 100).
    """
    who = "speakers it was trained on" if test["leaky"] else "speakers it was not trained on"
    recall: dict[str, float] = test["recall"]
    best, worst = max(recall, key=recall.__getitem__), min(recall, key=recall.__getitem__)
    text = (
        f"Recognises {100 * test['uar']:.0f} of 100 clips of {who}; "
        f"guessing gets {100 * test['chance_uar']:.0f}."
    )
    if recall[best] > recall[worst]:
        text += f" Best is {best} ({100 * recall[best]:.0f} of 100), worst is {worst} "
        text += f"({100 * recall[worst]:.0f})."
    wrong = predictions[predictions["label"] != predictions["predicted"]]
    if wrong.empty:
        return text
    n_clips = Counter(predictions["label"])
    n_wrong = Counter(zip(wrong["label"], wrong["predicted"], strict=True))
    confused = {(label, guess): n / n_clips[label] for (label, guess), n in n_wrong.items()}
    label, taken_for = max(confused, key=confused.__getitem__)
    per_100 = 100 * confused[label, taken_for]
    return f"{text} Most often, {label} is taken for {taken_for} ({per_100:.0f} of 100)."


def summary(run: FinishedRun) -> dict[str, str]:
    """Returns how the run was split, trained and tested, by term."""
    params, test, train = run.params, run.test, run.train
    inputs = params.block("models", params.model)["inputs"]
    copies = params.augment.copies if params.train.use_augmented else 0
    trained_on = "validation" in run.split and train.get("validated_on") == "training"
    return {
        "Protocol": params.split.protocol.replace("_", " "),
        "Test": f"{test['n_clips']} clips of {test['n_speakers']} speakers, in {test['n_folds']} of "
        f"{run.split['n_folds']} folds",
        "Validation": notices.validation(run.split) + (", trained on too" if trained_on else ""),
        **({"Left out by the protocol": _left_out(run.split)} if run.split.get("excluded_labels") else {}),
        **({"Training seeds": _seeds(params.train)} if params.train.n_seeds > 1 else {}),
        "Model": f"{params.model}, {train['n_parameters']:,} fitted values, trained on "
        f"{train['n_train']:.0f} recordings and {train['n_train_copies']:.0f} augmented copies per fold",
        "Inputs": f"{', '.join(inputs['features'])}; {LAYOUTS[inputs['layout']]}",
        "Normalisation": notices.NORMALIZATION[params.train.normalize].format(**params.train.model_dump()),
        "Augmentation": f"{copies} per training clip: {', '.join(params.augment.chain)}"
        if copies
        else "none",
        "Probabilities": probabilities(train, params.train.calibrate),
    }


def probabilities(train: dict[str, Any], calibrate: str) -> str:
    """Returns how probabilities are calibrated.

    Args:
        train: metrics/train.json.
        calibrate: params.train.calibrate.

    >>> probabilities({"validated_on": "training", "temperature": 0.5}, "temperature")
    'calibrated on training speakers held out in turn, mean temperature 0.50'
    >>> probabilities({"temperature": 1.0}, "temperature")  # without validation clips
    'uncalibrated'
    """
    if calibrate == "none" or "validated_on" not in train:
        return "uncalibrated"
    return f"calibrated on {HELD_OUT[train['validated_on']]}, mean temperature {train['temperature']:.2f}"


def _seeds(train: Train) -> str:
    """Returns how the results of several seeds are combined."""
    return (
        f"{train.n_seeds} trainings of each fold, with the seeds {train.seeds[0]} to {train.seeds[-1]}. "
        "Scores are their means; figures count a clip once per seed"
    )


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
