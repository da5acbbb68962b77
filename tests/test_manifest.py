from __future__ import annotations

import json
import platform
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from stages import manifest
from stages.audio.quality import probe
from stages.base import params
from stages.base.errors import InputError
from stages.corpora import crema_d, tess
from stages.data import published, tables
from tests.support import shipped

ROOT = Path(__file__).resolve().parents[1]
RATE_HZ = 16_000


def tone(seconds: float = 1.0, hz: float = 200.0) -> np.ndarray:
    """Returns a buzz with two syllables a second."""
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    buzz = sum(np.sin(2 * np.pi * k * hz * time_s) / k for k in range(1, 30) if k * hz < RATE_HZ / 2)
    return 0.15 * np.sin(2 * np.pi * time_s) ** 2 * buzz


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data/raw/ravdess below a working folder with the project's params."""
    text = shipped.text().replace("corpus:\n- demo", "corpus:\n- ravdess", 1)
    (tmp_path / "params.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data" / "raw" / "ravdess"
    folder.mkdir(parents=True)
    return folder


def listed() -> pd.DataFrame:
    manifest.main()
    return tables.read(Path("data/manifest.parquet"), tables.MANIFEST).set_index("path")


def test_a_usable_clip_is_described(raw: Path) -> None:
    soundfile.write(raw / "03-01-05-02-01-02-11.wav", np.stack([tone(0.5), tone(0.5)], axis=1), RATE_HZ)
    row = listed().loc["ravdess/03-01-05-02-01-02-11.wav"]
    assert row["problem"] == ""
    assert (row["speaker"], row["sex"], row["emotion"]) == ("ravdess/11", "male", "anger")
    assert (row["intensity"], row["repetition"], row["channel"]) == ("strong", 2, "speech")
    assert (row["duration_s"], row["sample_rate_hz"], row["n_channels"]) == (0.5, RATE_HZ, 2)
    assert row["peak_dbfs"] == pytest.approx(20 * np.log10(np.abs(tone(0.5)).max()), abs=0.1)


def write_bad(kind: str, path: Path) -> None:
    soundfile.write(path, tone(), RATE_HZ)
    match kind:
        case "truncated":
            path.write_bytes(path.read_bytes()[:-9000])
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("This is not audio.\n" * 20)
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
        ("truncated", "truncated: 32000 bytes of audio by its header, 23000 found"),
        ("empty", "empty: 0 bytes"),
        ("text", "not audio or damaged: "),
        ("pointer", "a Git LFS pointer instead of audio: "),
        ("nan", "not finite: 16000 of 16000 samples"),
        ("silent", "silent: all samples are equal"),
        ("short", "too short: 0.010 s"),
        ("no samples", "empty: no samples"),
    ],
)
def test_a_bad_file_is_a_row_with_its_reason(
    raw: Path, capsys: pytest.CaptureFixture[str], kind: str, reason: str
) -> None:
    soundfile.write(raw / "03-01-01-01-01-01-01.wav", tone(hz=300), RATE_HZ)
    bad = raw / "03-01-03-01-01-01-01.wav"
    write_bad(kind, bad)
    row = listed().loc[f"ravdess/{bad.name}"]
    assert row["problem"].startswith(reason)
    assert row["emotion"] == "happiness"  # what the name says is kept
    printed = capsys.readouterr().out
    assert "1 of 2 recordings are usable" in printed
    assert f"excluded: ravdess/{bad.name}: {reason}" in printed
    counts = json.loads(Path("metrics/manifest.json").read_text())["ravdess"]
    assert counts["n_excluded"] == {reason.split(":")[0]: 1}


def test_a_file_with_an_unknown_name_is_a_row_too(raw: Path) -> None:
    soundfile.write(raw / "03-01-01-01-01-01-01.wav", tone(), RATE_HZ)
    soundfile.write(raw / "holiday.wav", tone(hz=300), RATE_HZ)
    row = listed().loc["ravdess/holiday.wav"]
    assert row["problem"].startswith("unknown name: holiday.wav ")
    assert pd.isna(row["speaker"])


