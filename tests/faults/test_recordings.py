"""Thousands of corrupted files go through manifest and featurize as they would in a corpus."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from stages.audio.quality import probe
from stages.base.files import AUGMENTED, FEATURES, MANIFEST, RAW
from stages.data import shards, tables
from tests.faults import mutants
from tests.faults.conftest import Fault, draws
from tests.support import shipped
from tests.support.workspace import ROOT, Workspace

FILES_PER_DRAW = 256
MOST_BYTES = 2**30  # of memory in any one process, with `manifest.longest_s` as params.yaml has it
LONGEST_RUN_S = 900

# The reasons for excluding a file, up to the colon.
REASONS = {
    "a Git LFS pointer instead of audio",
    "contradiction",
    "duplicate",
    "empty",
    "impossible header",
    "no decoder",
    "no speech",
    "not audio or damaged",
    "not finite",
    "overloaded",
    "silent",
    "too long",
    "too loud",
    "too short",
    "truncated",
    "unfinished header",
    "wrong scale",
}
NAMES = [
    f"03-01-{emotion:02}-{intensity:02}-{statement:02}-{repetition:02}-{actor:02}.wav"
    for actor, emotion, intensity, statement, repetition in product(
        range(1, 25), range(2, 9), (1, 2), (1, 2), (1, 2)
    )
]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    made = Workspace(tmp_path)
    made.set(corpus=["ravdess"], compute__workers=2)
    (tmp_path / RAW / "ravdess").mkdir(parents=True)
    tables.write(tables.build([], tables.AUGMENTED), tables.AUGMENTED, AUGMENTED / shards.INDEX)
    return made


def real_recordings() -> list[bytes]:
    """Returns a few of each real corpus and all the publishers' own files, where available."""
    folder = ROOT.parent / "shared" / "corpora"
    corpora = [sorted(folder.glob(f"{name}/**/*.flac")) for name in ("ravdess", "ravdess_song", "tess")]
    few = [path for paths in corpora for path in paths[::250]]
    return [path.read_bytes() for path in (*few, *sorted(folder.glob("originals/**/*.wav")))]


