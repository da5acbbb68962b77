"""What a search chooses from: settings of params.yaml, written `key=log(0.1, 100)`.

| written | chosen |
|---|---|
| `key=choice(a, b, ...)` | one of these values, as params.yaml would have them |
| `key=int(13, 40)` | an integer, both ends included |
| `key=float(0, 0.5)` | a number |
| `key=log(0.1, 100)` | a number, small and large ones alike: its logarithm is uniform |
| `key=value` | this value in every trial |
"""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.base.errors import InputError, shown, unknown

PLACE = "ser search"
FORMS = "choice(a, b), int(low, high), float(low, high), log(low, high) or a value"
N_DIGITS = 4  # of a chosen number: the last ones decide nothing, and a person reads and types it

Values = dict[str, Any]  # the content of params.yaml
Distribution = CategoricalDistribution | IntDistribution | FloatDistribution


@dataclass(frozen=True)
class Parameter:
    """A key of params.yaml that a search varies.

    Attributes:
        key: with dots.
        text: its values, as the user wrote them.
        distribution: of what Optuna chooses: numbers, or the choices as text.
    """

    key: str
    text: str
    distribution: Distribution

    @property
    def scale(self) -> Literal["choice", "linear", "log"]:
        """How its values are compared."""
        match self.distribution:
            case CategoricalDistribution():
                return "choice"
            case FloatDistribution(log=True):
                return "log"
        return "linear"

    def ends(self) -> list[Any]:
        """Returns the lowest and the highest value, or all choices, as Optuna has them."""
        if isinstance(self.distribution, CategoricalDistribution):
            return list(self.distribution.choices)
        return [self.distribution.low, self.distribution.high]

    def rounded(self, chosen: Any) -> Any:
        """Returns what Optuna chose with N_DIGITS digits, between the ends."""
        if not isinstance(self.distribution, FloatDistribution):
            return chosen
        return min(max(float(f"{chosen:.{N_DIGITS}g}"), self.distribution.low), self.distribution.high)

    def chosen(self, value: Any) -> Any | None:
        """Returns a value of params.yaml as Optuna would have chosen it; None if it could not."""
        if isinstance(self.distribution, CategoricalDistribution):
            for choice in self.distribution.choices:
                # By value: 30 is params.yaml's 30.0. And by kind: true is not 1.
                if read(choice) == value and isinstance(read(choice), bool) == isinstance(value, bool):
                    return choice
            return None
        kind = int if isinstance(self.distribution, IntDistribution) else float
        is_possible = type(value) in (int, kind) and self.distribution.low <= value <= self.distribution.high
        return kind(value) if is_possible else None


def parse(settings: Iterable[str]) -> tuple[list[Parameter], Values]:
    """Returns the parameters to search, sorted by key, and the fixed values by key.

    Raises:
        InputError: a setting has no such form, is given twice, or its ends are not in order.

    Examples:
        >>> parameters, fixed = parse(["model=svm", "models.svm.c=log(0.1, 100)"])
        >>> parameters[0].key, parameters[0].ends(), fixed
        ('models.svm.c', [0.1, 100.0], {'model': 'svm'})
    """
    parameters, fixed = {}, {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key or not text:
            raise InputError(f"{PLACE}: {shown(setting)} is not a setting. Write key={FORMS}.")
        if key in parameters or key in fixed:
            raise InputError(f"{PLACE}: {key} is given twice.")
        if found := re.fullmatch(r"(choice|int|float|log)\((.*)\)", text.strip()):
            parameters[key] = Parameter(key, text, _distribution(found[1], found[2], setting))
        else:
            fixed[key] = _yaml(text, setting)
            _refuse_blocks([fixed[key]], setting)
    if not parameters:
        raise InputError(f"{PLACE}: nothing to search. Write at least one setting as key={FORMS}.")
    return [parameters[key] for key in sorted(parameters)], fixed


def _distribution(form: str, inside: str, setting: str) -> Distribution:
    """Returns the distribution of a form, for instance `int`, with `13, 40` inside."""
    values = _yaml(f"[{inside}]", setting)
    if form == "choice":
        _refuse_blocks(values, setting)
        texts = [written(value) for value in values]
        if len(set(texts)) < max(2, len(texts)):
            raise InputError(f"{PLACE}: {shown(setting)} needs two or more different choices.")
        return CategoricalDistribution(texts)
    kinds = (int,) if form == "int" else (int, float)
    numbers = [value for value in values if type(value) in kinds and math.isfinite(value)]
    if len(values) != 2 or len(numbers) != 2:
        kind = "integers" if form == "int" else "numbers"
        raise InputError(f"{PLACE}: {shown(setting)} needs two {kind}, as {form}(low, high).")
    low, high = numbers
    if low >= high:
        raise InputError(f"{PLACE}: {shown(setting)}: the low end {low} is not below the high end {high}.")
    if form == "int":
        return IntDistribution(low, high)
    if form == "log" and low <= 0:
        raise InputError(f"{PLACE}: {shown(setting)}: a logarithmic range starts above 0, not at {low}.")
    return FloatDistribution(low, high, log=form == "log")


def _refuse_blocks(values: list[Any], setting: str) -> None:
    """Raises InputError for a block among the values: `-S` merges it with the present one."""
    if any(isinstance(value, dict) for value in values):
        raise InputError(f"{PLACE}: {shown(setting)} gives a block. Give a value for each of its keys.")


def _yaml(text: str, setting: str) -> Any:
    try:
        return YAML(typ="safe").load(text)
    except (YAMLError, ValueError) as error:
        raise InputError(f"{PLACE}: {shown(setting)}: {shown(text)} is not readable as YAML.") from error


def written(value: Any) -> str:
    """Returns a value as an argument of `-S` and as YAML in one line.

    >>> written(["mfcc", "rms"]), written(None), written(0.5)
    ('[mfcc, rms]', 'null', '0.5')
    """
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, str):
        plain = re.fullmatch(r"[\w./-]+", value) and read(value) == value
        return value if plain else json.dumps(value)
    return json.dumps(value)


def read(chosen: Any) -> Any:
    """Returns the value of params.yaml that Optuna's choice stands for."""
    return YAML(typ="safe").load(chosen) if isinstance(chosen, str) else chosen


def changed(values: Values, changes: Mapping[str, Any]) -> Values:
    """Returns the content of params.yaml with other values of existing keys.

    Raises:
        InputError: there is no such key.

    Examples:
        >>> changed({"models": {"svm": {"c": 1.0}}, "seed": 1}, {"models.svm.c": 2.0})
        {'models': {'svm': {'c': 2.0}}, 'seed': 1}
    """
    values = copy.deepcopy(values)
    for key, value in changes.items():
        block, name = _place(values, key)
        block[name] = value
    return values


def present(values: Values, key: str) -> Any:
    """Returns the value of a key with dots."""
    block, name = _place(values, key)
    return block[name]


def _place(values: Any, key: str) -> tuple[Any, Any]:
    """Returns the block or list that holds a key's value, and its key or number there.

    Raises:
        InputError: names the part of the key that is unknown, and the choices.
    """
    above, names = "params", key.split(".")
    for position, name in enumerate(names):
        keys = dict(enumerate(values)) if isinstance(values, list) else values
        known = {str(each): each for each in keys} if isinstance(keys, dict) else {}
        if name not in known:
            raise unknown(above, name, known)
        if position == len(names) - 1:
            return values, known[name]
        above, values = f"{above}.{name}", values[known[name]]
    raise AssertionError(key)