@contextmanager
def files_at_most(n: int) -> Iterator[None]:
    """Lets this process open no more files than `n`, those that are open included."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (n, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("kind", ["missing", "input/output error", "too many open files"])
def test_what_is_not_a_fault_in_the_file_is_no_row(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.wav"
    limits = shipped.read().manifest
    if kind == "input/output error":
        path.symlink_to("/proc/self/mem")  # whose first byte no process can read
    elif kind == "too many open files":
        soundfile.write(path, tone(), RATE_HZ)
    at_most = files_at_most(0) if kind == "too many open files" else nullcontext()
    with at_most, pytest.raises(InputError, match=rf"^{path}: .*{platform.node()}"):
        probe(path, limits)


def test_the_same_samples_in_another_format_count_once(raw: Path) -> None:
    samples = np.round(tone() * 2**15).astype(np.int16)
    soundfile.write(raw / "03-01-03-01-02-01-07.wav", samples, RATE_HZ)
    soundfile.write(raw / "03-01-03-01-02-02-07.flac", samples, RATE_HZ)
    problems = listed()["problem"]
    assert problems["ravdess/03-01-03-01-02-01-07.wav"] == ""
    assert (
        problems["ravdess/03-01-03-01-02-02-07.flac"]
        == "duplicate: the same recording as ravdess/03-01-03-01-02-01-07.wav"
    )


def test_an_audio_file_is_preferred_to_the_sound_track_of_a_video(raw: Path) -> None:
    soundfile.write(raw / "01-01-03-01-02-01-07.wav", tone(hz=100), RATE_HZ)
    soundfile.write(raw / "03-01-03-01-02-01-07.wav", tone(hz=101), RATE_HZ)
    problems = listed()["problem"]
    assert problems["ravdess/03-01-03-01-02-01-07.wav"] == ""
    assert (
        problems["ravdess/01-01-03-01-02-01-07.wav"]
        == "same name: other audio than ravdess/03-01-03-01-02-01-07.wav"
    )


@pytest.mark.parametrize(
    ("names", "column"),
    [
        (["03-01-03-01-02-01-07.wav", "03-01-05-01-02-01-07.wav"], "emotion"),
        (["03-01-03-01-02-01-07.wav", "03-01-03-01-02-01-08.wav"], "speaker"),
        (["03-01-03-01-02-01-07.wav", "03-01-03-01-01-01-07.wav"], "sentence"),
        (["03-01-03-01-02-01-07.wav", "01-01-05-01-02-01-08.wav"], "emotion"),
    ],
)
def test_no_copy_of_the_same_audio_with_different_labels_is_used(
    raw: Path, names: list[str], column: str
) -> None:
    soundfile.write(raw / "03-01-01-01-01-01-01.wav", tone(hz=300), RATE_HZ)
    for name in names:
        soundfile.write(raw / name, tone(), RATE_HZ)
    problems = listed()["problem"]
    assert problems["ravdess/03-01-01-01-01-01-01.wav"] == ""
    for name, other in (names, names[::-1]):
        expected = f"contradiction: the same audio as ravdess/{other}, with another {column}"
        assert problems[f"ravdess/{name}"] == expected


def test_a_corpus_can_say_which_labels_are_right(raw: Path) -> None:
    crema_d = raw.parent / "crema_d"
    raw.rename(crema_d)
    text = Path("params.yaml").read_text().replace("corpus:\n- ravdess", "corpus:\n- crema_d", 1)
    Path("params.yaml").write_text(text)
    for name in ("1006_TIE_HAP_XX.wav", "1006_TIE_NEU_XX.wav"):
        soundfile.write(crema_d / name, tone(), RATE_HZ)
    problems = listed()["problem"]
    assert problems["crema_d/1006_TIE_HAP_XX.wav"] == ""
    assert (
        problems["crema_d/1006_TIE_NEU_XX.wav"]
        == "duplicate: the same recording as crema_d/1006_TIE_HAP_XX.wav"
    )


def test_a_folder_that_contradicts_the_name_is_a_problem(raw: Path) -> None:
    for number, folder in enumerate(("Actor_01", "Actor_05")):
        (raw / folder).mkdir()
        soundfile.write(raw / folder / f"03-01-01-01-01-0{number + 1}-01.wav", tone(hz=200 + number), RATE_HZ)
    problems = listed()["problem"]
    assert problems["ravdess/Actor_01/03-01-01-01-01-01-01.wav"] == ""
    assert problems["ravdess/Actor_05/03-01-01-01-01-02-01.wav"].startswith(
        "contradiction: it is in the folder"
    )


def test_what_is_unusual_is_counted_and_speakers_that_are_left_out_are_named(
    raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(raw / "03-01-01-01-01-01-01.wav", np.stack([tone(), -tone()], axis=1) + 0.05, RATE_HZ)
    soundfile.write(raw / "03-01-01-01-01-01-02.wav", tone(5.0), RATE_HZ)
    write_bad("silent", raw / "03-01-01-01-01-01-03.wav")
    table = listed()
    notices = table["notices"]
    assert notices["ravdess/03-01-01-01-01-01-01.wav"].startswith(
        "DC offset: 0.050, removed; channels cancel"
    )
    assert notices["ravdess/03-01-01-01-01-01-02.wav"] == "long: 5.0 s"
    counts = json.loads(Path("metrics/manifest.json").read_text())["ravdess"]
    assert counts["n_noticed"] == {"DC offset": 1, "channels cancel": 1, "long": 1}
    printed = capsys.readouterr().out
    assert "1 usable recordings: channels cancel" in printed
    assert "no recording is usable of 1 speakers: ravdess/03" in printed


def test_no_file_and_no_usable_recording_are_errors(raw: Path) -> None:
    with pytest.raises(InputError, match=r"data/raw/ravdess: no audio file"):
        manifest.main()
    write_bad("text", raw / "03-01-03-01-01-01-01.wav")
    with pytest.raises(InputError, match=r"data/raw/ravdess: no recording"):
        manifest.main()


def test_the_bytes_do_not_depend_on_the_number_of_workers(raw: Path) -> None:
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
    excluded = table[table["problem"] != ""]
    assert list(excluded.index) == ["ravdess/Actor_07/03-01-03-01-02-02-07.flac"]
    assert len(table) == 124
    assert set(table["n_channels"]) == {1, 2}
    assert params.read().corpus == ["ravdess"]


def test_recordings_that_are_not_the_published_ones_are_noticed(
    raw: Path, capsys: pytest.CaptureFixture[str], corpora: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = raw.rename(raw.parent / "tess")
    text = Path("params.yaml").read_text().replace("corpus:\n- ravdess", "corpus:\n- tess", 1)
    Path("params.yaml").write_text(text)
    for name in ("OAF_angry/OAF_back_angry.wav", "YAF_angry/YAF_germ_angry.wav"):
        shutil.copy(corpora / "originals" / "tess" / name, folder)
    rows = listed().reset_index()
    assert "not all of them, of 2 speakers: OAF, YAF" in capsys.readouterr().out
    monkeypatch.setattr(tess, "CHECKSUMS", published.checksums(rows, "audio_sha256"))
    shutil.copy(folder / "OAF_back_angry.wav", folder / "OAF_back_angry.flac")  # the same, under another name
    manifest.main()
    assert "not the published" not in capsys.readouterr().out
    soundfile.write(folder / "YAF_germ_angry.wav", tone(), RATE_HZ)
    manifest.main()
    assert "of 1 speakers: YAF" in capsys.readouterr().out


def test_crema_d_checksums_are_those_of_the_published_files(corpora: Path) -> None:
    files = pd.read_csv(corpora / "crema_d_metadata" / "AudioWAV.sha256.csv")
    files["clip"] = "crema_d/" + files["filename"].str.removesuffix(".wav")
    files["speaker"] = "crema_d/" + files["filename"].str[:4]
    assert published.checksums(files, "sha256") == crema_d.CHECKSUMS


@pytest.mark.slow
def test_tess_checksums_are_those_of_the_published_recordings(raw: Path, corpora: Path) -> None:
    folder = raw.rename(raw.parent / "tess")
    text = Path("params.yaml").read_text().replace("corpus:\n- ravdess", "corpus:\n- tess", 1)
    Path("params.yaml").write_text(text)
    folder.rmdir()
    shutil.copytree(corpora / "tess", folder)
    assert published.checksums(listed().reset_index(), "audio_sha256") == tess.CHECKSUMS
