from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from stages import manifest
from stages.base import params
from stages.base.errors import InputError
from stages.data import tables

ROOT = Path(__file__).resolve().parents[1]
RATE_HZ = 16_000


def tone(seconds: float = 1.0, hz: float = 200.0) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE_HZ)) / RATE_HZ)


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data/raw/ravdess below a working folder with the project's params."""
    text = (ROOT / "params.yaml").read_text().replace("corpus:\n- demo", "corpus:\n- ravdess", 1)
    (tmp_path / "params.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data" / "raw" / "ravdess"
    folder.mkdir(parents=True)
    return folder


def listed() -> pd.DataFrame:
    manifest.main()
    return tables.read(Path("data/manifest.parquet"), tables.MANIFEST).set_index("path")


def test_a_good_clip_has_its_facts(raw: Path) -> None:
    soundfile.write(raw / "03-01-05-02-01-02-11.wav", np.stack([tone(0.5), tone(0.5)], axis=1), RATE_HZ)
    row = listed().loc["ravdess/03-01-05-02-01-02-11.wav"]
    assert row["problem"] == ""
    assert (row["speaker"], row["sex"], row["emotion"]) == ("ravdess/11", "male", "anger")
    assert (row["intensity"], row["repetition"], row["channel"]) == ("strong", 2, "speech")
    assert (row["duration_s"], row["sample_rate_hz"], row["n_channels"]) == (0.5, RATE_HZ, 2)
    assert row["peak_dbfs"] == pytest.approx(20 * np.log10(0.3), abs=0.1)


def spoil(kind: str, path: Path) -> None:
    soundfile.write(path, tone(), RATE_HZ)
    match kind:
        case "truncated":
            path.write_bytes(path.read_bytes()[:-9000])
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("This is not a sound.\n" * 20)
        case "pointer":
            path.write_text(
                f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 72862\n"
            )
        case "nan":
            soundfile.write(path, np.full(RATE_HZ, np.nan), RATE_HZ, subtype="FLOAT")
        case "silent":
            soundfile.write(path, np.zeros(RATE_HZ), RATE_HZ)
        case "short":
            soundfile.write(path, tone(0.01), RATE_HZ)
        case "no samples":
            soundfile.write(path, np.zeros(0), RATE_HZ)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("truncated", "truncated: header promises 32000 bytes of audio, 23000 are there"),
        ("empty", "empty: 0 bytes"),
        ("text", "not audio or damaged: "),
        ("pointer", "a Git LFS pointer instead of audio: run `git lfs pull`"),
        ("nan", "not finite: 16000 of 16000 samples"),
        ("silent", "silent: peak -inf dBFS"),
        ("short", "too short: 0.010 s"),
        ("no samples", "empty: no samples"),
    ],
)
def test_a_bad_file_is_a_row_with_its_reason(
    raw: Path, capsys: pytest.CaptureFixture[str], kind: str, reason: str
) -> None:
    soundfile.write(raw / "03-01-01-01-01-01-01.wav", tone(hz=300), RATE_HZ)
    bad = raw / "03-01-03-01-01-01-01.wav"
    spoil(kind, bad)
    row = listed().loc[f"ravdess/{bad.name}"]
    assert row["problem"].startswith(reason)
    assert row["emotion"] == "happiness"  # what the name tells is kept
    said = capsys.readouterr().out
    assert "1 of 2 recordings are fit for use" in said
    assert f"left out: ravdess/{bad.name}: {reason}" in said
    counts = json.loads(Path("metrics/manifest.json").read_text())["ravdess"]
    assert counts["n_unfit"] == {reason.split(":")[0]: 1}


def test_an_unknown_name_is_a_row_too(raw: Path) -> None:
    soundfile.write(raw / "03-01-01-01-01-01-01.wav", tone(), RATE_HZ)
    soundfile.write(raw / "holiday.wav", tone(hz=300), RATE_HZ)
    row = listed().loc["ravdess/holiday.wav"]
    assert row["problem"] == "unknown name: holiday.wav is none of ravdess's"
    assert pd.isna(row["speaker"])


def test_the_same_sound_in_another_format_counts_once(raw: Path) -> None:
    samples = np.round(tone() * 2**15).astype(np.int16)
    soundfile.write(raw / "03-01-03-01-02-01-07.wav", samples, RATE_HZ)
    soundfile.write(raw / "03-01-03-01-02-02-07.flac", samples, RATE_HZ)
    problems = listed()["problem"]
    assert problems["ravdess/03-01-03-01-02-01-07.wav"] == ""
    assert (
        problems["ravdess/03-01-03-01-02-02-07.flac"]
        == "duplicate: the same recording as ravdess/03-01-03-01-02-01-07.wav"
    )


def test_the_sound_track_of_a_video_gives_way_to_the_audio_file(raw: Path) -> None:
    soundfile.write(raw / "01-01-03-01-02-01-07.wav", tone(hz=100), RATE_HZ)
    soundfile.write(raw / "03-01-03-01-02-01-07.wav", tone(hz=101), RATE_HZ)
    problems = listed()["problem"]
    assert problems["ravdess/03-01-03-01-02-01-07.wav"] == ""
    assert problems["ravdess/01-01-03-01-02-01-07.wav"].startswith("duplicate")


def test_no_file_and_no_fit_recording_are_errors(raw: Path) -> None:
    with pytest.raises(InputError, match=r"data/raw/ravdess: no audio file .*Run `dvc repro ingest`"):
        manifest.main()
    spoil("text", raw / "03-01-03-01-01-01-01.wav")
    with pytest.raises(InputError, match=r"data/raw/ravdess: not one recording is fit for use"):
        manifest.main()


def test_same_files_same_bytes_whatever_the_workers(raw: Path) -> None:
    for actor in ("01", "02", "03"):
        soundfile.write(raw / f"03-01-01-01-01-01-{actor}.wav", tone(hz=100 * int(actor)), RATE_HZ)
    manifest.main()
    first = Path("data/manifest.parquet").read_bytes()
    text = Path("params.yaml").read_text()
    assert "workers: 2" in text
    Path("params.yaml").write_text(text.replace("workers: 2", "workers: 1"))
    manifest.main()
    assert Path("data/manifest.parquet").read_bytes() == first


def test_real_ravdess_has_one_recording_twice(raw: Path, corpora: Path) -> None:
    for actor in ("Actor_07", "Actor_08"):
        shutil.copytree(corpora / "ravdess" / actor, raw / actor)
    shutil.copytree(corpora / "originals" / "ravdess" / "Actor_01", raw / "Actor_01")
    table = listed()
    unfit = table[table["problem"] != ""]
    assert list(unfit.index) == ["ravdess/Actor_07/03-01-03-01-02-02-07.flac"]
    assert len(table) == 124
    assert set(table["n_channels"]) == {1, 2}
    assert params.read().corpus == ["ravdess"]
