"""Files of networks' weights: how one is read, and how a training starts from another's."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from stages.base.errors import InputError
from stages.base.files import PRETRAINED
from stages.learning.trained_fold import RECORD

FILE = "model.weights.h5"
HDF5_BYTES = 1 << 20  # more than what the file has beside the weights

Build = Callable[[tuple[int | None, ...], int], keras.Model]  # (input_shape, n_classes) -> logits


def save(network: keras.Model, path: Path) -> None:
    """Writes the network's weights.

    Raises:
        OSError: the disk is full, or the file cannot be written.
    """
    # HDF5 can crash the process when the disk fills while it writes, so the disk is asked first.
    needed = sum(weight.nbytes for weight in network.get_weights()) + HDF5_BYTES
    if shutil.disk_usage(path.parent).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    try:
        network.save_weights(path)
    except (OSError, RuntimeError) as error:
        if number := re.search(r"errno = (\d+)", str(error)):  # HDF5 tells the system's reason in words alone
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
        raise


def load(network: keras.Model, path: Path, advice: str) -> None:
    """Gives `network` the weights at `path`.

    Args:
        advice: a sentence on what to do where they are not this network's.

    Raises:
        InputError: there are none, or they are of another network.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "error", UserWarning
            )  # all that Keras does where it leaves a layer as it was
            network.load_weights(path)
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError, UserWarning) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: no weights of this network ({reason}). {advice}") from error


def start(network: keras.Model, name: str, build: Build, classes: list[str]) -> None:
    """Gives a fresh `network` the weights in data/pretrained/`name`.

    All layers but the last are taken over. Of the last, the classes that both know are; those that are new
    stay random, and so does the whole layer where the weights know no emotion (of images, say).

    Args:
        network: whose last layer are the logits.
        name: a folder as train leaves it in data/model, or as stages.tools.convert makes it.
        build: what `network` was built by.
        classes: what it tells apart.

    Raises:
        InputError: there are no such weights, they are of another network, or they know none of `classes`.
    """
    folder = PRETRAINED / name
    known = _classes(folder)
    shared = [emotion for emotion in classes if emotion in known]
    if known and not shared:
        raise InputError(
            f"{folder}: knows {', '.join(known)}, and none of {', '.join(classes)}, which are to be trained. "
            "Bring them together by params.split.labels.merge, or start from other weights."
        )
    source = build(network.input_shape[1:], max(len(known), 1))
    load(source, folder / FILE, "Choose other weights as `training.init_from`, or the model they are of.")
    for layer, pretrained in zip(network.layers[:-1], source.layers[:-1], strict=True):
        layer.set_weights(pretrained.get_weights())
    to, from_ = [classes.index(c) for c in shared], [known.index(c) for c in shared]
    values = [np.array(value) for value in network.layers[-1].get_weights()]
    for value, pretrained in zip(values, source.layers[-1].get_weights(), strict=True):
        value[..., to] = pretrained[..., from_]
    network.layers[-1].set_weights(values)


def _classes(folder: Path) -> list[str]:
    """Returns the classes that the weights in `folder` tell apart, none where they are of no emotions."""
    if not (folder / FILE).is_file():
        there = sorted(path.parent.name for path in PRETRAINED.glob(f"*/{FILE}"))
        raise InputError(
            f"training.init_from: {folder} holds no {FILE}. Choose from {', '.join(there) or 'nothing yet'}; "
            "put a trained fold of data/model there, or make one by `python -m stages.tools.convert`."
        )
    try:
        return [str(name) for name in json.loads((folder / RECORD).read_text())["classes"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder / RECORD}: tells no classes ({error!r}). Copy the whole fold there."
        ) from error
