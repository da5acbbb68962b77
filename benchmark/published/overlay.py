"""The files in benchmark/published/systems: what a report says, and how this pipeline runs its system.

A system is an overlay on params.yaml: `params`, then those of a variant, then those of a protocol.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from stages.base import registry
from stages.base.errors import InputError, unknown
from stages.base.params import Block, Count, Params, Positive, check, checked
from stages.base.params import load as load_yaml
from stages.data.keys import fingerprint
from stages.learning import trained_fold
from stages.splitting import leak

SYSTEMS = Path("benchmark/published/systems")
AS_RECORDED = {"audio": {"trim_db": None, "level_db": None}}  # no report trims or scales recordings
MAX_MISSING = 0.01  # fraction of clips that a complete copy may exclude as duplicate or broken
Score = Annotated[float, Field(gt=0, le=1)]
Protocol = Literal["as_reported", "speaker_independent"]


class Report(Block):
    """What the report says; null where it says nothing."""

    source: str
    split: str  # in words
    scored_on: Literal["test", "validation"] | None  # the clips that its scores are computed on
    accuracy: Score | None
    f1: Score | None
    train_seconds: Positive | None


class Variant(Block):
    """One set of recordings or features that a system is run on, or one change of the system.

    `against` is the variant that this one changes in one point: what the change is worth is measured.
    `pretrain` has the changes of params.yaml for an earlier training, such as another corpus: the variant
    starts from the weights of its first fold. `note` replaces that of the system.
    """

    # what the report's scores are computed on; the closest available corpus; what it compares in addition
    role: Literal["reported", "stand_in", "further"]
    about: str
    params: dict[str, Any]
    against: str | None = None
    pretrain: dict[str, Any] | None = None
    note: str | None = None


class System(Block):
    """A published system.

    `note` is what a reader of its rows must know (fewer epochs, smaller images), or "". With each of the
    `n_seeds` seeds, its rows are split and trained again.
    """

    title: str
    report: Report
    note: str
    n_seeds: Count
    params: dict[str, Any]
    variants: Annotated[dict[str, Variant], Field(min_length=1)]  # the most important first
    protocols: Annotated[dict[Protocol, dict[str, Any]], Field(min_length=2)]

    def note_of(self, variant: str) -> str:
        """Returns what a reader of a variant's rows must know."""
        own = self.variants[variant].note
        return self.note if own is None else own

    @model_validator(mode="after")
    def _check_against(self) -> System:
        before: set[str | None] = {None}
        for name, variant in self.variants.items():
            if variant.against not in before:
                raise ValueError(f"variants.{name}.against: '{variant.against}' is no variant before it")
            before.add(name)
        return self

    @model_validator(mode="after")
    def _check_protocols(self) -> System:
        for name, changes in self.protocols.items():
            for key in changes.keys() - {"split"}:
                raise ValueError(
                    f"protocols.{name}.{key}: both protocols train alike; only `split` may differ"
                )
        return self


@dataclass(frozen=True)
class Experiment:
    """What one row of a benchmark runs; `values` is the whole of params.yaml, merged.

    `pretraining` runs before it: `training.init_from` names its weights. `seed` is that of one of its runs.
    """

    system: str
    variant: str
    protocol: str
    values: dict[str, Any]
    pretraining: Experiment | None = None
    seed: int | None = None

    @property
    def name(self) -> str:
        """The name of its row, among those of its system."""
        return f"{self.variant}-{self.protocol}"

    @property
    def folder(self) -> str:
        """The name of its workspace; each run has one of its own."""
        return self.name if self.seed is None else f"{self.name}-{self.seed}"

    @property
    def corpora(self) -> list[str]:
        """The corpora that it or its pretraining reads."""
        earlier = [] if self.pretraining is None else self.pretraining.corpora
        return [*self.values["corpus"], *earlier]

    @property
    def n_clips(self) -> int:
        """How many clips complete copies of its corpora have."""
        return sum(n_clips(name, self.values["split"]["channels"]) for name in self.values["corpus"])

    @property
    def weights(self) -> str:
        """The folder in data/pretrained for its trained fold, if it is a pretraining."""
        return f"{self.system}-{self.variant}"

    def run(self, number: int, train_clips: int | None) -> Experiment:
        """Returns the experiment with the seeds of run `number`, from 0, and a limit of training clips."""
        seed = self.values["seed"] + number
        changes = {"seed": seed, "train": {"seed": seed}, "split": {"train_clips": train_clips}}
        return replace(self, seed=seed, values=merged(self.values, changes))

    @property
    def block(self) -> dict[str, Any]:
        """The selected model's block of params.yaml."""
        block: dict[str, Any] = self.values["models"][self.values["model"]]
        return block

    def params(self) -> Params:
        """Returns the checked parameters, including the model's own.

        Raises:
            InputError: a key is unknown or a value not valid, or a split by new speakers is not one.
        """
        try:
            params = checked(self.values)
            params.config("models", params.model, "params.model")
            if self.protocol == "speaker_independent" and leak.leaky(params.split.protocol):
                raise InputError(f"params.split.protocol: '{params.split.protocol}' tests known speakers.")
        except InputError as error:
            raise InputError(f"{SYSTEMS / self.system}.yaml, {self.name}: {error}") from error
        return params


