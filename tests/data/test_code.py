from __future__ import annotations

import ast
import os
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from stages import augment, featurize, train
from stages.base import registry
from stages.base.errors import InputError
from stages.data import code

TREE = {
    "script.py": "from stages.data import tables, keys\nfrom stages.base.errors import InputError\n",
    "other.py": "from stages.audio import vocoder\n",
    "data/tables.py": "import numpy as np\nimport tqdm\n\n\ndef f():\n    from stages.data.late import g\n",
    "data/keys.py": "from stages.data import CONSTANT\nimport soxr.core\n",
    "data/late.py": "g = 1\n",
    "audio/vocoder.py": "",
    "base/errors.py": "import scipy\n",
}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project with imports at the top, in a function, through others, from base and of libraries."""
    stages = tmp_path / "stages"
    for name, text in TREE.items():
        (stages / name).parent.mkdir(parents=True, exist_ok=True)
        (stages / name).write_text(text)
    monkeypatch.setattr(code, "STAGES", stages)
    return stages


def test_the_closure_is_everything_imported_except_base_and_compute(tree: Path) -> None:
    found = code.closure([tree / "script.py"])
    assert [str(file.relative_to(tree)) for file in found] == [
        "data/keys.py",
        "data/late.py",
        "data/tables.py",
        "script.py",
    ]


def test_stamps_are_of_the_closure_and_of_this_machine(tree: Path) -> None:
    here, cluster = (SimpleNamespace(engine=engine) for engine in ("local", "dask"))
    stamps = code.stamps([tree / "script.py"], here)  # type: ignore[arg-type]
    assert set(stamps) == set(code.closure([tree / "script.py"]))
    code.check_unedited(stamps)
    (tree / "data/late.py").write_text("g = 1\n")
    os.utime(tree / "data/late.py", (0, 0))
    with pytest.raises(InputError, match=r"data/late\.py: edited"):
        code.check_unedited(stamps)
    assert code.stamps([tree / "script.py"], cluster) == {}  # type: ignore[arg-type]


def test_versions_of_libraries_that_determine_values_are_included(tree: Path) -> None:
    made_by = code.made_by([tree / "script.py"])
    assert made_by["numpy"] == np.__version__
    assert made_by["soxr"] == metadata.version("soxr")
    assert not {"tqdm", "scipy"} & {*made_by}  # progress determines no value; only base imports scipy


@pytest.mark.parametrize("builds", [["tensorflow"], ["tensorflow-cpu"], ["tensorflow", "tensorflow-cpu"], []])
def test_a_build_of_tensorflow_is_recorded_as_tensorflow(
    tree: Path, monkeypatch: pytest.MonkeyPatch, builds: list[str]
) -> None:
    """With `tensorflow-cpu`, keras-hub installs `tensorflow` beside it: models made before stay usable."""
    (tree / "script.py").write_text("import tensorflow as tf\n")

    def version(name: str) -> str:
        if name not in builds:
            raise metadata.PackageNotFoundError(name)
        return "2.21.0"

    monkeypatch.setattr(code.metadata, "version", version)
    made_by = code.made_by([tree / "script.py"])
    recorded = {name: value for name, value in made_by.items() if value == "2.21.0"}
    assert recorded == ({"tensorflow": "2.21.0"} if builds else {})


@pytest.mark.parametrize(
    ("name", "counts"),
    [("script.py", True), ("data/late.py", True), ("audio/vocoder.py", False), ("base/errors.py", False)],
)
def test_an_edit_counts_if_the_file_is_imported(tree: Path, name: str, counts: bool) -> None:
    before = code.made_by([tree / "script.py"])
    with (tree / name).open("a") as file:
        file.write("# edited\n")
    assert (code.made_by([tree / "script.py"]) != before) == counts


@pytest.mark.parametrize(
    ("script", "reached"),
    [
        (augment, {"data/shards.py", "data/keys.py", "data/tables.py", "audio/recording.py"}),
        (featurize, {"data/shards.py", "data/keys.py", "audio/recording.py", "audio/spectrum.py"}),
        (train, {"data/shards.py", "data/keys.py", "learning/preprocessing.py", "splitting/leak.py"}),
    ],
)
def test_files_that_determine_results_are_found(script: object, reached: set[str]) -> None:
    """Earlier lists kept by hand omitted data/shards, which cuts and writes shards, and data/keys."""
    assert reached <= {*code.hashes([Path(str(script.__file__))])}  # type: ignore[attr-defined]


FILES = sorted(registry.STAGES.rglob("*.py"))


def test_no_import_is_overlooked() -> None:
    """`imported` reads neither `__init__.py` files nor relative imports nor imports by computed names."""
    assert not [file for file in FILES if file.stem == "__init__" and file.read_text().strip()]
    nodes = [(file, node) for file in FILES for node in ast.walk(ast.parse(file.read_text()))]
    assert not [file for file, node in nodes if isinstance(node, ast.ImportFrom) and node.level]
    computed = {
        file for file, node in nodes if isinstance(node, ast.Attribute) and node.attr == "import_module"
    }
    by_name = {"base/registry.py", "tools/ser.py"}  # entries, which callers name themselves; tools
    assert computed == {registry.STAGES / name for name in by_name}


def test_packages_that_determine_no_value_compute_nothing() -> None:
    """They import no numerical library, but for npz files that are read, and no package that uses one."""
    libraries, packages = set(), set()
    for file in (file for package in code.NO_VALUE for file in (registry.STAGES / package).rglob("*.py")):
        files, others = code.imported(file)
        libraries |= {(file.stem, name) for name in others & {*code.LIBRARIES.values()}}
        packages |= {code.package(other) for other in files}
    assert libraries <= {("npz", "numpy")}
    assert packages <= {*code.NO_VALUE, "data"}
