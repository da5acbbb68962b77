"""Feature extraction on one core, compared with librosa as users call it and openSMILE.

python -m benchmark.speed.features
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import soundfile

from benchmark.speed import measure, peers, record, recordings
from benchmark.speed.record import Row
from stages import featurize
from stages.audio.extractor import Extractor, extractor
from stages.audio.recording import Samples
from stages.base import params
from stages.base.errors import run_without_arguments
from stages.compute import hardware

N_CLIPS = 96
FEATURES = ["logmel", "mfcc", "zcr", "rms"]
SETTINGS = {"1024/256, 128 bands": (1024, 256, 128), "512/160, 80 bands": (512, 160, 80)}
LIBRARIES = ("librosa", "numpy", "scipy", "soundfile")
CHROMA = [*FEATURES, "chroma"]
# By the words in the table: the features, librosa's tuning, which it estimates without one, and the goal.
EXTRACTIONS: dict[str, tuple[list[str], float | None, str]] = {
    "": (FEATURES, None, "at least 8.5"),
    ", chroma": (CHROMA, None, "at least 4"),
    ", chroma (there too with tuning 0)": (CHROMA, 0.0, ""),
}


def main() -> None:
    hardware.limit(1)
    settings = params.read()
    as_recorded = settings.audio.model_copy(update={"trim_db": None, "level_db": None})  # as librosa's are
    settings = settings.model_copy(update={"audio": as_recorded})
    paths, signals, data = recordings.some(N_CLIPS, settings.audio.sample_rate_hz)
    rows, off_db = [], {}
    for name, (n_fft, hop_length, n_mels) in SETTINGS.items():
        changes = {"n_fft": n_fft, "hop_length": hop_length, "n_mels": n_mels}
        chosen = settings.model_copy(update={"spectrum": settings.spectrum.model_copy(update=changes)})
        rows += [_extraction(chosen, signals, name, also) for also in EXTRACTIONS]
        off_db[name] = max(_off_db(chosen, signal) for signal in signals)
    rows += _whole(settings, paths)
    rows += _smile(settings, signals)
    record.write("features", data, rows, LIBRARIES, log_mel_off_db=off_db)


def users(
    signal: Samples,
    settings: params.Params,
    names: Sequence[str] = FEATURES,
    tuning: float | None = None,
) -> dict[str, Any]:
    """Returns the features as users get them: each from its librosa function, on the waveform."""
    rate_hz, spectrum = settings.audio.sample_rate_hz, settings.spectrum
    n_fft, hop_length = spectrum.n_fft, spectrum.hop_length
    mel: dict[str, Any] = {
        "sr": rate_hz, "n_fft": n_fft, "hop_length": hop_length,
        "n_mels": spectrum.n_mels, "fmin": spectrum.fmin_hz, "fmax": spectrum.fmax_hz,
    }  # fmt: skip
    functions: dict[str, Callable[[], Any]] = {
        "logmel": lambda: librosa.power_to_db(librosa.feature.melspectrogram(y=signal, **mel)),
        "mfcc": lambda: librosa.feature.mfcc(y=signal, n_mfcc=40, **mel),
        "zcr": lambda: librosa.feature.zero_crossing_rate(signal, frame_length=n_fft, hop_length=hop_length),
        "rms": lambda: librosa.feature.rms(y=signal, frame_length=n_fft, hop_length=hop_length),
        "chroma": lambda: librosa.feature.chroma_stft(
            y=signal, sr=rate_hz, tuning=tuning, n_fft=n_fft, hop_length=hop_length
        ),
    }
    return {name: functions[name]() for name in names}


def _extraction(settings: params.Params, signals: list[Samples], name: str, also: str) -> Row:
    names, tuning, goal = EXTRACTIONS[also]
    extract = extractor(settings, names, "benchmark")
    seconds = measure.alternate(
        {
            "ours": lambda: [extract(signal) for signal in signals],
            "theirs": lambda: [users(signal, settings, names, tuning) for signal in signals],
        }
    )
    what = f"log-mel, MFCC, ZCR, RMS{also}; {name}"
    return Row.per_clip(what, "`librosa.feature.*`", seconds, len(signals), goal)


def _whole(settings: params.Params, paths: list[Path]) -> list[Row]:
    """From files to a file: decode, extract, write. Corpora are published as WAV; many keep them as FLAC."""
    extract = extractor(settings, FEATURES, "benchmark")
    rows = []
    with recordings.scratch() as folder:
        wavs = [folder / f"{path.stem}.wav" for path in paths]
        for path, wav in zip(paths, wavs, strict=True):
            soundfile.write(wav, *soundfile.read(path, dtype="int16"))
        for name, files in {"FLAC": paths, "WAV": wavs}.items():
            seconds = measure.alternate(
                {
                    "ours": partial(_shard, files, extract, folder),
                    "theirs": partial(_users_files, files, settings, folder),
                }
            )
            what = f"log-mel, MFCC, ZCR, RMS, from {name} to npz"
            against = "`librosa.load`, `.feature.*`, `np.savez`"
            rows.append(Row.per_clip(what, against, seconds, len(files), "at least 4.5"))
    return rows


def _shard(paths: list[Path], extract: Extractor, folder: Path) -> None:
    arrays = featurize.of_recordings([path.stem for path in paths], paths, extract)
    np.savez(folder / "shard.npz", allow_pickle=False, **arrays)


def _users_files(paths: list[Path], settings: params.Params, folder: Path) -> None:
    for path in paths:
        signal, _ = librosa.load(path, sr=settings.audio.sample_rate_hz)
        np.savez(folder / f"{path.stem}.npz", **users(signal, settings))


def _smile(settings: params.Params, signals: list[Samples]) -> list[Row]:
    """Compares with openSMILE's 88 functionals eGeMAPSv02, computed in the peers' environment."""
    python = peers.python()
    if python is None:
        return []
    extract = extractor(settings, CHROMA, "benchmark")
    script = Path(__file__).with_name("smile.py")
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    with recordings.scratch() as folder:
        files = [folder / f"{number}.wav" for number in range(len(signals))]
        for file, signal in zip(files, signals, strict=True):
            soundfile.write(file, signal, settings.audio.sample_rate_hz)
        arguments = [str(python), str(script), *map(str, files)]
        with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
            assert peer.stdin and peer.stdout
            for number in range(-1, measure.N_ROUNDS):
                start = time.process_time()
                for signal in signals:
                    extract(signal)
                took = time.process_time() - start
                print("go", file=peer.stdin, flush=True)
                theirs = float(peer.stdout.readline())
                if number >= 0:
                    seconds["ours"].append(took)
                    seconds["theirs"].append(theirs)
            peer.stdin.close()
    what = "all five features, of every frame"
    return [Row.per_clip(what, "openSMILE's eGeMAPSv02, functionals", seconds, len(signals), "")]


def _off_db(settings: params.Params, signal: Samples) -> float:
    """Returns the largest difference between our log-mel and librosa's, in dB."""
    ours = extractor(settings, ["logmel"], "benchmark")(signal)["logmel"]
    return float(abs(ours - users(signal, settings)["logmel"].T).max())


if __name__ == "__main__":
    run_without_arguments(main)
