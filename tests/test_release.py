"""The version is the same everywhere; the changelog has a section for it, the archive the pipeline."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_citation_has_the_version() -> None:
    assert YAML(typ="safe", pure=True).load((ROOT / "CITATION.cff").read_text())["version"] == VERSION


def test_the_changelog_begins_with_what_is_not_released_or_with_the_version() -> None:
    sections = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert sections[0] in ("Unreleased", VERSION)
    assert len(sections) == len(set(sections))


def test_the_example_of_a_heading_is_found_by_the_script_that_makes_the_notes() -> None:
    heading = re.search(r"`(## \d.*?)`", (ROOT / "docs" / "releasing.md").read_text())
    (notes,) = re.findall(r"^awk .*?'(.*)'", (ROOT / ".ci" / "dist").read_text(), re.MULTILINE)
    assert heading is not None
    text = f"## Unreleased\n- new\n{heading[1]}\n- old\n## 0.1.0\n- oldest\n"
    command = ["awk", "-v", "section=0.2.0", notes]
    assert subprocess.run(command, input=text, capture_output=True, text=True).stdout == "- old\n"


@pytest.mark.parametrize("name", ["params.yaml", "dvc.yaml", ".dvc/config", "CHANGELOG.md", "CITATION.cff"])
def test_the_source_archive_has_the_pipeline(name: str) -> None:
    lines = (ROOT / "MANIFEST.in").read_text().splitlines()
    patterns = [word for line in lines if line.startswith("include ") for word in line.split()[1:]]
    files = {
        pattern: [path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern)] for pattern in patterns
    }
    assert all(files.values()), files
    packed = {file for found in files.values() for file in found}
    assert name in packed
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert packed <= set(tracked.splitlines())
