"""The image has what a bundle and the page need, and VS Code's container what `make test lint` needs."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path

from tests.inference.test_bundle import RUNTIME

ROOT = Path(__file__).resolve().parents[1]
OF_THE_PAGE = {"gradio", "jinja2", "matplotlib"}


def test_the_image_installs_what_a_bundle_and_the_page_need() -> None:
    command = re.search(
        r"RUN pip install --no-cache-dir \\\n(.*?)\nCOPY", (ROOT / "Dockerfile").read_text(), re.S
    )
    assert command is not None
    installed = set(shlex.split(command[1].replace("\\\n", " ")))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert installed <= {*project["dependencies"], *extras["app"], *extras["bundle"]}
    assert {re.split("[<>=]", one)[0] for one in installed} == {*RUNTIME, *OF_THE_PAGE}


def test_the_container_for_vs_code_installs_what_tests_and_lint_need() -> None:
    command = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())["postCreateCommand"]
    made = re.search(r"pip install --quiet --editable '\.\[dev,.*\]'(.*)", (ROOT / "Makefile").read_text())
    assert made is not None
    assert command.endswith(f"pip install -e '.[dev,cpu]'{made[1]}")
