"""The examples in the benchmark's docstrings, which pytest collects from `stages` only, are true."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from benchmark.cross_corpus import plan
from benchmark.published import lost, overlay, rows


@pytest.mark.parametrize("module", [plan, lost, overlay, rows], ids=lambda module: module.__name__)
def test_the_examples_of_a_module_are_true(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.attempted and not found.failed
