"""Trainer of scikit-learn classifiers: one fit, stored by skops (no pickle)."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.base import npz
from stages.base.errors import InputError, one_line
from stages.base.files import replacing
from stages.data import keys
from stages.learning.live import Follow, ignore
from stages.learning.preprocessing import Clips, Partition
from stages.learning.trainer import Model

FILE = "model.skops"
SCHEMA = "schema.json"  # in that file: the tree of objects, beside an .npy file per array

# Types in the classifiers of stages/models that skops does not trust by default.
TRUSTED = ["sklearn.neural_network._stochastic_optimizers.AdamOptimizer"]

# What skops raises for files that are damaged or of another kind.
UNREADABLE = (*npz.UNREADABLE, TypeError, AttributeError, ImportError, RecursionError)

# Attributes of fitted classifiers that hold their parameters.
FITTED = ("support_vectors_", "dual_coef_", "coef_", "intercept_", "coefs_", "intercepts_", "class_prior_")


class EstimatorTrainer:
    """Fits, stores and applies a scikit-learn classifier."""

    file = FILE
    started_from = None  # a classifier is always fitted from scratch
    epochs = None
    trains_on_validation = False

    def __init__(self, build: Callable[[], Any]) -> None:
        """Takes a function that returns an unfitted classifier."""
        self.build = build

    def fit(
        self,
        train: Partition,
        validation: Partition | None,
        folder: Path,
        seed: int,
        follow: Follow = ignore,
    ) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Fits the classifier and writes it to `folder`; it has no epochs to follow.

        Returns:
            An empty learning curve, `n_parameters`, the number of fitted values, and `n_epochs` of an MLP.

        Raises:
            InputError: it cannot be fitted.
        """
        model = self._fitted(train, seed, folder.name)
        save(model, folder / FILE)
        found = {"n_parameters": _n_parameters(model)}
        if isinstance(n_epochs := vars(model).get("n_iter_"), int):  # of an MLP
            found["n_epochs"] = n_epochs
        return pd.DataFrame(), found

    def learned(self, train: Partition, seed: int, place: str) -> Model:
        """Returns a model fitted on `train`, which is not stored.

        Raises:
            InputError: it cannot be fitted; the message begins with `place`.
        """
        model = self._fitted(train, seed, place)
        return lambda clips: self.scores(model, clips.x)

    def _fitted(self, train: Partition, seed: int, place: str) -> Any:
        model = seeded(self.build(), seed)
        with warnings.catch_warnings():
            # An MLP that stops at its max_iter did what params.yaml asks for.
            warnings.filterwarnings("ignore", message=".*Maximum iterations.*")
            # An MLP takes Ctrl-C for the end of its training, and warns.
            warnings.filterwarnings("error", message=".*interrupted.*")
            try:
                self.learn(model, train.x, train.y)
            except ValueError as error:
                raise InputError(
                    f"{place}: cannot be fitted with the settings of the model's block in params.yaml "
                    f"({one_line(error)})."
                ) from error
            except UserWarning as warning:
                raise KeyboardInterrupt from warning
        return model

    def learn(self, model: Any, x: NDArray[np.float32], y: NDArray[np.int64]) -> None:
        """Fits the classifier in place; `fit` reports a ValueError as one of the settings."""
        model.fit(x, y)

    def scores(self, model: Any, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Returns decision values, or log probabilities without them: (n_clips, n_classes)."""
        if not hasattr(model, "decision_function"):
            return np.asarray(np.log(np.clip(model.predict_proba(x), 1e-12, None)))
        values = self.decide(model, x)
        return np.stack([-values, values], axis=1) if values.ndim == 1 else values

    def decide(self, model: Any, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Returns the classifier's decision values."""
        return np.asarray(model.decision_function(x), dtype=np.float64)

    def load(self, folder: Path, n_classes: int) -> Model:
        """Returns the model that `fit` wrote: see `scores`.

        Raises:
            InputError: there is no model written by train, or it is given other inputs.
        """
        path = folder / FILE
        model = load(path, type(self.build()))

        def checked(clips: Clips) -> NDArray[np.float64]:
            try:
                return self.scores(model, clips.x)
            except (ValueError, TypeError, LookupError, AttributeError) as error:
                raise _unreadable(path, error) from error

        return checked


def seeded(model: Any, seed: int) -> Any:
    """Returns `model` with a `random_state` for itself and each estimator in it, all drawn from `seed`."""
    names = sorted(name for name in model.get_params() if name.split("__")[-1] == "random_state")
    states = {name: int(keys.fingerprint(seed, name)[:8], 16) for name in names}
    return model.set_params(**states | ({"random_state": seed} if "random_state" in states else {}))


def _n_parameters(model: Any) -> int:
    values = [vars(model)[name] for name in FITTED if vars(model).get(name) is not None]
    arrays = [array for value in values for array in (value if isinstance(value, list) else [value])]
    return sum(np.size(array) for array in arrays)


def save(model: Any, path: Path) -> None:
    """Writes `model` as a skops file whose bytes depend on its values only.

    skops names objects and their arrays by memory address and dates the archive. Here they are numbered in
    the order of the schema, and the archive has a constant date.
    """
    import skops.io  # slow to import: it imports all of scikit-learn

    source = zipfile.ZipFile(io.BytesIO(skops.io.dumps(model)))
    arrays: dict[str, str] = {}  # old name -> new name
    schema = _numbered(json.loads(source.read(SCHEMA)), {}, arrays)
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as target:
        target.writestr(zipfile.ZipInfo(SCHEMA), json.dumps(schema, indent=2))
        for old, new in arrays.items():
            target.writestr(zipfile.ZipInfo(new), source.read(old))


def _numbered(node: Any, numbers: dict[int, int], arrays: dict[str, str]) -> Any:
    """Returns a part of the schema with new ids and file names, and notes both.

    Args:
        node: a part of the schema.
        numbers: new ids by old ones (memory addresses).
        arrays: new file names by old ones.
    """
    if isinstance(node, list):
        return [_numbered(item, numbers, arrays) for item in node]
    if not isinstance(node, dict):
        return node
    new = {key: _numbered(value, numbers, arrays) for key, value in node.items()}
    if "__id__" in node:
        new["__id__"] = numbers.setdefault(node["__id__"], len(numbers))
    if isinstance(node.get("file"), str):
        new["file"] = arrays.setdefault(node["file"], f"{len(arrays)}{Path(node['file']).suffix}")
    return new


def load(path: Path, kind: type) -> Any:
    """Returns the stored classifier.

    Args:
        kind: its class.

    Raises:
        InputError: the file is missing, holds another class, or types that this project does not store.
    """
    import skops.io  # slow to import

    if not path.is_file():
        raise InputError(f"{path}: missing. Run `dvc repro train`.")
    try:
        npz.check_stored(path)
        untrusted = set(skops.io.get_untrusted_types(file=path)) - set(TRUSTED)
        if untrusted:
            raise InputError(
                f"{path}: holds {', '.join(sorted(untrusted))}, which is not loaded: it could run code."
            )
        model = skops.io.load(path, trusted=TRUSTED)
        if type(model) is not kind:
            raise TypeError(f"a {type(model).__name__}, not a {kind.__name__}")
    except UNREADABLE as error:
        raise _unreadable(path, error) from error
    return model


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: not a model written by train ({one_line(error)}). Run `dvc repro train`.")
