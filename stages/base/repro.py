"""DVC from within a tool: stages whose results it reads are run first."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from stages.base.errors import InputError


def bring_up_to_date(tool: str, stages: Sequence[str]) -> None:
    """Runs `dvc repro` for some stages. DVC's output goes to stderr.

    Raises:
        InputError: a stage failed.
    """
    command = [sys.executable, "-m", "dvc", "repro", *stages]
    if subprocess.run(command, stdout=sys.stderr).returncode:
        raise InputError(f"{tool}: `dvc repro {' '.join(stages)}` failed; see its output above.")