def run(verb: str, path: Path | None = None) -> tuple[int, str, int]:
    """Runs a stage. Returns its exit status, what it printed, and the most memory a process of it had, bytes.

    Args:
        path: a folder whose modules are imported first.
    """
    python_path = os.pathsep.join(map(str, filter(None, [path, ROOT])))
    with tempfile.TemporaryFile() as log:
        process = psutil.Popen(
            [sys.executable, "-m", f"stages.{verb}"],
            env=os.environ | {"PYTHONPATH": python_path},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        most_bytes, end_s = 0, time.monotonic() + LONGEST_RUN_S
        while process.poll() is None:
            with suppress(psutil.NoSuchProcess):
                most_bytes = max([most_bytes, *map(peak_bytes, [process, *process.children(recursive=True)])])
            if time.monotonic() > end_s:
                process.kill()
            time.sleep(0.1)
        log.seek(0)
        return process.returncode, log.read().decode(errors="replace"), most_bytes


def peak_bytes(process: psutil.Process) -> int:
    """Returns the most memory the process has had in RAM so far, 0 when it is gone."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return 0
    return int(re.search(r"VmHWM:\s*(\d+) kB", status + "VmHWM: 0 kB")[1]) * 1024


def check_features(clips: pd.DataFrame) -> None:
    """Every clip has features, all of them finite, and no other clip has any."""
    index = tables.read(FEATURES / shards.INDEX, tables.FEATURES)
    assert sorted(index["clip"]) == sorted(clips["clip"])
    for name in index["shard"].unique():
        with np.load(FEATURES / name, allow_pickle=False) as stored:
            assert {"logmel", "mfcc", "zcr", "rms", "chroma"} < set(stored.files)
            for array in stored.values():
                assert array.dtype.kind != "f" or np.isfinite(array).all()


@pytest.mark.parametrize("number", draws(sample=0, slow=3, campaign=44))
def test_a_corrupted_file_gives_finite_features_or_a_reason(
    workspace: Workspace, fault: Fault, number: int
) -> None:
    rng, real = np.random.default_rng((7, number)), real_recordings()
    folder = workspace.folder / RAW / "ravdess"
    good = NAMES[0]
    (folder / good).write_bytes(mutants.encoded(mutants.voiced(rng, 8_000)))
    names = NAMES[1 : FILES_PER_DRAW + 1]
    kinds = [mutants.KINDS[i % len(mutants.KINDS)] for i in range(len(names))]
    for name, kind in zip(names, kinds, strict=True):
        (folder / name).write_bytes(mutants.mutant(rng, kind, real))
    with ExitStack() as faults:
        for kind in kinds:
            faults.enter_context(fault(f"recording: {kind}"))
        status, printed, n_bytes = run("manifest")
        assert status == 0, printed
        assert n_bytes < MOST_BYTES
        table = tables.read(MANIFEST, tables.MANIFEST).set_index("path")
        assert sorted(table.index) == sorted(f"ravdess/{name}" for name in (good, *names))
        assert set(table["problem"].str.split(":").str[0]) <= REASONS | {""}
        assert table.loc[f"ravdess/{good}", "problem"] == ""
        usable = table[table["problem"] == ""]
        assert f"{len(usable)} of {len(table)} recordings are usable" in printed
        status, printed, n_bytes = run("featurize")
        assert status == 0, printed
        assert "Warning: " not in printed.replace("Warning: Xing", "")  # of libmpg123, harmless
        assert n_bytes < MOST_BYTES
        check_features(usable)


def hum(rng: np.random.Generator) -> np.ndarray:
    hz = rng.choice([50, 60, 100, 120, 400, 1000])
    return 10 ** rng.uniform(-2, -0.5) * np.sin(2 * np.pi * hz * np.arange(16_000) / mutants.RATE_HZ)


def little(rng: np.random.Generator, n_samples: int) -> np.ndarray:
    """Returns silence or faint noise with that much sound in it."""
    signal = rng.choice([0.0, 1e-5]) * rng.normal(size=16_000)
    at = rng.integers(16_000 - n_samples)
    signal[at : at + n_samples] += 0.5 * rng.uniform(0.5, 1, n_samples) * rng.choice([-1, 1], n_samples)
    return signal


def wrapped(rng: np.random.Generator) -> np.ndarray:
    """Returns signed bytes as they sound when read as unsigned ones."""
    signed = np.round(100 * mutants.voiced(rng, 16_000) / 0.5).clip(-127, 127).astype(np.int8)
    return (signed.view(np.uint8).astype(float) - 128) / 128


# What libsndfile decodes without complaint, and is no speech or has the wrong scale: the reason.
NO_SPEECH: dict[str, tuple[Callable[[np.random.Generator], np.ndarray], str]] = {
    "digital silence or a constant": (lambda rng: np.full(16_000, rng.choice([0, 0.1, -0.5])), "silent"),
    "a muted microphone": (lambda rng: rng.normal(0, rng.uniform(1e-6, 1e-4), 16_000), "silent"),
    "hum or a tone": (hum, "no speech"),
    "white noise": (lambda rng: rng.normal(0, 10 ** rng.uniform(-2, -1), 16_000), "no speech"),
    "a click": (lambda rng: little(rng, 2), "no speech"),
    "50 ms of sound": (lambda rng: little(rng, 800), "no speech"),
    "unscaled integers": (lambda rng: 2**15 * mutants.voiced(rng, 16_000), "too loud"),
    "signed bytes as unsigned": (wrapped, "overloaded"),
}


@pytest.mark.parametrize("kind", NO_SPEECH)
def test_what_decodes_but_is_no_speech_is_excluded(fault: Fault, tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng((7, *kind.encode()))
    make, reason = NO_SPEECH[kind]
    limits = shipped.read().manifest
    for _ in range(20):
        (tmp_path / "clip.wav").write_bytes(mutants.encoded(make(rng), subtype="FLOAT"))
        with fault(f"recording: {kind}"):
            assert probe(tmp_path / "clip.wav", limits)["problem"].split(":")[0] == reason


def test_the_same_audio_under_other_labels_is_excluded_wholly(workspace: Workspace, fault: Fault) -> None:
    rng = np.random.default_rng(7)
    folder = workspace.folder / RAW / "ravdess"
    for name in NAMES[:8]:
        (folder / name).write_bytes(mutants.encoded(mutants.voiced(rng, 16_000)))
    pairs = list(zip(NAMES[8:40], NAMES[40:72], strict=True))  # another emotion or speaker
    for pair in pairs:
        content = mutants.encoded(mutants.voiced(rng, 16_000))
        for name in pair:
            (folder / name).write_bytes(content)
    status, printed, _ = run("manifest")
    assert status == 0, printed
    problems = tables.read(MANIFEST, tables.MANIFEST).set_index("path")["problem"]
    assert {problems[f"ravdess/{name}"] for name in NAMES[:8]} == {""}
    for pair in pairs:
        with fault("recording: the same audio under another label"):
            for name in pair:
                assert problems[f"ravdess/{name}"].startswith("contradiction: the same audio as ")


@pytest.mark.slow
def test_ten_minutes_are_excluded_or_used_depending_on_longest_s(workspace: Workspace, fault: Fault) -> None:
    folder = workspace.folder / RAW / "ravdess"
    rng = np.random.default_rng(7)
    (folder / NAMES[0]).write_bytes(mutants.encoded(mutants.voiced(rng, 8_000)))
    long = mutants.encoded(mutants.voiced(rng, 600 * 48_000), 48_000, "FLAC")
    (folder / NAMES[1]).write_bytes(long)
    with fault("recording: ten minutes long"):
        status, printed, n_bytes = run("manifest")
        assert status == 0
        assert f"excluded: ravdess/{NAMES[1]}: too long: 600.0 s by its header, limit 120 s" in printed
        assert n_bytes < MOST_BYTES / 2  # nothing of it was decoded
    workspace.set(manifest__longest_s=600.0)
    with fault("recording: ten minutes long"):
        for verb in ("manifest", "featurize"):
            status, printed, n_bytes = run(verb)
            assert status == 0, printed
            assert n_bytes < MOST_BYTES
        table = tables.read(MANIFEST, tables.MANIFEST)
        assert list(table["problem"]) == ["", ""]
        check_features(table)


@pytest.mark.slow
def test_the_longest_recording_at_the_highest_rate_stays_within_memory(
    workspace: Workspace, fault: Fault
) -> None:
    rng = np.random.default_rng(7)
    second = mutants.voiced(rng, 768_000)
    second[384_000:] *= 0.01  # a level that does not vary is no speech
    signal = np.tile(second, 119)
    content = mutants.encoded(signal, 768_000)
    del signal
    (workspace.folder / RAW / "ravdess" / NAMES[0]).write_bytes(content)
    with fault("recording: two minutes at 768 kHz"):
        for verb in ("manifest", "featurize"):
            status, printed, n_bytes = run(verb)
            assert status == 0, printed
            assert n_bytes < MOST_BYTES
        check_features(tables.read(MANIFEST, tables.MANIFEST))


# libsndfile was never seen to crash, so a file with this text aborts the process that opens it.
CRASHES = """
import os
import soundfile

class SoundFile(soundfile.SoundFile):
    def __init__(self, file, *rest, **options):
        with open(file, "rb") as content:
            if b"end the process" in content.read():
                os.abort()
        super().__init__(file, *rest, **options)

soundfile.SoundFile = SoundFile
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_that_crashes_the_process_is_named_and_the_others_are_listed(
    workspace: Workspace, tmp_path: Path, fault: Fault, workers: int
) -> None:
    workspace.set(compute__workers=workers)
    rng = np.random.default_rng(7)
    folder = workspace.folder / RAW / "ravdess"
    names = NAMES[:40]
    for name in names:
        (folder / name).write_bytes(mutants.encoded(mutants.voiced(rng, 8_000)))
    crashing = [names[5], names[21]]
    for name in crashing:
        (folder / name).write_bytes(b"RIFF end the process")
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "sitecustomize.py").write_text(CRASHES)
    with fault("recording: ends the process that decodes it"):
        status, printed, _ = run("manifest", path=tmp_path / "first")
        assert status == 0, printed
        problems = tables.read(MANIFEST, tables.MANIFEST).set_index("path")["problem"]
        assert len(problems) == len(names)
        assert set(problems[problems != ""].index) == {f"ravdess/{name}" for name in crashing}
        assert set(problems[problems != ""]) == {"crash: decoding it crashes the process"}


