"""Check params.yaml and write down what the chosen entries are made of: their settings and their code.

Later stages depend on data/selected instead of on whole registries: an edit in a corpus, an augmentation, a
feature or a model that is not chosen, or in code that only such entries import, runs nothing again.
"""

from __future__ import annotations

from stages.base import registry
from stages.base.errors import run
from stages.base.files import SELECTED, write_json
from stages.base.params import read
from stages.data import code


def main() -> None:
    params = read()
    for kind, names in params.chosen().items():
        blocks = {name: params.block(kind, name) for name in names}
        files = [registry.STAGES / kind / f"{name}.py" for name in names]
        write_json({"settings": blocks, "code": code.hashes(files)}, SELECTED / f"{kind}.json")


if __name__ == "__main__":
    run(main)
