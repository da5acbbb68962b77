"""Thousands of corrupted files go through manifest and featurize as they would in a corpus."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from stages.base.files import AUGMENTED, FEATURES, MANIFEST, RAW
from stages.data import shards, tables
from tests.faults import mutants
from tests.faults.conftest import Fault, draws
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


@pytest.mark.parametrize("number", draws(sample=1, slow=4, campaign=44))
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
    signal = np.tile(mutants.voiced(rng, 768_000), 119)
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
    with fault("recording: no file, or a name that is no text"):
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
