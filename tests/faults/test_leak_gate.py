"""The leakage check on splits with every kind of leak, and with each of its own rules changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from stages import manifest as manifest_stage
from stages.base.errors import InputError
from stages.base.files import MANIFEST, RAW
from stages.data import tables
from stages.splitting import leak, protocols
from stages.splitting.leak import LeakError
from tests.faults.conftest import RECORD, Fault, draws
from tests.faults.mutants import RATE_HZ, voiced
from tests.support import long_splits, shipped
from tests.support.manifests import manifest
from tests.support.workspace import ROOT, Workspace

PROTOCOLS = list(protocols.PROTOCOLS)
SPLIT = shipped.read().split
attacked = settings(
    max_examples=25 if RECORD in os.environ else 10,
    derandomize=True,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
    ],
)


@st.composite
def splits(draw: st.DrawFn) -> tuple[pd.DataFrame, str]:
    """Draws a manifest and a protocol; returns the rows of its splits and its name."""
    protocol = draw(st.sampled_from(PROTOCOLS))
    n_corpora = draw(st.integers(2, 3)) if protocol == "cross_corpus" else draw(st.integers(1, 2))
    n_speakers, n_sentences = draw(st.integers(3, 6)), draw(st.integers(2, 4))
    clips = recordings(n_corpora, n_speakers, n_sentences)
    listed = [f"s{speaker}" for speaker in range(n_speakers)]
    block = SPLIT.model_copy(
        update={"protocol": protocol, "n_folds": 3, "fixed_list": "drawn", "lists": {"drawn": listed}}
    )
    try:
        made = protocols.assign(clips.assign(label=clips["emotion"]), block, draw(st.integers(0, 99)))
    except InputError:
        assume(False)
    return long_splits.rows_of(made), protocol


@cache
def recordings(n_corpora: int, n_speakers: int, n_sentences: int) -> pd.DataFrame:
    """Returns the manifest of corpora in which every speaker says every sentence in two emotions."""
    return manifest(
        {
            "corpus": f"c{corpus}",
            "clip": f"{speaker}_{sentence}_{emotion}",
            "speaker": f"s{speaker}",
            "sex": ("female", "male")[speaker % 2],
            "sentence": f"t{sentence}",
            "emotion": emotion,
        }
        for corpus in range(n_corpora)
        for speaker in range(n_speakers)
        for sentence in range(n_sentences)
        for emotion in ("anger", "sadness")
    )


@st.composite
def pairs(draw: st.DrawFn) -> tuple[pd.DataFrame, str, pd.Series, pd.Series]:
    """Draws a split, its protocol and two of its rows that have two roles in one fold."""
    made, protocol = draw(splits())
    first = made.loc[draw(st.sampled_from(list(made.index)))]
    others = made[(made["fold"] == first["fold"]) & (made["role"] != first["role"])]
    return made, protocol, first, made.loc[draw(st.sampled_from(list(others.index)))]


def caught(fault: Fault, kind: str, made: pd.DataFrame, protocol: str, rule: str) -> None:
    with fault(f"leak: {kind}"), pytest.raises(LeakError, match=rf"{protocol}, fold \d.*'{rule}'"):
        check(made, protocol)


def check(rows: pd.DataFrame, protocol: str) -> None:
    leak.check(long_splits.of_rows(rows), protocol)


@attacked
@given(splits())
def test_splits_of_every_protocol_pass(drawn: tuple[pd.DataFrame, str]) -> None:
    check(*drawn)


@attacked
@given(pairs())
def test_a_speaker_in_two_roles_is_caught(
    fault: Fault, drawn: tuple[pd.DataFrame, str, pd.Series, pd.Series]
) -> None:
    made, protocol, first, other = drawn
    assume(protocol != "random" and "test" in (first["role"], other["role"]))
    made.loc[made["clip"] == other["clip"], "speaker"] = first["speaker"]
    caught(fault, "a speaker in two roles", made, protocol, "one speaker in one role")


@attacked
@given(pairs())
def test_a_clip_that_changes_its_role_is_caught(
    fault: Fault, drawn: tuple[pd.DataFrame, str, pd.Series, pd.Series]
) -> None:
    made, protocol, first, other = drawn
    assume(protocol != "random" and "test" in (first["role"], other["role"]))
    speakers = made[(made["fold"] == first["fold"]) & (made["speaker"] == first["speaker"])]
    assume(len(speakers) > 1)
    made.loc[first.name, "role"] = other["role"]
    caught(fault, "a speaker in two roles", made, protocol, "one speaker in one role")


@attacked
@given(pairs())
def test_a_sentence_in_two_roles_is_caught(
    fault: Fault, drawn: tuple[pd.DataFrame, str, pd.Series, pd.Series]
) -> None:
    made, protocol, first, other = drawn
    assume("test" in (first["role"], other["role"]))
    made.loc[made["clip"] == other["clip"], "sentence"] = first["sentence"]
    if protocol == "speaker_and_text_independent":
        caught(fault, "a sentence in two roles", made, protocol, "one sentence in one role")
    else:
        check(made, protocol)


@attacked
@given(pairs())
def test_a_test_corpus_elsewhere_is_caught(
    fault: Fault, drawn: tuple[pd.DataFrame, str, pd.Series, pd.Series]
) -> None:
    made, _, first, other = drawn
    assume("test" in (first["role"], other["role"]) and first["corpus"] == other["corpus"])
    found = leak.broken(made[made["fold"] == first["fold"]], "corpus", few=False)
    with fault("leak: a test corpus in training"):
        assert {first["clip"], other["clip"]} <= set(found["clip"])


@attacked
@given(pairs(), st.sampled_from(["sha256", "audio_sha256"]))
def test_a_recording_in_two_roles_is_caught_under_every_protocol(
    fault: Fault, drawn: tuple[pd.DataFrame, str, pd.Series, pd.Series], column: str
) -> None:
    made, protocol, first, other = drawn
    made.loc[made["clip"] == other["clip"], column] = first[column]
    rule = {"sha256": "one file in one role", "audio_sha256": "one recording in one role"}[column]
    caught(fault, "a duplicate under another name", made, protocol, rule)


@attacked
@given(splits(), st.data())
def test_a_copy_of_a_clip_outside_train_is_caught(
    fault: Fault, drawn: tuple[pd.DataFrame, str], data: st.DataObject
) -> None:
    made, _ = drawn
    rows = made[made["fold"] == 0].assign(parent=lambda table: table["clip"])[["clip", "parent", "role"]]
    train = rows[rows["role"] == "train"]
    leak.check_training(pd.concat([rows, train.assign(clip=train["clip"] + "#1")]))
    outsider = rows.loc[data.draw(st.sampled_from(list(rows.index[rows["role"] != "train"])))]
    role = data.draw(st.sampled_from(["train", outsider["role"]]))
    copy = {"clip": f"{outsider['clip']}#1", "parent": outsider["clip"], "role": role}
    with fault("leak: a copy of a recording outside train"), pytest.raises(LeakError, match=r"#1 in"):
        leak.check_training(pd.concat([rows, pd.DataFrame([copy])]))


# A recording of one actor, and the same audio under other names: as a copy, in another format or bit depth,
# with two channels, and as the sound track of a video.
@pytest.mark.parametrize(
    ("name", "container", "subtype", "n_channels"),
    [
        ("03-01-05-01-01-02-01.wav", "WAV", "PCM_16", 1),
        ("03-01-05-01-01-02-01.flac", "FLAC", "PCM_16", 1),
        ("03-01-05-01-01-02-01.flac", "FLAC", "PCM_24", 1),
        ("03-01-05-01-01-02-01.aiff", "AIFF", "PCM_24", 1),
        ("03-01-05-01-01-02-01.wav", "RF64", "FLOAT", 1),
        ("03-01-05-01-01-02-01.wav", "WAV", "PCM_16", 2),
        ("01-01-05-01-01-01-01.wav", "WAV", "PCM_16", 1),
    ],
)
def test_a_recording_re_encoded_or_from_a_video_counts_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
    name: str,
    container: str,
    subtype: str,
    n_channels: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    Workspace(tmp_path).set(corpus=["ravdess"])
    folder = tmp_path / RAW / "ravdess"
    folder.mkdir(parents=True)
    sound = np.round(voiced(np.random.default_rng(7), 8_000) * 2**15) / 2**15
    soundfile.write(folder / "03-01-05-01-01-01-01.wav", sound, RATE_HZ, subtype="PCM_16")
    again = np.stack([sound] * n_channels, axis=1)
    soundfile.write(folder / name, again, RATE_HZ, format=container, subtype=subtype)
    with fault("leak: a duplicate re-encoded, or a video's sound track"):
        manifest_stage.main()
        problems = tables.read(MANIFEST, tables.MANIFEST).set_index("path")["problem"]
        assert problems["ravdess/03-01-05-01-01-01-01.wav"] == ""
        assert problems[f"ravdess/{name}"].startswith("duplicate: the same recording as ravdess/03-01-05-01")


@pytest.mark.parametrize("third", draws(sample=0, slow=1, campaign=3))
def test_every_change_to_the_leakage_check_fails_a_test(fault: Fault, third: int) -> None:
    command = [sys.executable, "-m", "tests.faults.mutate_leak", str(third), "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    noticed = json.loads(done.stdout.splitlines()[-1])
    assert len(noticed) > 16
    for failed in noticed.values():
        with fault("mutant of the leakage check"):
            assert failed, [mutant for mutant, failed in noticed.items() if not failed]
