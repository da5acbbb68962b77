"""Workers get the longest files first, and one worker gets the files that share what is made once."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import conftest


def test_the_longest_files_come_first_and_the_others_keep_their_order() -> None:
    assert all((conftest.ROOT / file).is_file() for file in conftest.LONGEST)
    names = ["tests/a.py::a", "tests/test_train.py::b", "tests/test_pipeline.py::c", "tests/a.py::d"]
    items: list[Any] = [SimpleNamespace(nodeid=name) for name in names]
    conftest.pytest_collection_modifyitems(items)
    assert [item.nodeid[-1] for item in items] == ["c", "b", "a", "d"]


def test_one_worker_gets_the_files_that_share_what_is_made_once() -> None:
    pytest.importorskip("xdist")
    config: Any = SimpleNamespace(option=SimpleNamespace(loadscopereorder=True), getvalue=lambda _: ["popen"])
    scheduler = conftest.pytest_xdist_make_scheduler(config, None)
    scopes = {
        file: scheduler._split_scope(f"tests/{file}.py::test_a[1]")
        for file in ("faults/test_kills", "faults/test_full_disk", "faults/test_stale", "test_train")
    }
    assert scopes["faults/test_kills"] == scopes["faults/test_full_disk"]
    assert len(set(scopes.values())) == 3
    assert not config.option.loadscopereorder  # else xdist sorts by the number of tests


def test_failures_with_an_edited_params_yaml_come_with_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conftest, "ROOT", tmp_path)
    said: list[str] = []
    reporter = SimpleNamespace(write_line=said.append)
    (tmp_path / "params.yaml").write_text("model: svm")
    name = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "params.yaml"], [*name, "commit", "-qm", "a"]):
        subprocess.run(["git", "-C", tmp_path, *command], check=True)
    conftest.pytest_terminal_summary(reporter, pytest.ExitCode.TESTS_FAILED)
    assert said == []
    (tmp_path / "params.yaml").write_text("model: gru")
    conftest.pytest_terminal_summary(reporter, pytest.ExitCode.OK)
    assert said == []
    conftest.pytest_terminal_summary(reporter, pytest.ExitCode.TESTS_FAILED)
    assert "params.yaml" in said[0]
