"""Errors that a user can fix, reported in one sentence."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import errno
import io
import os
import platform
import re
import reprlib
import shutil
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NoReturn

N_SHOWN = 60  # characters of a value that a message repeats
N_NAMED = 5  # names of `first_of`
N_LISTED = 400  # characters of the names it lists
N_REASON = 200  # characters of another library's message
INTERRUPTED = "interrupted: finished work is kept; run the same command to continue"
_interrupted = [INTERRUPTED]  # the last one is what SIGTERM reports
CLOSED = 128 + 13  # as if SIGPIPE ended it, which Python ignores
MEMORY = "Free some, or use a machine with more, and run the same command again; finished work is kept."

# Why a disk refuses a file, and what to do about it.
DISK_ERRORS = {
    errno.ENOSPC: "the disk is full. Free some space",
    errno.EDQUOT: "your disk quota is used up. Free some space",
    errno.EFBIG: "larger than the file size limit. Raise the limit (`ulimit -f`), or use another disk",
    errno.EROFS: "the disk is read-only. Make it writable",
    errno.EACCES: "permission denied. Change the permissions of the file or its folder",
    errno.EPERM: "permission denied. Change the permissions of the file or its folder",
    errno.ENAMETOOLONG: "the name is too long for the disk. Shorten it",
    errno.EISDIR: "a folder has this name. Choose another name",
    errno.ENOTDIR: "a file is where a folder has to be. Choose another folder",
    errno.EEXIST: "a file is where a folder has to be. Choose another folder",
    errno.EIO: "the disk reports an input/output error. Check it",
    errno.EMFILE: "too many files are open. Raise the limit (`ulimit -n`)",
    errno.ENFILE: "too many files are open on this machine. Raise its limit",
    errno.ESTALE: "the server of the shared folder does not know it any more. Mount it again",
    errno.ENOTCONN: "the shared folder is not connected. Mount it again",
    errno.ETIMEDOUT: "the shared folder does not answer. Mount it again",
}


class InputError(Exception):
    """A mistake in the user's input. Its message names the place, the value and the choices."""


