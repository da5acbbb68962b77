"""The environment of nkululeko and openSMILE, which need other versions of libraries than the pipeline."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

# Created by `make speed`; the variable SPEED_PEERS names another one.
FOLDER = Path(os.environ.get("SPEED_PEERS", ".venv-peers"))


def python() -> Path | None:
    """Returns the Python of that environment, None if it is not installed."""
    path = FOLDER / "bin" / "python"
    if path.exists():
        return path.absolute()
    print(f"speed: {FOLDER} is not installed, so nkululeko and openSMILE are not measured")
    return None


def versions(python: Path) -> dict[str, str]:
    """Returns the versions installed there."""
    names = ("nkululeko", "opensmile")
    code = f"from importlib.metadata import version; print(*(version(name) for name in {names}))"
    output = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout
    return dict(zip(names, output.split(), strict=True))