def test_special_files_and_unprintable_names_are_rows_too(workspace: Workspace, fault: Fault) -> None:
    folder = workspace.folder / RAW / "ravdess"
    good = mutants.encoded(mutants.voiced(np.random.default_rng(7), 8_000))
    (folder / NAMES[0]).write_bytes(good)
    (folder / "folder.wav").mkdir()
    (folder / "folder.wav" / NAMES[1]).write_bytes(good[:-100])
    (folder / NAMES[2]).symlink_to("nowhere.wav")
    os.mkfifo(folder / NAMES[3])
    (folder / os.fsdecode(b"caf\xe9.wav")).write_bytes(good)
    with fault("recording: no file, or a name that is not text"):
        status, printed, _ = run("manifest")
        assert status == 0, printed
        problems = tables.read(MANIFEST, tables.MANIFEST).set_index("path")["problem"]
        assert problems.to_dict() == {
            f"ravdess/{NAMES[0]}": "",
            f"ravdess/folder.wav/{NAMES[1]}": "truncated: 16000 bytes of audio by its header, 15900 found",
            f"ravdess/{NAMES[2]}": "unreadable: not a file, or a broken link",
            f"ravdess/{NAMES[3]}": "unreadable: not a file, or a broken link",
            "ravdess/caf\\xe9.wav": "unreadable: its name is not UTF-8, rename it",
        }
