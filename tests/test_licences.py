"""docs/licences.md lists every direct dependency with the licence that its metadata state."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SECTION = (ROOT / "docs" / "licences.md").read_text().split("## Direct dependencies")[1].split("\n## ")[0]
ROWS = re.findall(r"^\| `(.+?)` \| (.+?) \| `?(\w*)`? *\|$", SECTION, re.MULTILINE)
LICENCES = {name: licence for name, licence, _ in ROWS}
NOT_STATED = {"espeakng-loader", "skops"}  # their own metadata name no licence
IN_WORDS = {"PSF": "Python Software Foundation"}


def test_every_direct_dependency_is_listed() -> None:
    groups = {"": PROJECT["dependencies"]} | PROJECT["optional-dependencies"]
    expected = {
        (match[0], extra)
        for extra, needed in groups.items()
        for each in needed
        if extra != "dev" and (match := re.match(r"[\w.-]+", each)) and match[0] != PROJECT["name"]
    }
    assert {(name, extra) for name, _, extra in ROWS} == expected


@pytest.mark.parametrize("name", sorted(LICENCES.keys() - NOT_STATED))
def test_the_licence_is_the_one_that_the_package_states(name: str) -> None:
    try:
        package = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{name} is not installed")
    classifiers = [each for each in package.get_all("Classifier") or [] if each.startswith("License ::")]
    stated = package.get("License-Expression") or " ".join(classifiers) or package.get("License") or ""
    family = re.match("[A-Za-z]+", LICENCES[name])
    assert family is not None
    assert IN_WORDS.get(family[0], family[0]) in stated
    assert ("GPL" in stated) == ("GPL" in LICENCES[name])
