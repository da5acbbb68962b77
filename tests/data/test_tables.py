from __future__ import annotations

from pathlib import Path

from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from stages.data import tables


def test_chosen_rows_are_read_from_another_file_system(tmp_path: Path) -> None:
    rows = tables.build([("x/a", "x/1", "e3"), ("x/b", "x/2", "b0")], tables.TRAINED_ON)
    tables.write(rows, tables.TRAINED_ON, tmp_path / "table.parquet")
    elsewhere = DirFileSystem(str(tmp_path), LocalFileSystem())
    chosen = [("clip", "in", ["x/b"])]
    found = tables.read(Path("table.parquet"), tables.TRAINED_ON, where=chosen, filesystem=elsewhere)
    assert found["clip"].tolist() == ["x/b"]
