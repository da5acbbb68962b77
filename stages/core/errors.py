"""What a user can mend, told in one sentence."""

from __future__ import annotations

import difflib
import errno
import sys
from collections.abc import Callable, Iterable
from typing import NoReturn


class InputError(Exception):
    """A mistake in what the user gave: it names the place, the value and the choices."""


def unknown(place: str, value: object, choices: Iterable[str]) -> InputError:
    """Returns the error for a name that is none of `choices`, with the nearest one suggested."""
    choices = sorted(choices)
    near = difflib.get_close_matches(str(value), choices, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else "."
    return InputError(f"{place}: no '{value}'{hint} Choose from {', '.join(choices) or 'nothing yet'}.")


def run(main: Callable[[], None]) -> NoReturn:
    """Runs a stage: a user's mistake becomes one line on stderr and exit code 1, an interrupt 130."""
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        sys.exit(f"error: {error.filename or 'output'}: the disk is full. Make room and run the same again.")
    except KeyboardInterrupt:
        print("interrupted: what is finished is kept, run the same command to go on", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)
