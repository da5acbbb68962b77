from __future__ import annotations

from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from stages import augment, featurize, train
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
    """A small project; what it imports directly, late, through others, from base and from elsewhere."""
    stages = tmp_path / "stages"
    for name, text in TREE.items():
        (stages / name).parent.mkdir(parents=True, exist_ok=True)
        (stages / name).write_text(text)
    monkeypatch.setattr(code, "STAGES", stages)
    return stages


def test_the_closure_is_all_that_is_imported_but_base_and_compute(tree: Path) -> None:
    found = code.closure([tree / "script.py"])
    assert [str(file.relative_to(tree)) for file in found] == [
        "data/keys.py",
        "data/late.py",
        "data/tables.py",
        "script.py",
    ]


def test_libraries_that_change_values_are_part_of_what_makes_a_result(tree: Path) -> None:
    made_by = code.made_by([tree / "script.py"])
    assert made_by["numpy"] == np.__version__
    assert made_by["soxr"] == metadata.version("soxr")
    assert not {"tqdm", "scipy"} & {*made_by}  # progress changes nothing; scipy is imported by base alone


@pytest.mark.parametrize(
    ("name", "counts"),
    [("script.py", True), ("data/late.py", True), ("audio/vocoder.py", False), ("base/errors.py", False)],
)
def test_an_edit_counts_where_the_code_is_reached(tree: Path, name: str, counts: bool) -> None:
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
def test_what_the_stages_compute_with_is_found(script: object, reached: set[str]) -> None:
    """Lists kept by hand missed data/shards, which cuts and writes shards, and data/keys, which draws."""
    assert reached <= {*code.hashes([Path(str(script.__file__))])}  # type: ignore[attr-defined]