class _Shown(reprlib.Repr):
    """`repr` shortened to fit a sentence, however long or deep the value is."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = N_SHOWN
        self.maxlevel = self.maxlist = self.maxdict = 3

    def repr_int(self, value: int, _level: int) -> str:
        # Python refuses to print an integer of more than 4300 digits.
        return repr(value) if value.bit_length() < 1000 else f"an integer of {value.bit_length()} bits"


def shown(value: object) -> str:
    """Returns the `repr` of `value` in one line of at most a few hundred characters."""
    return _Shown().repr(value)


def one_line(error: Exception) -> str:
    """Returns the start of another library's message, without line breaks.

    >>> one_line(ValueError("no such\\n  array"))
    'no such array'
    """
    return " ".join(str(error).split())[:N_REASON]


def shown_key(key: object) -> str:
    """Returns a short plain key unchanged, and any other as `shown` does."""
    return key if isinstance(key, str) and key.isprintable() and 0 < len(key) <= N_SHOWN else shown(key)


def unknown(place: str, value: object, choices: Iterable[str]) -> InputError:
    """Returns the error for a name that is not one of `choices`; it suggests the closest one."""
    choices = sorted(choices)
    near = difflib.get_close_matches(str(value)[:N_SHOWN], choices, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else "."
    named = listed(map(shown_key, choices)) or "nothing: there are none yet"
    return InputError(f"{place}: no {shown(value)}{hint} Choose from {named}.")


def listed(names: Iterable[str]) -> str:
    """Returns the names in one line, " ..." instead of those that are too many.

    >>> listed(["anger", "fear"])
    'anger, fear'
    """
    return textwrap.shorten(", ".join(names), N_LISTED, placeholder=" ...")


def first_of(names: Iterable[str], n: int = N_NAMED) -> str:
    """Returns the first `n` names in one line, and how many more there are.

    >>> first_of(["anger", "fear", "joy"], 2)
    'anger, fear and 1 more'
    """
    names = [*names]
    return ", ".join(names[:n]) + (f" and {len(names) - n} more" if len(names) > n else "")


@contextlib.contextmanager
def extra(name: str, place: str, package: str | None = None) -> Iterator[None]:
    """Reports a package that the block imports and that is not installed, with the command that installs it.

    Args:
        name: of the extra in pyproject.toml that has the package.
        place: what needs it.
        package: the only one whose absence is reported, where the block imports others too.

    Raises:
        InputError: a package is missing or does not load.

    >>> with extra("app", "ser app"):
    ...     import no_such_package
    Traceback (most recent call last):
    stages.base.errors.InputError: ser app: needs the extra `app` (No module named 'no_such_package'). ...
    """
    try:
        yield
    except ImportError as error:
        if package not in (None, (error.name or "").partition(".")[0]):
            raise
        raise InputError(
            # Double quotes: cmd.exe knows no others.
            f'{place}: needs the extra `{name}` ({one_line(error)}). Run `pip install -e ".[{name}]"`.'
        ) from error


def disk_error(error: OSError) -> str | None:
    """Returns which file cannot be read or written and why; None where the disk is not the cause."""
    number, file = error.errno, error.filename
    if isinstance(error, shutil.Error):  # from copytree, which keeps only the text of the error
        _, file, why = error.args[0][0]
        number = int(match[1]) if (match := re.match(r"\[Errno (\d+)\]", str(why))) else None
    reason = DISK_ERRORS.get(number or 0)
    if number == errno.ENOSPC and file and _out_of_inodes(str(file)):
        reason = "the disk has space, but no room for another file (`df -i`). Delete files"
    return reason and f"{file or 'output'}: {reason} and run the same command again; finished work is kept."


def _out_of_inodes(file: str) -> bool:
    """Returns whether the disk of `file` has free space, but no inode for one more file."""
    try:
        disk = os.statvfs(Path(file).parent)
    except (OSError, AttributeError):  # no such folder; Windows
        return False
    return disk.f_files > 0 and disk.f_favail == 0 and disk.f_bavail > 0


def unreadable(path: Path, reason: str) -> InputError:
    """Returns the error for a file that is there, but not readable on this machine: no fault in the file."""
    return InputError(
        f"{path}: cannot be read on {platform.node()} ({reason}). Check the disk, or that this machine has "
        "the shared folder and what its links lead to, and run the same command again; finished work is kept."
    )


def run(main: Callable[[], None]) -> NoReturn:
    """Runs a stage or tool: an error that the user can fix becomes one line on stderr and exit code 1.

    Ctrl-C ends it with exit code 130 and SIGTERM with 143, both after cleaning up; a reader of the output
    that stops early, as `head` does, with 141.
    """
    signal.signal(signal.SIGTERM, _terminate)
    encode_output()
    try:
        main()
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        if _is_written("\n"):  # another pipe broke
            raise
        sys.exit(CLOSED)
    except InputError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        message = disk_error(error)
        if message is None:
            raise
        sys.exit(f"error: {message}")
    except MemoryError as error:
        sys.exit(f"error: not enough memory ({error or 'no details'}). {MEMORY}")
    except KeyboardInterrupt as error:
        print(str(error) or INTERRUPTED, file=sys.stderr)
        sys.exit(130)
    finally:
        _is_written()
    sys.exit(0)


@contextlib.contextmanager
def interrupted_as(message: str) -> Iterator[None]:
    """Has `run` report `message` if the block is interrupted, for what INTERRUPTED is not true of."""
    _interrupted.append(message)
    try:
        yield
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(message) from error
    finally:
        _interrupted.pop()


def encode_output(encoding: str | None = None) -> None:
    """Sets the encoding of the standard output; None keeps it. A character that it lacks is escaped.

    On Windows a pipe has an encoding of few characters, and printing any other would end in an error.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace")


def _is_written(text: str = "") -> bool:
    """Writes `text` and what the output still holds, and returns whether that was possible.

    If not, it goes nowhere: Python would report at its end that it cannot be written.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.write(text)
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def run_without_arguments(main: Callable[[], None]) -> NoReturn:
    """Runs a script as `run` does. It takes no arguments: --help explains it, and others are refused."""
    text = sys.modules["__main__"].__doc__ or ""
    argparse.ArgumentParser(description=text.partition("\n")[0]).parse_args()
    run(main)


def parser_of(text: str | None, command: str | None = None) -> argparse.ArgumentParser:
    """Returns the parser of a tool's arguments, which explains it in the words of its docstring.

    Args:
        command: as it is typed; None for the name of the file.
    """
    formatter = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(prog=command, description=text, formatter_class=formatter)


def count(text: str) -> int:
    """Returns a number from 1 on that stands in an argument; argparse reports the error of any other.

    >>> count("3")
    3
    """
    with contextlib.suppress(ValueError):
        if int(text) >= 1:
            return int(text)
    raise argparse.ArgumentTypeError(f"{shown(text)} is not possible. Give a whole number from 1 on.")


def standard_input(place: str) -> BinaryIO:
    """Returns the bytes of the standard input.

    Raises:
        InputError: it is closed, as in `ser stream <&-`.
    """
    if sys.stdin is None:
        raise InputError(f"{place}: the standard input is closed. Pipe a recording into the command.")
    return sys.stdin.buffer


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Delays Ctrl-C and SIGTERM until the block ends, in the main thread, which receives them.

    For calls of C libraries that call Python back: an exception that is raised there is printed and lost.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {each: signal.signal(each, lambda number, _: received.append(number)) for each in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        for received_number in received:
            signal.raise_signal(received_number)


def _terminate(*_: object) -> NoReturn:
    print(_interrupted[-1], file=sys.stderr)
    sys.exit(128 + signal.SIGTERM)
