"""How a stage ends."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.base import errors, files, registry
from stages.base.errors import InputError


def ended(main: object, capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    """Returns the exit code, or the message for code 1, and what was written to stderr."""
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


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENAMETOOLONG])
def test_a_disk_error_is_reported_with_the_file_and_the_reason(
    capsys: pytest.CaptureFixture[str], number: int
) -> None:
    code, _ = ended(fail(OSError(number, os.strerror(number), "data/x.npz")), capsys)
    assert str(code).startswith("error: data/x.npz: ")
    assert errors.DISK_ERRORS[number] in str(code)


@pytest.mark.parametrize("name", ["folder", "file/x.csv", "file/sub/x.csv"])
def test_a_file_cannot_be_where_a_folder_is_nor_below_a_file(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    code, _ = ended(lambda: files.write("text", tmp_path / name), capsys)
    assert str(code).startswith(f"error: {tmp_path / name.split('/')[0]}")
    assert "Traceback" not in str(code)
    assert (tmp_path / "file").read_text() == ""


def test_a_disk_without_inodes_is_not_called_full(tmp_path: Path) -> None:
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=3", "tmpfs", tmp_path]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs to mount a small disk")
    try:
        with pytest.raises(OSError, match="space") as error:
            for i in range(3):
                (tmp_path / f"{i}.npz").touch()
        message = str(errors.disk_error(error.value))
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert str(tmp_path) in message
    assert "df -i" in message


def test_a_disk_error_while_copying_a_folder_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    why = f"[Errno {errno.ENOSPC}] No space left on device"
    code, _ = ended(fail(shutil.Error([("a/x.h5", "b/x.h5", why), ("a/y", "b/y", why)])), capsys)
    assert str(code).startswith("error: b/x.h5: ")
    assert errors.DISK_ERRORS[errno.ENOSPC] in str(code)


def test_any_other_operating_system_error_is_a_bug() -> None:
    with pytest.raises(FileNotFoundError):
        errors.run(fail(FileNotFoundError(errno.ENOENT, "gone", "x")))  # type: ignore[arg-type]


def test_ctrl_c_and_sigterm_are_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(fail(KeyboardInterrupt()), capsys) == (130, f"{errors.INTERRUPTED}\n")
    assert ended(lambda: os.kill(os.getpid(), signal.SIGTERM), capsys) == (143, f"{errors.INTERRUPTED}\n")


def test_a_block_has_its_own_report_of_an_interruption(capsys: pytest.CaptureFixture[str]) -> None:
    for main, code in ((fail(KeyboardInterrupt()), 130), (lambda: os.kill(os.getpid(), signal.SIGTERM), 143)):

        def inside(main: Any = main) -> None:
            with errors.interrupted_as("interrupted: nothing is kept"):
                main()

        assert ended(inside, capsys) == (code, "interrupted: nothing is kept\n")
    test_ctrl_c_and_sigterm_are_reported(capsys)


def test_an_input_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
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
def test_a_value_is_shortened_to_fit_a_line(value: object, text: str) -> None:
    assert errors.shown(value) == text


def test_a_tool_removes_no_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    left = Path("data") / f".a.json.{files._host()}-{2**22 + 1}.part"
    left.parent.mkdir()
    left.touch()
    with pytest.raises(SystemExit):
        errors.run(lambda: None)
    assert left.exists()


def test_a_lack_of_memory_is_reported_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    line = ended(lambda: np.zeros(10**17), capsys)[0]
    assert line.startswith("error: not enough memory")
    assert "Unable to allocate" in line


@pytest.mark.parametrize("folder", ["file", "file/below", "loop", "/proc/none"])
def test_an_output_whose_folder_cannot_be_created_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: str
) -> None:
    if folder.startswith("/proc") and not Path("/proc").is_dir():
        pytest.skip("/proc is of Linux")
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("loop").symlink_to("loop")
    message, _ = ended(lambda: files.write("", Path(folder, "out.csv")), capsys)
    assert re.fullmatch(rf"error: {folder}.*: .*", str(message))


def test_a_device_or_pipe_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(InputError, match=rf"^{path}: "):
        files.write("", path)
    assert path.is_fifo()
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ("print('x')", errors.CLOSED, ""),
        ("while True: print('x' * 10000)", errors.CLOSED, ""),
        ("raise errors.InputError('a.b: bad.')", 1, "error: a.b: bad.\n"),
    ],
    ids=["little", "much", "error"],
)
def test_a_reader_that_stops_early_gets_no_traceback(
    body: str, code: int, words: str, unbuffered: str
) -> None:
    program = f"import sys\nfrom stages.base import errors\ndef main():\n  {body}\nerrors.run(main)"
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(
        [sys.executable, "-c", program],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        cwd=Path(__file__).parents[2],
    )
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (code, words)


def test_a_character_that_the_output_lacks_is_escaped() -> None:
    program = "from stages.base import errors\nerrors.run(lambda: print('caf\xe9 \u559c'))"
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "cp1252"},
        cwd=Path(__file__).parents[2],
    )
    assert (ended.returncode, ended.stdout.rstrip(), ended.stderr) == (0, b"caf\xe9 \\u559c", b"")


def test_another_broken_pipe_is_a_bug() -> None:
    with pytest.raises(BrokenPipeError):
        errors.run(fail(BrokenPipeError(errno.EPIPE, "of a worker")))  # type: ignore[arg-type]


def test_an_interrupt_waits_for_the_end_of_a_call_that_cannot_be_interrupted() -> None:
    done = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with pytest.raises(KeyboardInterrupt), errors.uninterrupted():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
            done.append("the call")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert done == ["the call"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_mp3_is_written_is_one_sentence(number: int) -> None:
    code = f"""
import os, signal, threading
import numpy as np
from stages.augmentations import codec
from stages.base import errors
signal.signal(signal.SIGINT, signal.default_int_handler)
noise = np.random.default_rng(0).normal(scale=0.1, size=160_000).astype(np.float32)
def main():
    codec.apply(noise, 16_000, np.random.default_rng(0), kbit_s=32.0)
    threading.Timer(0.3, os.kill, (os.getpid(), {number})).start()
    while True:
        codec.apply(noise, 16_000, np.random.default_rng(0), kbit_s=32.0)
errors.run(main)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=registry.STAGES.parent, capture_output=True, text=True, timeout=60
    )
    assert done.stderr.splitlines() == [errors.INTERRUPTED]
    assert done.returncode == 128 + number
