"""Convert a KerasHub preset to initial weights: `ser convert PRESET NAME`.

The preset is a ResNet for images. This tool writes data/pretrained/NAME, from which `resnet34` starts with
`training.init_from: NAME`.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import numpy as np

from stages.base import params, registry
from stages.base.errors import InputError, run, shown
from stages.base.files import PRETRAINED, PRETRAINED_NAME, write_json
from stages.compute import hardware
from stages.data import tables
from stages.learning.record import RECORD, TRAINED_ON
from stages.networks.weights import FILE, save

MODEL = "resnet34"
SIDE = 224  # of an image, in pixels; weights do not depend on it
CHOICES = "a name (resnet_18_imagenet), an address (hf://timm/resnet34.a1_in1k) or a folder"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("preset", help=CHOICES)
    parser.add_argument("name", help="name of the new folder in data/pretrained")
    arguments = parser.parse_args()
    folder = folder_of(arguments.name)
    chosen = params.read()
    hardware.limit(chosen.train.threads)
    config = chosen.config("models", MODEL, "params.models")
    convert(arguments.preset, config, folder)


def folder_of(name: str) -> Path:
    """Returns the folder in data/pretrained for `training.init_from: name`.

    Raises:
        InputError: the name is not valid.
    """
    if not re.fullmatch(PRETRAINED_NAME, name):
        raise InputError(
            f"ser convert: NAME {shown(name)} is not valid. Use letters, digits, '_', '-' and '.', "
            "the last two not at the start."
        )
    return PRETRAINED / name


def convert(preset: str, config: Any, folder: Path) -> None:
    """Writes the preset's weights to `folder`, as weights of the network that `config` describes.

    Raises:
        InputError: the preset cannot be loaded, or is of another network.
        OSError: the disk is full, or the folder cannot be written.
    """
    backbone = load(preset)
    entry = registry.load("models", MODEL, "params.models")
    network = entry.build(config, (SIDE, SIDE, 1), 1)
    values = backbone.get_weights()
    # In a grey image the three colours are equal, so their kernels can be added.
    values[0] = values[0].sum(axis=2, keepdims=True)
    own = [weight.shape for layer in network.layers[:-1] for weight in layer.weights]
    theirs = [value.shape for value in values]
    if own != theirs:
        odd = next((pair for pair in zip(own, theirs, strict=False) if pair[0] != pair[1]), None)
        difference = f"{odd[1]}, not {odd[0]}" if odd else f"{len(theirs)} arrays, not {len(own)}"
        raise InputError(
            f"{preset}: is of another network than params.models.{MODEL}: {difference}. "
            "Set its `filters` and `blocks` to the preset's, or choose another preset."
        )
    network.set_weights([*values, *(np.zeros(weight.shape) for weight in network.layers[-1].weights)])
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{FILE}"  # Keras accepts no other ending
    try:
        save(network, temporary)
        temporary.replace(folder / FILE)
    finally:
        temporary.unlink(missing_ok=True)
    no_recordings = tables.build([], tables.TRAINED_ON)  # of this pipeline
    tables.write(no_recordings, tables.TRAINED_ON, folder / TRAINED_ON)
    write_json({"classes": [], "model": MODEL, "preset": preset}, folder / RECORD)
    print(f"convert: wrote {preset} to {folder}, {network.count_params():,} parameters")


def load(preset: str) -> Any:
    """Returns the preset's network without its head.

    Raises:
        InputError: KerasHub is not installed, or the preset or its weights are not found.
    """
    try:
        import keras_hub
    except ImportError as error:
        raise InputError("ser convert: needs KerasHub. `pip install -e '.[pretrained]'`.") from error
    try:
        return keras_hub.models.ResNetBackbone.from_preset(preset)
    except Exception as error:  # from any library that downloads or reads it
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{preset}: could not be loaded as a ResNet preset ({reason}). Give {CHOICES}."
        ) from error


if __name__ == "__main__":
    run(main)
