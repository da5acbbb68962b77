"""Ingest, on small sources of every kind."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from stages import ingest
from stages.acquire import download, mirror
from stages.acquire.source_file import SourceFile
from stages.audio import recording
from stages.base.errors import InputError
from stages.corpora import demo, ravdess, savee
from stages.data import vocabulary
from tests.support import shipped

PARAMS = shipped.values()
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'ab' * 32}\nsize 63040\n".encode()
SAVEE = {
    f"{speaker}/{name}.wav": f"{speaker}{name}".encode()
    for speaker in ("DC", "JE")
    for name in ("a01", "n30")
}

Files = dict[str, bytes]
Choose = Callable[..., None]


@pytest.fixture
def choose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Choose:
    """Moves into an empty project; returns what sets its `corpus`, `ingest` and RAVDESS's archives."""
    monkeypatch.chdir(tmp_path)
    Path("data/sources").mkdir(parents=True)

    def choose(*names: str, archives: tuple[str, ...] = ("speech",), **settings: object) -> None:
        params = PARAMS | {"corpus": names, "ingest": PARAMS["ingest"] | settings}
        params["corpora"] = PARAMS["corpora"] | {"ravdess": {"archives": archives}}
        Path("params.yaml").write_text(json.dumps(params))  # JSON is YAML

    return choose


def write(folder: str, files: Files) -> None:
    for name, content in files.items():
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def write_zip(path: str, files: Files) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)


def write_tar(path: str, files: Files) -> None:
    with tarfile.open(path, "w" if path.endswith(".tar") else "w:gz") as file:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))


def raw() -> Files:
    """Returns everything below data/raw."""
    folder = Path("data/raw")
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if not path.is_dir()
    }


def below(root: str, files: Files) -> Files:
    return {f"{root}/{name}": content for name, content in files.items()}


def test_a_folder_is_copied_with_only_what_matters(
    choose: Choose, capsys: pytest.CaptureFixture[str]
) -> None:
    choose("savee")
    write("data/sources/savee", SAVEE)
    write("data/sources/savee", {"Info.txt": b"i", "deep/er/KL_h03.FLAC": b"k", "KL/b.CSV": b"c"})
    write(
        "data/sources/savee",
        {"film.avi": b"v", ".git/DC_a02.wav": b"g", "DC/._a01.wav": b"m", "a.wav.md5": b"5"},
    )
    ingest.main()
    assert raw() == below("savee", SAVEE | {"Info.txt": b"i", "deep/er/KL_h03.FLAC": b"k", "KL/b.CSV": b"c"})
    assert not Path("data/raw/savee/DC/a01.wav").samefile("data/sources/savee/DC/a01.wav")
    assert capsys.readouterr().out == (
        "savee: 7 files, 7 new, 0 changed, 0 removed\n"
        "  notice: 5 recordings of speech are here, the complete corpus has 480\n"
        "  notice: 2 files are ignored (1 .md5, 1 .avi), the first is 'a.wav.md5'\n"
    )


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("savee.zip", write_zip),
        ("savee.tar", write_tar),
        ("savee.tar.gz", write_tar),
        ("savee.tgz", write_tar),
    ],
)
def test_one_archive_is_the_corpus(choose: Choose, name: str, pack: Callable[[str, Files], None]) -> None:
    choose("savee")
    pack(f"data/sources/{name}", SAVEE | {"__MACOSX/DC/._a01.wav": b"m", "film.avi": b"v"})
    ingest.main()
    assert raw() == below("savee", SAVEE)


def test_archives_in_a_folder_lie_in_folders_of_their_names(choose: Choose) -> None:
    choose("savee")
    write_zip("data/sources/savee/one.zip", SAVEE)
    write_tar("data/sources/savee/two.tar.gz", SAVEE)
    write("data/sources/savee", {"KL_a01.wav": b"k"})
    ingest.main()
    assert raw() == below("savee", below("one", SAVEE) | below("two", SAVEE) | {"KL_a01.wav": b"k"})


