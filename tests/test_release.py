"""The version is the same everywhere, and the changelog has a section for it or for what comes next."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_citation_has_the_version() -> None:
    assert YAML(typ="safe", pure=True).load((ROOT / "CITATION.cff").read_text())["version"] == VERSION


def test_the_changelog_begins_with_what_is_not_released_or_with_the_version() -> None:
    sections = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert sections[0] in ("Unreleased", VERSION)
    assert len(sections) == len(set(sections))
