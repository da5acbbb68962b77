"""Convert a published image network to initial weights: `ser convert NETWORK NAME`.

The network is a KerasHub preset of a ResNet, or an npz file with the arrays of EfficientNet-Lite0 under the
names of its PyTorch checkpoint. This tool writes data/pretrained/NAME; with `training.init_from: NAME`,
`resnet34` or `efficientnet_lite0` starts from it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.base import npz, params, registry
from stages.base.errors import InputError, extra, one_line, parser_of, run, shown
from stages.base.files import PRETRAINED, PRETRAINED_NAME, write_json
from stages.compute import hardware
from stages.data import keys, tables
from stages.learning.record import RECORD, TRAINED_ON

SIDE = 224  # of an image, in pixels; weights do not depend on it
CHOICES = "a name (resnet_18_imagenet), an address (hf://timm/resnet34.a1_in1k), a folder or an .npz file"

# Of ImageNet's colours, divided by 128 as EfficientNet-Lite0 reads them. That of our images is 1.
COLOUR_STD = 0.45


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("network", help=CHOICES)
    parser.add_argument("name", help="name of the new folder in data/pretrained")
    arguments = parser.parse_args()
    folder = folder_of(arguments.name)
    chosen = params.read()
    hardware.limit(chosen.train.threads)
    model = "efficientnet_lite0" if arguments.network.endswith(".npz") else "resnet34"
    with hardware.quiet():
        config = chosen.config("models", model, "params.models")  # loads TensorFlow
    if model == "efficientnet_lite0":
        check_published(arguments.network, chosen.block("features", model)["sha256"])
    convert(arguments.network, model, config, folder)


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


def check_published(source: str, expected: str) -> None:
    """Checks that a file is the published one, as the feature of the same network does.

    Raises:
        InputError: its SHA-256 is not `expected`.
    """
    if Path(source).is_file() and (found := keys.sha256(Path(source))) != expected:
        raise InputError(
            f"{source}: its SHA-256 is {found}, but params.features.efficientnet_lite0.sha256 is {expected}. "
            "data/pretrained/README.md says how to make the file; for other weights, change the parameter."
        )


def convert(source: str, model: str, config: Any, folder: Path) -> None:
    """Writes a network's weights to `folder`, as weights of `model` with the settings `config`.

    Raises:
        InputError: the source cannot be loaded, or is of another network.
        OSError: the disk is full, or the folder cannot be written.
    """
    with extra("cpu", "ser convert", "tensorflow"):
        from stages.networks import weights  # loads TensorFlow; main has done so quietly

    values = efficientnet(source) if model == "efficientnet_lite0" else load(source).get_weights()
    entry = registry.load("models", model, "params.models")
    network = entry.build(config, (SIDE, SIDE, 1), 1)
    fill(network, values, source, model)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{weights.FILE}"  # Keras accepts no other ending
    try:
        weights.save(network, temporary)
        temporary.replace(folder / weights.FILE)
    finally:
        temporary.unlink(missing_ok=True)
    no_recordings = tables.build([], tables.TRAINED_ON)  # of this pipeline
    tables.write(no_recordings, tables.TRAINED_ON, folder / TRAINED_ON)
    sums = {name: keys.sha256(folder / name) for name in (TRAINED_ON, weights.FILE)}
    write_json({"classes": [], "model": model, "source": source, "sha256": sums}, folder / RECORD)
    print(f"convert: wrote {source} to {folder}, {network.count_params():,} parameters")


def fill(network: Any, values: list[NDArray[np.float32]], source: str, model: str) -> None:
    """Sets the weights of a network for grey images to those of an image network; its last layer's are 0.

    Args:
        network: Keras model of images (height, width, 1).
        values: of all layers but the last, in Keras's order; the first kernel is of three colours.
        source: where they are from.
        model: entry of stages/models.

    Raises:
        InputError: they are of another network.
    """
    # In a grey image the three colours are equal, so their kernels can be added.
    grey = [values[0].sum(axis=2, keepdims=True), *values[1:]]
    own = [weight.shape for layer in network.layers[:-1] for weight in layer.weights]
    theirs = [value.shape for value in grey]
    if own != theirs:
        odd = next((pair for pair in zip(own, theirs, strict=False) if pair[0] != pair[1]), None)
        difference = f"{odd[1]}, not {odd[0]}" if odd else f"{len(theirs)} arrays, not {len(own)}"
        raise InputError(
            f"{source}: is of another network than params.models.{model}: {difference}. "
            "Set its sizes to the source's, or choose another one."
        )
    network.set_weights([*grey, *(np.zeros(weight.shape) for weight in network.layers[-1].weights)])


def efficientnet(source: str) -> list[NDArray[np.float32]]:
    """Returns the arrays of EfficientNet-Lite0 but its last layer's, in the order and layout of Keras.

    Raises:
        InputError: the file is missing, damaged, or has other arrays than floats.
    """
    try:
        with npz.zipped(Path(source)) as arrays:
            found = {name: arrays[name] for name in arrays.files if not name.startswith("_fc.")}
    except npz.UNREADABLE as error:
        raise InputError(f"{source}: cannot be read as an npz file ({error}). Give {CHOICES}.") from error
    if wrong := next((name for name, value in found.items() if value.dtype.kind != "f"), None):
        raise InputError(
            f"{source}: {shown(wrong)} is of {found[wrong].dtype}, not of floats. Give {CHOICES}."
        )
    values = [_keras_layout(name, value) for name, value in found.items()]
    if not values or values[0].ndim != 4:
        raise InputError(f"{source}: does not begin with the kernel of a convolution. Give {CHOICES}.")
    values[0] *= COLOUR_STD
    return values


def _keras_layout(name: str, value: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns a kernel's axes as Keras has them; PyTorch's are (out, in, height, width)."""
    if value.ndim != 4:
        return value
    axes = (2, 3, 0, 1) if "_depthwise_" in name else (2, 3, 1, 0)
    return np.ascontiguousarray(value.transpose(axes))


def load(preset: str) -> Any:
    """Returns the preset's network without its head.

    Raises:
        InputError: KerasHub is not installed, or the preset or its weights are not found.
    """
    with extra("pretrained", "ser convert"):
        import keras_hub
    try:
        return keras_hub.models.ResNetBackbone.from_preset(preset)
    except Exception as error:  # from any library that downloads or reads it
        raise InputError(
            f"{preset}: could not be loaded as a ResNet preset ({one_line(error)}). Give {CHOICES}."
        ) from error


if __name__ == "__main__":
    run(main)
