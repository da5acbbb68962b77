"""What all tests share: the order of files, which worker gets them, and their params.yaml."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dvc.utils.hydra import apply_overrides

from tests import conftest
from tests.support import shipped


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


def test_the_tests_do_not_depend_on_what_is_chosen_in_params_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = shipped.text()
    settings = ["model=gru", "corpus=[ravdess, tess]", "split.labels.merge=arousal", "audio.level_db=null"]
    apply_overrides(shipped.write(tmp_path), settings)
    assert (tmp_path / "params.yaml").read_text() != before
    monkeypatch.setattr(shipped, "ROOT", tmp_path)
    assert shipped.text.__wrapped__() == before
