"""Check params.yaml and record the settings and the code of the selected entries in data/selected.

The split is checked too, as far as names and tables decide it, before any recording is read. DVC deletes the
outputs of a stage before it starts it, so a value that only train refused would cost the trained model.

Later stages depend on data/selected instead of on whole registries. So an edit in a corpus, augmentation,
feature or model that is not selected, or in code that only such entries import, reruns no other stage. The
code of the tool `robustness` is recorded too, for `report`, which shows what it measured.
"""

from __future__ import annotations

import os
from contextlib import suppress

from stages.base import registry
from stages.base.files import SELECTED, write_json
from stages.base.params import PARAMS, read
from stages.base.stage import run
from stages.data import code


def main() -> None:
    # Both are slow to import.
    from stages.checking.chosen import check_chosen
    from stages.reporting import robustness

    # Git takes a file of the same size and second for unchanged, and `dvc exp run -S` writes params.yaml in
    # the second in which DVC restored it: then `git checkout params.yaml` would not undo the change.
    with suppress(OSError):  # the disk is read-only, or the file is another user's
        os.utime(PARAMS)
    params = read()
    check_chosen(params)
    for kind, names in params.chosen().items():
        blocks = {name: params.block(kind, name) for name in names}
        stems = dict.fromkeys(stem for name in names for stem in params.files(kind, name))
        files = [registry.STAGES / kind / f"{stem}.py" for stem in stems]
        write_json({"settings": blocks, "code": code.hashes(files)}, SELECTED / f"{kind}.json")
    # DVC has no optional dependencies, so `report` depends on this code instead of on what it measured.
    write_json({"code": code.hashes(robustness.CODE)}, SELECTED / robustness.FILE.name)


if __name__ == "__main__":
    run(main)