@pytest.mark.parametrize("packed", [False, True])
def test_only_what_differs_is_touched(
    choose: Choose, capsys: pytest.CaptureFixture[str], packed: bool
) -> None:
    choose("savee")

    def put(files: Files) -> None:
        shutil.rmtree("data/sources/savee", ignore_errors=True)
        (write_zip if packed else write)(
            *(("data/sources/savee.zip" if packed else "data/sources/savee"), files)
        )

    put(SAVEE)
    ingest.main()
    kept = Path("data/raw/savee/JE/n30.wav")
    before = {path: path.stat().st_mtime_ns for path in Path("data/raw/savee").rglob("*.wav")}
    inode = kept.stat().st_ino
    # one new, one gone, one of another length, one of the same length
    put(
        {
            "KL/a01.wav": b"new",
            "DC/n30.wav": b"longer than before",
            "JE/a01.wav": b"ABCDE",
            "JE/n30.wav": SAVEE["JE/n30.wav"],
        }
    )
    capsys.readouterr()
    ingest.main()
    assert "savee: 4 files, 1 new, 2 changed, 1 removed\n" in capsys.readouterr().out
    assert raw() == below(
        "savee",
        {
            "KL/a01.wav": b"new",
            "DC/n30.wav": b"longer than before",
            "JE/a01.wav": b"ABCDE",
            "JE/n30.wav": b"JEn30",
        },
    )
    assert (kept.stat().st_ino, kept.stat().st_mtime_ns) == (inode, before[kept])
    ingest.main()
    assert "savee: 4 files, 0 new, 0 changed, 0 removed\n" in capsys.readouterr().out


def test_a_file_edited_in_data_raw_is_set_right(choose: Choose) -> None:
    choose("savee")
    write("data/sources/savee", SAVEE)
    ingest.main()
    path = Path("data/raw/savee/DC/a01.wav")
    times = path.stat()
    path.write_bytes(b"ABCDE")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    write("data/raw/savee", {"left/over.wav": b"x", ".a.wav.77.part": b"x"})
    ingest.main()
    assert raw() == below("savee", SAVEE)
    assert not Path("data/raw/savee/left").exists()


