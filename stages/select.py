"""Check params.yaml and record the settings and the code of the selected entries in data/selected.

The split is checked too, as far as names and tables decide it, before any recording is read. DVC deletes the
outputs of a stage before it starts it, so a value that only train refused would cost the trained model.

Later stages depend on data/selected instead of on whole registries. So an edit in a corpus, augmentation,
feature or model that is not selected, or in code that only such entries import, reruns no other stage.
"""

from __future__ import annotations

from stages.base import registry
from stages.base.errors import InputError, listed, shown
from stages.base.files import SELECTED, write_json
from stages.base.params import Params, read
from stages.base.stage import run
from stages.compute import hardware
from stages.data import code


def main() -> None:
    # slow to import
    from stages.acquire.names import check_split
    from stages.searching.blocks import check_blocks

    params = read()
    with hardware.quiet():  # this may import TensorFlow
        check_blocks(params)
    check_inputs(params)
    check_split(params)
    for kind, names in params.chosen().items():
        blocks = {name: params.block(kind, name) for name in names}
        files = [registry.STAGES / kind / f"{params.file(kind, name)}.py" for name in names]
        write_json({"settings": blocks, "code": code.hashes(files)}, SELECTED / f"{kind}.json")


def check_inputs(params: Params) -> None:
    """Checks that the model's features are among those that are computed.

    Raises:
        InputError: a feature is not in `featurize.features`.
    """
    match params.block("models", params.model):
        case {"inputs": {"features": [*features]}}:
            computed = params.featurize.features
            for feature in features:
                if feature not in computed:
                    raise InputError(
                        f"params.models.{params.model}.inputs.features: {shown(feature)} is not in "
                        f"params.featurize.features, {listed(computed)}. Add it there, or remove it here."
                    )


if __name__ == "__main__":
    run(main)
