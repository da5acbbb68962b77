"""The peers' environment: they want other versions of libraries than the pipeline does."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

# Made by `make speed`; elsewhere, say where by SPEED_PEERS.
FOLDER = Path(os.environ.get("SPEED_PEERS", ".venv-peers"))


def python() -> Path | None:
    """Returns the Python of the environment that has nkululeko and opensmile, None where there is none."""
    path = FOLDER / "bin" / "python"
    if path.exists():
        return path.absolute()
    print(f"speed: no peers in {FOLDER}, so nothing is measured against nkululeko and openSMILE")
    return None


def versions(python: Path) -> dict[str, str]:
    """Returns which peers are there."""
    names = ("nkululeko", "opensmile")
    code = f"from importlib.metadata import version; print(*(version(name) for name in {names}))"
    said = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout
    return dict(zip(names, said.split(), strict=True))
