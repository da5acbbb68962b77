"""What a search may vary, what it validates on, and what its trials belong to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from stages.base import registry
from stages.base.errors import InputError
from stages.base.files import PRETRAINED
from stages.base.params import Params, checked
from stages.checking.chosen import check_blocks
from stages.data import code, keys
from stages.learning import trained_fold, training
from stages.searching import space
from stages.searching.space import PLACE, Parameter, Values
from stages.splitting import leak

# What a search may vary. The other keys say what is measured (data, split, operating point, seeds) or decide
# nothing about it.
SEARCHED = (
    *("models", "training", "features", "spectrum", "audio", "augment", "augmentations"),
    "train.use_augmented",
)


def check(parameters: Sequence[Parameter], values: Values) -> Params:
    """Checks that every end and choice is a valid value that changes what is trained.

    Args:
        parameters: to search.
        values: the content of params.yaml, with the fixed values.

    Returns:
        `values` as parameters.

    Raises:
        InputError: names the key.
    """
    params = valid(values)
    if leak.leaky(params.split.protocol):
        raise InputError(
            f"params.split.protocol: '{params.split.protocol}' validates on speakers who are trained on. "
            "Search with a protocol that separates them, such as speaker_independent."
        )
    first = {parameter.key: space.read(parameter.ends()[0]) for parameter in parameters}
    for parameter in parameters:
        key, made = parameter.key, set()
        if not _below(key, SEARCHED):
            raise InputError(f"{PLACE}: {key} cannot be searched. Choose below {', '.join(SEARCHED)}.")
        for end in map(space.read, parameter.ends()):
            try:
                changed = valid(space.changed(values, {key: end}))
            except InputError:  # it may be valid beside others than the present values
                changed = valid(space.changed(values, first | {key: end}))
            made.add(keys.fingerprint(trained_fold.made_with(changed)))
        if len(made) == 1:
            raise InputError(f"{PLACE}: {key} changes nothing for params.model '{params.model}'.")
    return params


def valid(values: Values) -> Params:
    """Returns the parameters with this content of params.yaml.

    Raises:
        InputError: a value is wrong, also in the selected model's block, or a feature does not fit the block
            `spectrum`.
    """
    params = checked(values)
    check_blocks(params)
    return params


def check_validation(params: Params, rows: pd.DataFrame) -> None:
    """Checks that every fold is validated on speakers that are not trained on.

    Args:
        rows: train and validation rows of the splits, of the folds to train.

    Raises:
        InputError: a fold has no validation clips, or only of speakers that are trained on.
    """
    _, trainer = training.selected(params)
    for fold, of_fold in rows.groupby("fold"):
        speakers = {role: set(of_role["speaker"]) for role, of_role in of_fold.groupby("role")}
        train, validation = speakers["train"], speakers.get("validation", set())
        if trainer.trains_on_validation:
            if len(train | validation) == 1:
                raise InputError(
                    f"params.split: fold {fold} has one training speaker, so '{params.model}' would be "
                    "validated on a speaker who is trained on. Search with more speakers."
                )
        elif not validation:
            raise InputError(
                f"params.split.validation_fraction: {params.split.validation_fraction:g} leaves fold {fold} "
                f"without validation clips, and '{params.model}' is validated on those. Raise it."
            )
        elif both := train & validation:
            raise InputError(
                f"params.split: fold {fold} validates on {min(both)}, who is trained on too. Search with a "
                "protocol that separates speakers, such as speaker_independent."
            )


def code_of(params: Params) -> str:
    """Returns the fingerprint of the code that a trial runs from the augmented copies on."""
    files = ["train", "featurize", "augment", f"models/{params.model}"]
    files += [f"features/{name}" for name in params.featurize.features]
    files += [f"augmentations/{name}" for name in params.augment.chain]
    return keys.fingerprint(code.made_by(Path(registry.STAGES, f"{name}.py") for name in files))


def made_from(
    parameters: Sequence[Parameter], params: Params, rows: pd.DataFrame, code: str
) -> dict[str, str]:
    """Returns fingerprints of all that a trial's score depends on besides the chosen values.

    Args:
        parameters: to search.
        rows: see `check_validation`; test clips are not among them.
        code: see `code_of`.
    """
    searched = [parameter.key for parameter in parameters]
    searched += [f"models.{params.model}.{key}" for key in searched if _below(key, ["training"])]
    settings = trained_fold.made_with(params) | keys.leaves(
        {
            "features": {name: params.features[name] for name in params.featurize.features},
            "train": params.train.model_dump(include={"fold", "threads"}),
            "seed": params.seed,
        }
    )
    initial = params.block("models", params.model).get("training", {}).get("init_from")
    weights = sorted((PRETRAINED / initial).glob("[!.]*")) if initial else []
    return {
        "parameters": keys.fingerprint([(parameter.key, parameter.text) for parameter in parameters]),
        "data": keys.fingerprint(rows.to_dict("list"), [keys.sha256(path) for path in weights]),
        "settings": keys.fingerprint({key: settings[key] for key in settings if not _below(key, searched)}),
        "code": code,
    }


def _below(key: str, blocks: Sequence[str]) -> bool:
    """Returns whether a key is one of `blocks` or inside one."""
    return any(f"{key}.".startswith(f"{block}.") for block in blocks)
