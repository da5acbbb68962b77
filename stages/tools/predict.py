"""Predict the emotion of recordings: `python -m stages.tools.predict clip.wav ...`.

Prints the mean probabilities of the trained folds' models, as CSV.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from stages.audio import extractor
from stages.audio.recording import AudioError, decode, resample
from stages.base.errors import InputError, run
from stages.base.files import MODEL
from stages.base.params import Params, read
from stages.compute import hardware
from stages.learning import trained_fold
from stages.learning.preprocessing import Frames


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.tools.predict", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="audio in a format that libsndfile reads")
    files = parser.parse_args().files
    params = read()
    hardware.limit(params.train.threads)
    predict(files, params).to_csv(sys.stdout, index_label="file", float_format="%.3f", lineterminator="\n")


def predict(files: list[Path], params: Params) -> pd.DataFrame:
    """Returns the most probable `emotion` and all probabilities of each file, a row per file.

    Raises:
        InputError: no model is trained, params.yaml does not match it, it needs speakers' statistics, or a
            file is not a recording.
    """
    folds = trained_fold.trained(params)
    if params.train.normalize == "speaker":
        raise InputError(
            f"{MODEL}: was trained with params.train.normalize 'speaker', which needs to know the speaker "
            "of each clip. Train with 'global' to predict."
        )
    clips = [extract_features(path, folds[0].config.inputs.features, params) for path in files]
    each = [trained.probabilities(clips) for trained in folds]
    mean = sum(each[1:], start=each[0]) / len(each)
    mean.index = pd.Index([str(path) for path in files])
    mean.insert(0, "emotion", mean.idxmax(axis=1).str.slice(len("p_")))
    return mean


def extract_features(path: Path, features: list[str], params: Params) -> Frames:
    """Returns the features of a recording side by side, float32 (n_frames, n_dims).

    Memory is bounded as in manifest: a file's header may claim any length.

    Raises:
        InputError: the file is not a recording, or is longer than `params.manifest.longest_s`.
    """
    extract = extractor.extractor(params, features, f"params.models.{params.model}.inputs.features")
    try:
        recording = decode(path, params.manifest.longest_s)
        computed = extract(resample(recording, params.audio.sample_rate_hz))
    except AudioError as error:
        raise InputError(
            f"{path}: {error}. Give a recording of at most {params.manifest.longest_s:g} s "
            "(params.manifest.longest_s), in a format that libsndfile reads."
        ) from error
    return np.concatenate([computed[name] for name in features], axis=1)


if __name__ == "__main__":
    run(main)