def test_an_interrupted_run_is_resumed(
    choose: Choose, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    choose("savee")
    write_zip("data/sources/savee.zip", SAVEE)
    copy_one = mirror.copy

    def copy_two(source: SourceFile, target: Path) -> None:
        if len(raw()) == 2:
            raise KeyboardInterrupt
        copy_one(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(mirror, "copy", copy_two)
        ingest.main()
    assert len(raw()) == 2
    ingest.main()
    assert "savee: 4 files, 2 new, 0 changed, 0 removed" in capsys.readouterr().out


def test_what_is_no_longer_chosen_is_removed(choose: Choose, capsys: pytest.CaptureFixture[str]) -> None:
    write("data/sources/savee", SAVEE)
    write("data/sources/tess", {"OAF_back_sad.wav": b"t"})
    choose("savee", "tess")
    ingest.main()
    choose("tess")
    write("data/raw", {"stray.wav": b"x"})
    ingest.main()
    assert raw() == {"tess/OAF_back_sad.wav": b"t"}
    assert "savee: removed" in capsys.readouterr().out


@pytest.mark.parametrize(
    "place", ["data/sources/savee", "data/sources/savee/DC", "data/sources/savee/DC/a01.wav"]
)
def test_a_symbolic_link_is_refused(choose: Choose, place: str) -> None:
    choose("savee")
    write("elsewhere", SAVEE | {"DC/a01.wav": b"x"})
    write("data/sources/savee", SAVEE)
    inside = Path(place).relative_to("data/sources/savee")
    shutil.rmtree(place) if Path(place).is_dir() else Path(place).unlink()
    Path(place).symlink_to(Path("elsewhere").resolve() / inside)
    with pytest.raises(
        InputError,
        match=rf"{place}: a symbolic link.*cp -al.*mount --bind",
    ):
        ingest.main()


def test_a_link_to_an_archive_is_refused(choose: Choose) -> None:
    choose("savee")
    write_zip("elsewhere.zip", SAVEE)
    Path("data/sources/savee.zip").symlink_to(Path("elsewhere.zip").resolve())
    with pytest.raises(InputError, match=r"data/sources/savee\.zip: a symbolic link"):
        ingest.main()


def test_two_sources_are_refused(choose: Choose) -> None:
    choose("savee")
    write("data/sources/savee", SAVEE)
    write_zip("data/sources/savee.zip", SAVEE)
    with pytest.raises(InputError, match=r"data/sources/savee and data/sources/savee\.zip: "):
        ingest.main()


def test_an_archive_beside_its_content_is_refused(choose: Choose) -> None:
    choose("savee")
    write("data/sources/savee", below("AudioData", SAVEE))
    write_zip("data/sources/savee/AudioData.zip", SAVEE)
    with pytest.raises(InputError, match=r"data/sources/savee/AudioData\.zip.* AudioData/DC/a01\.wav"):
        ingest.main()


@pytest.mark.parametrize("files", [{}, {"Info.txt": b"i"}, {"film.avi": b"v"}, {"DC/._a01.wav": b"m"}])
def test_a_source_without_audio_is_refused(choose: Choose, files: Files) -> None:
    choose("savee")
    Path("data/sources/savee").mkdir()
    write("data/sources/savee", files)
    with pytest.raises(
        InputError,
        match=r"data/sources/savee: .*\.wav.*Register",
    ):
        ingest.main()


def test_another_corpus_is_refused_before_anything_is_touched(choose: Choose) -> None:
    choose("savee")
    write("data/sources/savee", SAVEE)
    ingest.main()
    shutil.rmtree("data/sources/savee")
    write("data/sources/savee", {"1001_DFA_ANG_XX.wav": b"c", "x.wav": b"x"})
    with pytest.raises(
        InputError,
        match=r"data/sources/savee: .*2 audio files.*'1001_DFA_ANG_XX\.wav'",
    ):
        ingest.main()
    assert raw() == below("savee", SAVEE)


@pytest.mark.parametrize("pack", [None, write_zip, write_tar])
def test_nothing_but_lfs_pointers_is_refused(
    choose: Choose, pack: Callable[[str, Files], None] | None
) -> None:
    choose("crema_d")
    files = {"AudioWAV/1001_DFA_ANG_XX.wav": POINTER, "AudioWAV/1001_DFA_DIS_XX.wav": POINTER, "a.csv": b"1"}
    if pack is None:
        write("data/sources/crema_d", files)
    else:
        pack("data/sources/crema_d.zip" if pack is write_zip else "data/sources/crema_d.tgz", files)
    with pytest.raises(
        InputError, match=r"data/sources/crema_d.*: its 2 audio files are Git LFS pointers.*`git lfs pull`"
    ):
        ingest.main()


def test_a_single_lfs_pointer_is_left_to_the_manifest(choose: Choose) -> None:
    choose("crema_d")
    files = {"1001_DFA_ANG_XX.wav": POINTER, "1001_DFA_DIS_XX.wav": b"RIFF"}
    write("data/sources/crema_d", files)
    ingest.main()
    assert raw() == below("crema_d", files)


def test_a_bad_archive_changes_nothing(choose: Choose) -> None:
    choose("savee")
    write_zip("data/sources/savee/a.zip", SAVEE)
    write_zip("data/sources/savee/b.zip", {"../../../DC_a01.wav": b"x"})
    with pytest.raises(
        InputError,
        match=r"savee/b\.zip: rejected, because its entry '\.\./\.\./\.\./DC_a01\.wav' leads outside",
    ):
        ingest.main()
    assert raw() == {}


def test_a_corpus_that_is_nowhere_is_asked_for(choose: Choose) -> None:
    choose("ravdess")
    with pytest.raises(
        InputError,
        match=r"params\.corpus: ravdess is not in data/sources\. Put the corpus into data/sources/ravdess/\. "
        r"`ingest\.download: true` fetches it.*zenodo\.org/records/1188976",
    ):
        ingest.main()


def test_a_corpus_without_download_is_asked_for(choose: Choose) -> None:
    choose("savee", download=True)
    with pytest.raises(
        InputError, match=r"savee has no public download\. Put the corpus into data/sources/savee/\. Register"
    ):
        ingest.main()


@pytest.fixture
def published(choose: Choose, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Returns the names that were fetched, from a publisher that has two archives."""
    fetched = []

    def fetch_all(downloads: list[vocabulary.Download], folder: Path, title: str) -> None:
        for item in downloads:
            fetched.append(item.filename)
            channel = "01" if "Speech" in item.filename else "02"
            write_zip(str(folder / item.filename), {f"Actor_01/03-{channel}-01-01-01-01-01.wav": b"x"})

    monkeypatch.setattr(download, "fetch_all", fetch_all)
    return fetched


def test_a_download_is_made_once_and_kept(choose: Choose, published: list[str]) -> None:
    choose("ravdess", download=True)
    for _ in range(2):
        ingest.main()
        assert raw() == {"ravdess/Audio_Speech_Actors_01-24/Actor_01/03-01-01-01-01-01-01.wav": b"x"}
        assert published == ["Audio_Speech_Actors_01-24.zip"]
    choose("ravdess", download=False)
    ingest.main()
    assert published == ["Audio_Speech_Actors_01-24.zip"]


def test_a_download_follows_its_config(choose: Choose, published: list[str]) -> None:
    choose("ravdess", download=True)
    ingest.main()
    choose("ravdess", archives=("song",), download=True)
    ingest.main()
    assert raw() == {"ravdess/Audio_Song_Actors_01-24/Actor_01/03-02-01-01-01-01-01.wav": b"x"}


def test_a_source_goes_before_a_download(choose: Choose, published: list[str]) -> None:
    choose("ravdess", download=True)
    write("data/sources/ravdess", {"03-01-01-01-01-01-01.wav": b"mine"})
    ingest.main()
    assert raw() == {"ravdess/03-01-01-01-01-01-01.wav": b"mine"}
    assert published == []


def test_a_failed_download_says_how_to_go_on_by_hand(choose: Choose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "BACKOFF_S", 0.0)
    item = vocabulary.Download("http://127.0.0.1:9/a.zip", "md5:" + "0" * 32, "a.zip", 1)
    monkeypatch.setattr(ravdess, "downloads", lambda config: [item])
    choose("ravdess", download=True)
    with pytest.raises(
        InputError,
        match=r"http://127\.0\.0\.1:9/a\.zip: not reachable.* Put the corpus into data/sources/ravdess/\.",
    ):
        ingest.main()


def test_a_synthesiser_is_asked_last_and_leaves_nothing_behind(
    choose: Choose, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def synthesise(folder: Path, config: demo.Config, seed: int) -> int:
        write(str(folder), {"2001_IEO_ANG_XX.wav": str(seed).encode()})
        return 1

    monkeypatch.setattr(demo, "synthesise", synthesise)
    choose("demo")
    for changes in ("1 new", "0 new"):
        ingest.main()
        assert capsys.readouterr().out == f"demo: 1 files, {changes}, 0 changed, 0 removed\n"
    assert raw() == {"demo/2001_IEO_ANG_XX.wav": b"20"}
    assert sorted(path.name for path in Path("data").iterdir()) == ["raw", "sources"]
    write("data/sources/demo", {"2002_IEO_ANG_XX.wav": b"mine"})
    ingest.main()
    assert raw() == {"demo/2002_IEO_ANG_XX.wav": b"mine"}


def test_a_complete_corpus_gets_no_notice(
    choose: Choose, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(savee, "ABOUT", replace(savee.ABOUT, n_clips=4))
    choose("savee")
    write("data/sources/savee", SAVEE | {"copy/DC_a01.wav": b"the same recording again"})
    ingest.main()
    assert capsys.readouterr().out == "savee: 5 files, 5 new, 0 changed, 0 removed\n"


def test_every_audio_suffix_is_taken(choose: Choose) -> None:
    choose("savee")
    files = {f"DC_n{number:02}{suffix}": b"x" for number, suffix in enumerate(recording.SUFFIXES, 1)}
    write("data/sources/savee", files)
    ingest.main()
    assert raw() == below("savee", files)
    assert {".wav", ".flac", ".aif", ".aiff", ".ogg", ".mp3", ".opus", ".m4a", ".sph"} <= {
        *recording.SUFFIXES
    }


@pytest.mark.parametrize("place", ["data/sources/savee.zip", "data/sources/savee/DC/a01.wav"])
def test_a_named_pipe_is_refused(choose: Choose, place: str) -> None:
    choose("savee")
    Path(place).parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(place)
    with pytest.raises(InputError, match=rf"^{place}: a named pipe"):
        ingest.main()


def test_channels_are_counted_each_by_itself(choose: Choose, capsys: pytest.CaptureFixture[str]) -> None:
    choose("ravdess")
    speech = [
        f"03-01-{e:02}-{i:02}-{s:02}-{r:02}-{a:02}.wav"
        for a in range(1, 25)
        for e in range(1, 9)
        for i in (1, 2)
        for s in (1, 2)
        for r in (1, 2)
        if (e, i) != (1, 2)
    ]
    write("data/sources/ravdess", dict.fromkeys(speech, b"x"))
    ingest.main()
    assert "notice" not in capsys.readouterr().out
    write("data/sources/ravdess", {"03-02-01-01-01-01-01.wav": b"x"})
    ingest.main()
    printed = capsys.readouterr().out
    assert "notice: 1 recordings of song are here, the complete corpus has 1012\n" in printed
    assert printed.count("notice") == 1


def test_the_real_recordings_arrive_whole(choose: Choose, corpora: Path) -> None:
    shutil.copytree(corpora / "originals", "data/sources", dirs_exist_ok=True)
    choose("ravdess", "tess")
    ingest.main()
    digests = {hashlib.sha256(content).hexdigest() for content in raw().values()}
    originals = list((corpora / "originals").rglob("*.wav"))
    assert digests == {hashlib.sha256(path.read_bytes()).hexdigest() for path in originals}
    assert len(raw()) == len(originals) == 10
