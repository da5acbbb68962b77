"""Trainer of scikit-learn classifiers: one fit, stored by skops (no pickle)."""

from __future__ import annotations

import io
import json
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import skops.io
from numpy.typing import NDArray

from stages.base import npz
from stages.base.errors import InputError
from stages.base.files import replacing
from stages.learning.preprocessing import Partition

FILE = "model.skops"

# What skops does not trust by itself and the classifiers of stages/models hold.
TRUSTED = ["sklearn.neural_network._stochastic_optimizers.AdamOptimizer"]

# What skops raises of files that are none of its own, or damaged.
UNREADABLE = (*npz.UNREADABLE, TypeError, AttributeError, ImportError, RecursionError)

Build = Callable[[tuple[int, ...], int], Any]  # (input_shape, n_classes) -> unfitted classifier


def fit(
    build: Build, config: Any, train: Partition, validation: Partition | None, folder: Path, seed: int
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Fits the classifier and writes it to `folder`.

    Returns:
        Its learning curve, which has no epochs, and `n_parameters`, the number of fitted values.

    Raises:
        InputError: it cannot be fitted.
    """
    model = build(train.x.shape[1:], len(train.classes))
    if "random_state" in model.get_params():
        model.set_params(random_state=seed)
    with warnings.catch_warnings():
        # An MLP that stops at its max_iter has done what params.yaml asked for.
        warnings.filterwarnings("ignore", message=".*Maximum iterations.*")
        try:
            model.fit(train.x, train.y)
        except ValueError as error:
            raise InputError(
                f"{folder.name}: not to be fitted with what the model's block in params.yaml says "
                f"({' '.join(str(error).split())})."
            ) from error
    _save(model, folder / FILE)
    return pd.DataFrame(), {"n_parameters": sum(np.size(value) for value in _arrays(model))}


def scores(
    build: Build, config: Any, folder: Path, x: NDArray[np.float32], n_classes: int
) -> NDArray[np.float64]:
    """Returns float64 (n_clips, n_classes): decision values, or log probabilities where there are none.

    Raises:
        InputError: there is no model that train wrote, or it is of other inputs.
    """
    model = _load(folder / FILE, build(x.shape[1:], n_classes))
    try:
        return _scores(model, x)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise _foreign(folder / FILE, error) from error


def _scores(model: Any, x: NDArray[np.float32]) -> NDArray[np.float64]:
    if hasattr(model, "decision_function"):
        values = np.asarray(model.decision_function(x), dtype=np.float64)
        return np.stack([-values, values], axis=1) if values.ndim == 1 else values
    return np.asarray(np.log(np.clip(model.predict_proba(x), 1e-12, None)))


def started_from(config: Any) -> str | None:
    """Returns None: a classifier is fitted from the start."""
    return None


def _arrays(model: Any) -> list[NDArray[Any]]:
    names = ("support_vectors_", "dual_coef_", "coef_", "intercept_", "coefs_", "intercepts_", "class_prior_")
    values = [vars(model).get(name) for name in names]
    return [
        array
        for value in values
        if value is not None
        for array in (value if isinstance(value, list) else [value])
    ]


def _save(model: Any, path: Path) -> None:
    """Writes `model` as a skops file whose bytes depend on its values alone.

    skops names objects by memory address and dates the archive: both are replaced by constants.
    """
    source = zipfile.ZipFile(io.BytesIO(skops.io.dumps(model)))
    schema = source.read("schema.json").decode()
    order = dict.fromkeys(re.findall(r'"__id__": (\d+)', schema))
    short = {address: str(number) for number, address in enumerate(order)}
    schema = re.sub(r'"__id__": (\d+)', lambda match: f'"__id__": {short[match[1]]}', schema)
    renamed = {name: _renamed(name, short) for name in source.namelist() if name != "schema.json"}
    for old, new in renamed.items():
        schema = schema.replace(json.dumps(old), json.dumps(new))
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as target:
        target.writestr(zipfile.ZipInfo("schema.json"), schema)
        for old, new in sorted(renamed.items(), key=lambda item: item[1]):
            target.writestr(zipfile.ZipInfo(new), source.read(old))


def _renamed(name: str, short: dict[str, str]) -> str:
    stem, _, suffix = name.partition(".")
    return f"{short.get(stem, stem)}.{suffix}"


def _load(path: Path, unfitted: Any) -> Any:
    """Returns the stored classifier.

    Args:
        unfitted: one of its kind.

    Raises:
        InputError: there is none, it is of another kind, or it holds types that this project does not store.
    """
    if not path.is_file():
        raise InputError(f"{path}: missing. Run `dvc repro train`.")
    try:
        strange = set(skops.io.get_untrusted_types(file=path)) - set(TRUSTED)
        if strange:
            raise InputError(
                f"{path}: holds {', '.join(sorted(strange))}, which is not loaded: it could run code."
            )
        model = skops.io.load(path, trusted=TRUSTED)
        if type(model) is not type(unfitted):
            raise TypeError(f"a {type(model).__name__}, not a {type(unfitted).__name__}")
    except UNREADABLE as error:
        raise _foreign(path, error) from error
    return model


def _foreign(path: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:200]
    return InputError(f"{path}: no model that train wrote ({reason}). Run `dvc repro train`.")
