"""No module of the project calls home: neither when it is imported nor by DVC's telemetry."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.base import registry

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in registry.STAGES.rglob("*.py")
    if path.stem != "__init__"
)

# An audit hook sees what any Python code asks of the network, also in a thread that hides its errors.
WATCH = """
import importlib, sys
asked = []

def forbid(event, arguments):
    if event in {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}:
        asked.append((event, str(arguments[-1])))
        raise PermissionError(event)

sys.addaudithook(forbid)
for module in sys.argv[1:]:
    importlib.import_module(module)
print("asked:", asked)
"""


@pytest.mark.slow
def test_no_import_touches_the_network(tmp_path: Path) -> None:
    home = os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "MPLCONFIGDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", WATCH, *MODULES], cwd=tmp_path, env=home, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "asked: []"


def test_dvc_sends_no_analytics() -> None:
    config = configparser.ConfigParser()
    config.read_string(
        "\n".join(line.strip() for line in (ROOT / ".dvc" / "config").read_text().splitlines())
    )
    assert config["core"]["analytics"] == "false"
    assert config["core"]["check_update"] == "false"
