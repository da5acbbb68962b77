"""How a stage ends."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from pathlib import Path

import pytest

from stages.base import errors
from stages.base.errors import InputError


def ended(main: object, capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    """Returns the exit code, or the text that stands for code 1, and what was written to stderr."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as end:
            errors.run(main)  # type: ignore[arg-type]
    finally:
        signal.signal(signal.SIGTERM, before)
    return end.value.code, capsys.readouterr().err


def fail(error: BaseException) -> object:
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOSPC, "the disk is full. Make room"),
        (errno.EROFS, "the disk is read-only. Make it writable"),
        (errno.EACCES, "no permission. Change the rights of the file or its folder"),
        (errno.ENAMETOOLONG, "the name is too long for the disk. Shorten it"),
    ],
)
def test_a_fault_of_the_disk_is_told(capsys: pytest.CaptureFixture[str], number: int, told: str) -> None:
    code, _ = ended(fail(OSError(number, os.strerror(number), "data/x.npz")), capsys)
    assert code == f"error: data/x.npz: {told} and run the same again; what is finished is kept."


def test_a_fault_of_the_disk_in_a_copied_folder_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    why = f"[Errno {errno.ENOSPC}] No space left on device"
    code, _ = ended(fail(shutil.Error([("a/x.h5", "b/x.h5", why), ("a/y", "b/y", why)])), capsys)
    assert str(code).startswith("error: b/x.h5: the disk is full.")


def test_another_error_of_the_system_is_a_fault_of_the_code() -> None:
    with pytest.raises(FileNotFoundError):
        errors.run(fail(FileNotFoundError(errno.ENOENT, "gone", "x")))  # type: ignore[arg-type]


def test_an_interrupt_and_sigterm_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(fail(KeyboardInterrupt()), capsys) == (130, f"{errors.INTERRUPTED}\n")
    assert ended(lambda: os.kill(os.getpid(), signal.SIGTERM), capsys) == (143, f"{errors.INTERRUPTED}\n")


def test_a_mistake_is_told_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(fail(InputError("a.b: missing.")), capsys)[0] == "error: a.b: missing."


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("speakr", "'speakr'"),
        (3.5, "3.5"),
        ("a\nb", r"'a\nb'"),
        (["a", "b", "c", "d"], "['a', 'b', 'c', ...]"),
        (16**5000, "an integer of 20001 bits"),
        ([[[[1]]]], "[[[[...]]]]"),
    ],
    ids=["text", "number", "lines", "many", "digits", "deep"],
)
def test_a_value_is_shown_in_what_fits_a_line(value: object, text: str) -> None:
    assert errors.shown(value) == text


def test_what_a_killed_process_left_is_swept_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    gone, alive = 2**22 + 1, os.getpid()  # the first is above what Linux numbers processes with
    for folder in ("data", "metrics"):
        Path(folder).mkdir()
        for name in (f".test.json.{gone}.part", f".test.json.{alive}.part", "test.json", ".x.part"):
            Path(folder, name).write_text("")
    (Path("data") / f".ingest-abc.{gone}.part" / "demo").mkdir(parents=True)
    with pytest.raises(SystemExit):
        errors.run(lambda: None)
    kept = [f".test.json.{alive}.part", ".x.part", "test.json"]
    assert sorted(path.name for path in Path("metrics").iterdir()) == sorted(kept)
    assert sorted(path.name for path in Path("data").iterdir()) == sorted(kept)
