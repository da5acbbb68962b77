"""Predict the emotion of recordings: `python -m stages.tools.predict clip.wav ...`.

Prints the mean probabilities of the trained folds' models, as CSV, with a status per file: `answered`,
`warned` (unlike the training data), `abstained` (no usable speech) or `failed` (not a recording; exit 1).
params.predict sets which of them a recording gets.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from stages.audio import extractor, quality
from stages.audio.recording import AudioError, decode, resample
from stages.base import registry
from stages.base.errors import InputError, run
from stages.base.files import MODEL
from stages.base.params import Params, read
from stages.compute import hardware
from stages.learning import profile, trained_fold
from stages.learning.preprocessing import Frames


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path, help="audio in a format that libsndfile reads")
    files = parser.parse_args().files
    params = read()
    hardware.limit(params.train.threads)
    predicted = predict(files, params)
    predicted.to_csv(sys.stdout, index_label="file", float_format="%.3f", lineterminator="\n")
    if (predicted["status"] == "failed").any():
        sys.exit(1)


def predict(files: list[Path], params: Params) -> pd.DataFrame:
    """Returns `emotion`, the most probable one, all probabilities, `status` and `reason`, a row per file.

    Emotion and probabilities are empty where the status is `abstained` or `failed`.

    Raises:
        InputError: no model is trained, params.yaml does not match it, or it needs speakers' statistics.
    """
    folds = trained_fold.trained(params)
    if (normalize := params.train.normalize) != "global":
        raise InputError(
            f"{MODEL}: was trained with params.train.normalize '{normalize}', which needs to know "
            "other clips of the same speaker or corpus. Train with 'global' to predict."
        )
    profiles = [profile.read(trained.folder / profile.PROFILE) for trained in folds]
    notice_synthetic(profiles)
    features = folds[0].config.inputs.features
    extract = extractor.extractor(params, features, f"params.models.{params.model}.inputs.features")
    examined = [examine(path, profiles, extract, params) for path in files]
    columns = [f"p_{emotion}" for emotion in folds[0].record["classes"]]
    table = pd.DataFrame(np.nan, index=range(len(files)), columns=columns)
    answered = [number for number, each in enumerate(examined) if each.frames is not None]
    if answered:
        clips = [each.frames for each in examined if each.frames is not None]
        of_folds = [trained.probabilities(clips) for trained in folds]
        table.loc[answered] = (sum(of_folds[1:], start=of_folds[0]) / len(folds)).to_numpy()
    table.insert(0, "emotion", [_most_probable(row) for _, row in table.iterrows()])
    table["status"] = [each.status for each in examined]
    table["reason"] = [each.reason for each in examined]
    return table.set_index(pd.Index([str(path) for path in files]))


def _most_probable(probabilities: pd.Series) -> str:
    return "" if probabilities.isna().any() else str(probabilities.idxmax()).removeprefix("p_")


@dataclass(frozen=True)
class Examined:
    """What is done with a file, why, and its features, float32 (n_frames, n_dims), if it is answered."""

    status: str
    reason: str = ""
    frames: Frames | None = None


STATUS = {"answer": "answered", "warn": "warned", "abstain": "abstained"}  # by the values of params.predict


def examine(
    path: Path, profiles: list[profile.Profile], extract: extractor.Extractor, params: Params
) -> Examined:
    """Checks a file as manifest does, compares it with every fold's training clips and extracts its features.

    Memory is bounded as in manifest: a file's header may claim any length.
    """
    try:
        recording = decode(path, params.manifest.longest_s)
        samples = resample(recording, params.audio.sample_rate_hz)
    except AudioError as error:
        return Examined("failed", str(error))
    measured = quality.measure(recording)
    problem = quality.problem(measured, params.manifest)
    action, reason = profile.judge(problem, asdict(measured), profiles, params)
    if action == "abstain":
        return Examined(STATUS[action], reason)
    return Examined(STATUS[action], reason, np.concatenate(list(extract(samples).values()), axis=1))


def notice_synthetic(profiles: list[profile.Profile]) -> None:
    """Prints a notice if the model was trained on synthetic speech."""
    names = sorted({name for each in profiles for name in each.corpora} & {*registry.names("corpora")})
    synthetic = [name for name in names if hasattr(registry.load("corpora", name, str(MODEL)), "synthesise")]
    if synthetic:
        print(
            f"notice: the model was trained on synthetic speech ({', '.join(synthetic)}); its answers say "
            "nothing about people",
            file=sys.stderr,
        )


if __name__ == "__main__":
    run(main)
