"""Files of networks' weights: writing, reading, and initialising a network from another's."""

from __future__ import annotations

import errno
import os
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np

from stages.base.errors import InputError, one_line
from stages.base.files import PRETRAINED
from stages.learning import record

FILE = "model.weights.h5"
HDF5_BYTES = 1 << 20  # more than the file contains besides the weights

Build = Callable[[tuple[int | None, ...], int], keras.Model]  # (input_shape, n_classes) -> logits


def save(network: keras.Model, path: Path) -> None:
    """Writes the network's weights.

    Raises:
        OSError: the disk is full, or the file cannot be written.
    """
    # HDF5 can crash the process when the disk fills while it writes, so the free space is checked first.
    needed = sum(weight.nbytes for weight in network.get_weights()) + HDF5_BYTES
    if shutil.disk_usage(path.parent).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    try:
        network.save_weights(path)
    except (OSError, RuntimeError) as error:
        if number := re.search(r"errno = (\d+)", str(error)):  # HDF5 reports it as text only
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
        raise


def load(network: keras.Model, path: Path, advice: str) -> None:
    """Sets the weights of `network` to those at `path`.

    Args:
        advice: a sentence on what to do if they do not fit.

    Raises:
        InputError: the file is missing, or of another network.
    """
    try:
        _check_stored(path)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # Keras only warns when it skips a layer
            network.load_weights(path)
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError, UserWarning) as error:
        raise InputError(f"{path}: not weights of this network ({one_line(error)}). {advice}") from error


def _check_stored(path: Path) -> None:
    """Raises ValueError if the arrays at `path` are larger than the file, or outside it.

    Keras compresses nothing, writes each array in one piece, and reads it before it compares shapes.
    """
    n_bytes = 0

    def check(name: str, item: h5py.Group | h5py.Dataset) -> None:
        nonlocal n_bytes
        if isinstance(item, h5py.Dataset):
            n_bytes += item.nbytes
            if item.chunks or item.external or item.is_virtual or n_bytes > path.stat().st_size:
                raise ValueError(f"{name} is compressed, or larger than the file")

    with h5py.File(path) as file:
        file.visititems(check)


def start(network: keras.Model, name: str, build: Build, classes: list[str]) -> None:
    """Initialises `network` with the weights in data/pretrained/`name`.

    All layers but the last are copied. Of the last layer, the classes that both have are copied; new ones
    stay random, and so does the whole layer if the weights have no emotions (those of ImageNet, for example).

    Args:
        network: its last layer outputs the logits.
        name: a folder as train writes it in data/model, or as `ser convert` does.
        build: built `network`.
        classes: of `network`.

    Raises:
        InputError: the weights are missing, in a linked folder, of another network, or of none of `classes`.
    """
    folder = PRETRAINED / name
    if not (folder / FILE).is_file():
        there = sorted(path.parent.name for path in PRETRAINED.glob(f"*/{FILE}"))
        raise InputError(
            f"training.init_from: {folder} contains no {FILE}. Choose from {', '.join(there) or 'none yet'}, "
            "copy a trained fold of data/model there, or make one by `ser convert`."
        )
    if folder.is_symlink():
        raise InputError(f"{folder}: a link to a folder, which DVC does not track. Copy the folder there.")
    known = record.read_classes(folder)
    shared = [emotion for emotion in classes if emotion in known]
    if known and not shared:
        raise InputError(
            f"{folder}: trained on {', '.join(known)}, none of which is among {', '.join(classes)}. "
            "Rename them by params.split.labels.merge, or start from other weights."
        )
    source = build(network.input_shape[1:], max(len(known), 1))
    advice = (
        "Choose other weights as `training.init_from`, or their model and inputs: with `duration_s: null`, "
        "each corpus has an input of its own length."
    )
    load(source, folder / FILE, advice)
    for layer, pretrained in zip(network.layers[:-1], source.layers[:-1], strict=True):
        layer.set_weights(pretrained.get_weights())
    to, from_ = [classes.index(c) for c in shared], [known.index(c) for c in shared]
    values = [np.array(value) for value in network.layers[-1].get_weights()]
    for value, pretrained in zip(values, source.layers[-1].get_weights(), strict=True):
        value[..., to] = pretrained[..., from_]
    network.layers[-1].set_weights(values)