def n_clips(corpus: str, channels: Sequence[str]) -> int:
    """Returns how many clips of the channels a complete copy of a corpus has."""
    about = registry.load("corpora", corpus, "params.corpus").ABOUT
    of_each = {"speech": about.n_clips, "song": about.n_songs}
    return sum(of_each[channel] for channel in channels)


def n_speakers(corpora: Sequence[str]) -> int:
    """Returns how many speakers complete copies of corpora have."""
    return sum(registry.load("corpora", name, "params.corpus").ABOUT.n_speakers for name in corpora)


def names() -> list[str]:
    """Returns the systems, sorted."""
    return sorted(path.stem for path in SYSTEMS.glob("*.yaml"))


def load(name: str) -> System:
    """Returns a system.

    Raises:
        InputError: there is no such file, or it is not valid.
    """
    if not SYSTEMS.is_dir():
        raise InputError(f"{SYSTEMS}: no such folder. Run this from the repository's root.")
    if name not in names():
        raise unknown(str(SYSTEMS), name, names())
    path = SYSTEMS / f"{name}.yaml"
    return check(System, load_yaml(path), str(path))


def experiments(name: str, base: dict[str, Any]) -> list[Experiment]:
    """Returns a system's experiments on the params `base`: each variant by the report's split, then on new
    speakers."""
    system, found = load(name), []
    for variant, chosen in system.variants.items():
        before = reduce(merged, (AS_RECORDED, system.params, chosen.params), base)
        pretraining, start = None, {}
        if chosen.pretrain is not None:
            pretraining = Experiment(name, variant, "pretrain", merged(before, chosen.pretrain))
            start = {"models": {before["model"]: {"training": {"init_from": pretraining.weights}}}}
        for protocol in get_args(Protocol):
            values = reduce(merged, (system.protocols[protocol], start), before)
            found.append(Experiment(name, variant, protocol, values, pretraining))
    return found


def settings(experiments: Iterable[Experiment]) -> str:
    """Returns the fingerprint of all settings that determine a variant's rows: others make them outdated.

    Args:
        experiments: the variant's, and those of the variant that it is compared with. They belong together:
            both splits are limited to equally many training clips.
    """
    parts: list[Any] = []
    for experiment in experiments:
        for each in filter(None, (experiment.pretraining, experiment)):
            params = checked(each.values)
            split = params.split.model_dump(exclude={"lists", "label_maps"})
            own = params.seed, params.corpus, split, params.train.fold, params.evaluate.n_resamples
            parts += [*own, trained_fold.made_with(params)]
    return fingerprint(*parts)


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Returns `base` with `changes`: blocks are merged key by key, lists and values are replaced.

    >>> merged({"model": "svm", "split": {"n_folds": 6, "seed": 1}}, {"split": {"n_folds": 10}})
    {'model': 'svm', 'split': {'n_folds': 10, 'seed': 1}}
    """
    blocks = {
        key: merged(base[key], value)
        for key, value in changes.items()
        if isinstance(value, dict) and isinstance(base.get(key), dict)
    }
    return base | changes | blocks
