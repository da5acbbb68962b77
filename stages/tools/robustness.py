"""Measure what degraded recordings cost: `ser robustness [--every 8]`.

Each trained fold scores its test clips, unchanged and degraded in known ways. Prints UAR, how much of it is
lost, and the fractions that predict warns about and abstains from; writes them to metrics/robustness.json.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import soxr
from tqdm import tqdm

from stages.audio import extractor
from stages.audio.quality import ACTIVE_DB, FRAME_S, frame_levels
from stages.audio.recording import Samples, decode, load_listed, resample
from stages.base import registry
from stages.base.errors import InputError, count, parser_of, run
from stages.base.files import MANIFEST, RAW, write_json
from stages.base.params import Params, read
from stages.compute import hardware
from stages.data import keys, tables
from stages.data.keys import rng
from stages.data.splits import Splits
from stages.evaluation import metrics
from stages.inference.bundle import judge
from stages.learning import dataset, profile, trained_fold
from stages.learning.normalization import statistics
from stages.reporting.robustness import FILE, made_from

RATE_HZ = 16_000
PAD_S = 2.0
ROOM_DBFS = -60.0
CLEAN = "clean"


def augmented(name: str, **drawn: float) -> Callable[[Samples], bytes]:
    """Returns a condition that an entry of stages/augmentations makes, with these parameters."""

    def degrade(samples: Samples) -> bytes:
        entry = registry.load("augmentations", name, "robustness")
        return wav(entry.apply(samples, RATE_HZ, rng(0, name), **drawn))

    return degrade


def wav(samples: Samples, rate_hz: int = RATE_HZ) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate_hz, format="WAV", subtype="PCM_16")  # clips at full scale
    return buffer.getvalue()


def padded(samples: Samples, level_dbfs: float) -> Samples:
    """Returns the samples between two stretches of white noise of PAD_S."""
    noise = rng(0, "pad").normal(0, 10 ** (level_dbfs / 20), (2, round(PAD_S * RATE_HZ)))
    return np.concatenate([noise[0], samples, noise[1]]).astype(np.float32)


def trimmed(samples: Samples) -> Samples:
    """Returns the samples from the first to the last active frame."""
    levels_db = frame_levels(samples, RATE_HZ)
    active = np.flatnonzero(levels_db >= levels_db.max() - ACTIVE_DB)
    n = round(FRAME_S * RATE_HZ)
    return samples[active[0] * n : (active[-1] + 1) * n]


# What is done to a recording, float32 (n_samples,) at RATE_HZ; it returns a file.
CONDITIONS: dict[str, Callable[[Samples], bytes]] = {
    CLEAN: wav,
    "-20 dB": augmented("gain", gain_db=-20.0),
    "+10 dB, clipped": augmented("gain", gain_db=10.0),
    "sample rate 8 kHz": lambda samples: wav(soxr.resample(samples, RATE_HZ, 8000, "HQ"), 8000),
    "DC offset of 0.05": lambda samples: wav(samples + np.float32(0.05)),
    "2 s of silence on both sides": lambda samples: wav(padded(samples, -200.0)),
    "2 s of noise at -60 dBFS on both sides": lambda samples: wav(padded(samples, ROOM_DBFS)),
    "trimmed to speech": lambda samples: wav(trimmed(samples)),
    "white noise, SNR 10 dB": augmented("noise", snr_db=10.0),
    "reverberation, RT60 0.5 s, direct 3 dB": augmented("reverberation", rt60_s=0.5, direct_db=3.0),
    "MP3, 32 kbit/s": augmented("codec", kbit_s=32.0),
}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument(
        "--every", type=count, default=1, metavar="N", help="score one test clip in N, drawn at random"
    )
    every = parser.parse_args().every
    params = read()
    hardware.limit(params.train.threads)
    measured = measure(params, every)
    write_json(measured, FILE)
    table = pd.DataFrame.from_dict(measured["conditions"], orient="index")
    print(table.to_markdown(floatfmt=(None, ".3f", ".3f", ".0%", ".0%")))


def measure(params: Params, every: int) -> dict[str, Any]:
    """Returns `conditions`, with uar, lost, warned and abstained of each, and what was measured.

    Args:
        every: of the test clips of a fold and label, one in `every`, sampled by `params.seed`.

    Raises:
        InputError: the trained folds do not belong to params.yaml and the splits, or a recording in data/raw
            is not that of the splits.
    """
    with hardware.quiet():  # this may import TensorFlow
        folds = trained_fold.trained(params)
    splits = Splits.read()
    records = {fold.folder.name: fold.record for fold in folds}
    trained_fold.check_tested(records, params, splits)
    check_recordings(splits)
    features = folds[0].config.inputs.features
    extract = extractor.extractor(params, features, f"params.models.{params.model}.inputs.features")
    paths = tables.read(MANIFEST, tables.MANIFEST, ["clip", "path"]).set_index("clip")["path"]
    profiles = [profile.read(fold.folder / profile.PROFILE) for fold in folds]
    scored = {}
    for name in tqdm(CONDITIONS, desc="robustness", unit="condition", disable=None):
        parts = [
            score(fold, of_fold, paths, splits, extract, CONDITIONS[name], params, every)
            for fold, of_fold in zip(folds, profiles, strict=True)
        ]
        scored[name] = pd.concat(parts, ignore_index=True)
    protocol = params.split.protocol
    uars = {name: metrics.stated(scores, protocol)["uar"] for name, scores in scored.items()}
    return {
        "model": params.model,
        "made_from": made_from(trained_fold.origin(records, params), params),
        "statistics": statistics(params.train.model_dump()),
        "n_clips": int(scored[CLEAN]["clip"].nunique()),
        "n_speakers": int(scored[CLEAN]["speaker"].nunique()),
        "conditions": {
            name: {
                "uar": uars[name],
                "lost": uars[CLEAN] - uars[name],
                "warned": float((scores["action"] == "warn").mean()),
                "abstained": float((scores["action"] == "abstain").mean()),
            }
            for name, scores in scored.items()
        },
    }


def drawn(rows: pd.DataFrame, every: int, seed: int) -> pd.DataFrame:
    """Returns one row in `every`, with all labels alike; the names of clips follow speakers and labels.

    >>> rows = pd.DataFrame({"clip": [*"abcdefgh"], "label": ["anger"] * 4 + ["fear"] * 4})
    >>> drawn(rows, 2, seed=20)["label"].value_counts().to_dict()
    {'anger': 2, 'fear': 2}
    """
    by_key = rows.assign(key=[keys.fingerprint(seed, clip) for clip in rows["clip"]])
    chosen = by_key.sort_values(["label", "key"]).index[::every]
    return rows.loc[chosen.sort_values()].reset_index(drop=True)


def check_recordings(splits: Splits) -> None:
    """Checks that data/raw has the recordings of the splits' test clips.

    Raises:
        InputError: names the first file that is missing or another one.
    """
    manifest = tables.read(MANIFEST, tables.MANIFEST, ["path", "sha256"])
    clips = splits.clips[splits.clips["roles"].str.contains("test")]
    tested = manifest["sha256"].isin(clips["sha256"])
    for path, written in manifest[tested].itertuples(index=False):
        if not (RAW / path).is_file() or keys.sha256(RAW / path) != written:
            raise InputError(f"{RAW / path}: is not what {MANIFEST} lists. Run `dvc repro evaluate`.")


def score(
    fold: trained_fold.TrainedFold,
    of_fold: profile.Profile,
    paths: pd.Series,
    splits: Splits,
    extract: extractor.Extractor,
    degrade: Callable[[Samples], bytes],
    params: Params,
    every: int,
) -> pd.DataFrame:
    """Returns the probabilities of a fold's degraded test clips, and `action`, what predict does.

    Args:
        of_fold: what the fold's training clips were like.
        paths: of the recordings in data/raw, by clip.
        every: see `measure`.
    """
    rows = drawn(splits.fold(fold.number, "test"), every, params.seed)
    frames, actions = [], []
    with tempfile.NamedTemporaryFile() as file:
        for clip in rows["clip"]:
            Path(file.name).write_bytes(degrade(load_listed(RAW / paths[clip], RATE_HZ)))
            recording = decode(Path(file.name))
            actions.append(judge(recording, [of_fold], params)[0])
            computed = extract(resample(recording, params.audio.sample_rate_hz))
            frames.append(np.concatenate(list(computed.values()), axis=1))
    probabilities = fold.probabilities(frames, rows)
    return pd.concat([rows[dataset.DESCRIPTION], probabilities], axis=1).assign(action=actions)


if __name__ == "__main__":
    run(main)
