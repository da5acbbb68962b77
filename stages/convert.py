"""Make weights to start from out of a KerasHub preset: `python -m stages.convert PRESET NAME`.

A tool beside the pipeline. The preset is a ResNet of images; data/pretrained/NAME, which it writes, is what
`resnet34` starts from where `training.init_from` is NAME.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from stages.core import params, registry, tables, threads
from stages.core.errors import InputError, run
from stages.core.files import PRETRAINED, replacing, write_json
from stages.core.fold import FACTS, HEARD

MODEL = "resnet34"
SIDE = 224  # pixels of an image; weights do not depend on it
CHOICES = "a name (resnet_18_imagenet), an address (hf://timm/resnet34.a1_in1k) or a folder"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.convert", description=__doc__)
    parser.add_argument("preset", help=CHOICES)
    parser.add_argument("name", help="folder to be made in data/pretrained")
    arguments = parser.parse_args()
    chosen = params.read()
    threads.limit(chosen.train.threads)
    config = chosen.config("models", MODEL, "params.models")
    convert(arguments.preset, config, PRETRAINED / arguments.name)


def convert(preset: str, config: Any, folder: Path) -> None:
    """Writes the preset's weights to `folder`, as weights of the network that `config` describes.

    Raises:
        InputError: the preset cannot be had, or is of another network.
    """
    backbone = load(preset)
    entry = registry.load("models", MODEL, "params.models")
    network = entry.build(config, (SIDE, SIDE, 1), 1)
    values = backbone.get_weights()
    # Three colours of a grey image are one colour whose kernels are added.
    values[0] = values[0].sum(axis=2, keepdims=True)
    own = [weight.shape for layer in network.layers[:-1] for weight in layer.weights]
    theirs = [value.shape for value in values]
    if own != theirs:
        odd = next((pair for pair in zip(own, theirs, strict=False) if pair[0] != pair[1]), None)
        difference = f"{odd[1]} where this has {odd[0]}" if odd else f"{len(theirs)} arrays, not {len(own)}"
        raise InputError(
            f"{preset}: is of another network than params.models.{MODEL}: {difference}. "
            "Set its `filters` and `blocks` to the preset's, or take another preset."
        )
    network.set_weights([*values, *(np.zeros(weight.shape) for weight in network.layers[-1].weights)])
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / entry.TRAINER.FILE) as temporary:
        named = temporary.with_name(f".{entry.TRAINER.FILE}")  # Keras takes no other ending
        network.save_weights(named)
        named.rename(temporary)
    tables.write(tables.build([], tables.HEARD), tables.HEARD, folder / HEARD)  # it has heard nobody
    write_json({"classes": [], "model": MODEL, "preset": preset}, folder / FACTS)
    print(f"convert: {folder} holds {preset}, {network.count_params():,} parameters")


def load(preset: str) -> Any:
    """Returns the preset's network without its head.

    Raises:
        InputError: KerasHub is not installed, or does not find the preset, or not its weights.
    """
    try:
        import keras_hub
    except ImportError as error:
        raise InputError("stages.convert: needs KerasHub. `pip install -e '.[pretrained]'`.") from error
    try:
        return keras_hub.models.ResNetBackbone.from_preset(preset)
    except Exception as error:  # of every library that fetches or reads it
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{preset}: no ResNet preset could be had ({reason}). Give {CHOICES}.") from error


if __name__ == "__main__":
    run(main)
