"""What a user can mend, told in one sentence."""

from __future__ import annotations

import difflib
import errno
import re
import reprlib
import shutil
import signal
import sys
import textwrap
from collections.abc import Callable, Iterable
from typing import NoReturn

from stages.base import files

N_SHOWN = 60  # characters of a value that a message repeats
N_LISTED = 400  # characters of the choices it gives
INTERRUPTED = "interrupted: what is finished is kept, run the same command to go on"

# What a disk or its owner has against a file, and what to do about it.
OF_THE_DISK = {
    errno.ENOSPC: "the disk is full. Make room",
    errno.EDQUOT: "your share of the disk is full. Make room",
    errno.EFBIG: "larger than files may be here. Raise the limit (`ulimit -f`), or take another disk",
    errno.EROFS: "the disk is read-only. Make it writable",
    errno.EACCES: "no permission. Change the rights of the file or its folder",
    errno.EPERM: "no permission. Change the rights of the file or its folder",
    errno.ENAMETOOLONG: "the name is too long for the disk. Shorten it",
    errno.EIO: "the disk fails. Check it",
}


class InputError(Exception):
    """A mistake in what the user gave: it names the place, the value and the choices."""


class _Shown(reprlib.Repr):
    """`repr` cut to what fits a sentence, however long or deep the value is."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = N_SHOWN
        self.maxlevel = self.maxlist = self.maxdict = 3

    def repr_int(self, value: int, _level: int) -> str:
        # Python refuses to write out an integer of more than 4300 digits.
        return repr(value) if value.bit_length() < 1000 else f"an integer of {value.bit_length()} bits"


def shown(value: object) -> str:
    """Returns `value` as Python writes it, in at most a few hundred characters of one line."""
    return _Shown().repr(value)


def shown_key(key: object) -> str:
    """Returns a key as it is, or as `shown` does where it is no short plain text."""
    return key if isinstance(key, str) and key.isprintable() and 0 < len(key) <= N_SHOWN else shown(key)


def unknown(place: str, value: object, choices: Iterable[str]) -> InputError:
    """Returns the error for a name that is none of `choices`, with the nearest one suggested."""
    choices = sorted(choices)
    near = difflib.get_close_matches(str(value)[:N_SHOWN], choices, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else "."
    listed = textwrap.shorten(
        ", ".join(map(shown_key, choices)) or "nothing yet", N_LISTED, placeholder=" ..."
    )
    return InputError(f"{place}: no {shown(value)}{hint} Choose from {listed}.")


def disk_error(error: OSError) -> str | None:
    """Returns which file cannot be read or written and why, None where that is not the disk's fault."""
    number, file = error.errno, error.filename
    if isinstance(error, shutil.Error):  # of copytree, which keeps no more than the text of what went wrong
        _, file, why = error.args[0][0]
        number = int(match[1]) if (match := re.match(r"\[Errno (\d+)\]", str(why))) else None
    told = OF_THE_DISK.get(number or 0)
    return told and f"{file or 'output'}: {told} and run the same again; what is finished is kept."


def run(main: Callable[[], None]) -> NoReturn:
    """Runs a stage: what the user can mend becomes one line on stderr and exit code 1.

    An interrupt ends it with 130 and SIGTERM with 143, both after cleaning up.
    """
    signal.signal(signal.SIGTERM, _terminate)
    try:
        files.sweep()
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        told = disk_error(error)
        if told is None:
            raise
        sys.exit(f"error: {told}")
    except KeyboardInterrupt:
        print(INTERRUPTED, file=sys.stderr)
        sys.exit(130)
    sys.exit(0)


def _terminate(*_: object) -> NoReturn:
    print(INTERRUPTED, file=sys.stderr)
    sys.exit(128 + signal.SIGTERM)
