"""What degraded recordings cost, and whether predict notices: `python -m benchmark.speed.degraded [every]`.

Run it in a folder with trained folds. Each fold scores its test clips, or one of `every`, clean and degraded.
Prints a Markdown table: UAR, and the fractions that predict warns about and abstains from.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import soxr
from sklearn.metrics import recall_score

from stages.audio import extractor
from stages.audio.quality import ACTIVE_DB, FRAME_S, frame_levels
from stages.audio.recording import decode, load, resample
from stages.base.files import MANIFEST, RAW, SPLITS
from stages.base.params import read
from stages.data import tables
from stages.inference.bundle import judge
from stages.learning import profile, trained_fold

RATE_HZ = 16_000
PAD_S = 2.0
ROOM_DBFS = -60.0


def wav(samples: np.ndarray, rate_hz: int = RATE_HZ) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate_hz, format="WAV", subtype="PCM_16")  # clips at full scale
    return buffer.getvalue()


def mp3(samples: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    quality = (160 - 32) / (160 - 8)  # of 8 to 160 kbit/s at 16 kHz: 32 kbit/s
    soundfile.write(
        buffer, samples, RATE_HZ, format="MP3", bitrate_mode="CONSTANT", compression_level=quality
    )
    return buffer.getvalue()


def padded(samples: np.ndarray, level_dbfs: float) -> np.ndarray:
    pad = np.random.default_rng(0).normal(0, 10 ** (level_dbfs / 20), (2, int(PAD_S * RATE_HZ)))
    return np.concatenate([pad[0], samples, pad[1]])


def trimmed(samples: np.ndarray) -> np.ndarray:
    levels_db = frame_levels(samples, RATE_HZ)
    active = np.flatnonzero(levels_db >= levels_db.max() - ACTIVE_DB)
    n = round(FRAME_S * RATE_HZ)
    return samples[active[0] * n : (active[-1] + 1) * n]


CONDITIONS: dict[str, Callable[[np.ndarray], bytes]] = {
    "clean": wav,
    "-20 dB": lambda x: wav(0.1 * x),
    "+10 dB, clipped": lambda x: wav(10**0.5 * x),
    "8 kHz": lambda x: wav(soxr.resample(x, RATE_HZ, 8000, "HQ"), 8000),
    "DC 0.05": lambda x: wav(x + 0.05),
    "2 s of silence on both sides": lambda x: wav(padded(x, -200.0)),
    "2 s of room noise on both sides": lambda x: wav(padded(x, ROOM_DBFS)),
    "trimmed to speech": lambda x: wav(trimmed(x)),
    "MP3, 32 kbit/s": mp3,
}


def main() -> None:
    every = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    params = read()
    folds = trained_fold.trained(params)
    features = folds[0].config.inputs.features
    extract = extractor.extractor(params, features, f"params.models.{params.model}.inputs.features")
    paths = tables.read(MANIFEST, tables.MANIFEST, ["clip", "path"]).set_index("clip")["path"]
    splits = tables.read(SPLITS, tables.SPLITS)
    print("| recordings | UAR | warned | abstained |\n|---|---|---|---|")
    for name, degrade in CONDITIONS.items():
        truth, predicted, actions = [], [], []
        for trained in folds:
            rows = splits[(splits["fold"] == trained.number) & (splits["role"] == "test")]
            rows = rows.sort_values("clip").iloc[::every]
            profiles = [profile.read(trained.folder / profile.PROFILE)]
            frames = []
            with tempfile.NamedTemporaryFile() as file:
                for clip in rows["clip"]:
                    Path(file.name).write_bytes(degrade(load(RAW / paths[clip], RATE_HZ)))
                    recording = decode(Path(file.name))
                    actions.append(judge(recording, profiles, params)[0])
                    computed = extract(resample(recording, params.audio.sample_rate_hz))
                    frames.append(np.concatenate(list(computed.values()), axis=1))
            truth += rows["label"].tolist()
            predicted += trained.probabilities(frames).idxmax(axis=1).str.removeprefix("p_").tolist()
        uar = recall_score(truth, predicted, average="macro")
        done = pd.Series(actions)
        print(
            f"| {name} | {uar:.3f} | {(done == 'warn').mean():.0%} | {(done == 'abstain').mean():.0%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
