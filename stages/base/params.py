"""params.yaml, read as DVC reads it (YAML 1.2) and checked before anything runs.

Every parameter is in params.yaml: no class here has a default, so a value has one home. Types are strict
('3' is not a number), an unknown key is an error, and the first error found is reported as
`params.split.tset: unknown key; did you mean 'test'?`.
"""

from __future__ import annotations

import copy
import difflib
import functools
import textwrap
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent

from stages.base import files, registry
from stages.base.errors import N_SHOWN, InputError, shown, shown_key, unknown

PARAMS = Path("params.yaml")

# The key that chooses entries of each registry.
CHOSEN_BY = {
    "corpora": "params.corpus",
    "augmentations": "params.augment.chain",
    "features": "params.featurize.features",
    "models": "params.model",
}

LARGEST = 1e30  # of any number
N_OF_YAML = 400  # characters of the YAML reader's message
DEEPEST = 100  # nesting of lists and blocks; params.yaml has 9

Fraction = Annotated[float, Field(ge=0, lt=1)]
Ratio = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _ascending(ends: list[float]) -> list[float]:
    if ends[0] > ends[1]:
        raise ValueError(f"the low end {ends[0]:g} is above the high end {ends[1]:g}")
    return ends


def _distinct(names: list[str]) -> list[str]:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{shown(name)} is listed more than once")
    return names


N = TypeVar("N", bound=float)
# The two ends of an interval to sample from, low before high; equal ends give a fixed value.
Range = Annotated[list[N], Field(min_length=2, max_length=2), AfterValidator(_ascending)]
Names = Annotated[list[str], AfterValidator(_distinct)]


class Block(BaseModel):
    """A block of params.yaml: frozen and strict, without unknown keys, NaN, infinite or huge numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _not_absurd(cls, value: Any) -> Any:
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int | float) and abs(number) > LARGEST:
                raise ValueError(f"{shown(number)} is larger than {LARGEST:g}, the limit for any number")
        return value


class Ingest(Block):
    download: bool
    max_unpacked_gb: Positive
    max_compression_ratio: Positive


class Notices(Block):
    """From where on a usable recording is counted as unusual; see `audio.quality.Measures`."""

    dc_above: Positive
    clipped_above: Fraction
    narrow_below_hz: NonNegativeFloat
    agreement_below: Ratio
    long_above_s: Positive


class Manifest(Block):
    """From where on a recording is excluded; see `audio.quality.Measures`."""

    shortest_s: NonNegativeFloat
    longest_s: Positive
    silent_below_dbfs: Annotated[float, Field(lt=0)]
    loud_above_dbfs: float
    overloaded_above: Fraction
    shortest_active_s: NonNegativeFloat
    steady_below_db: NonNegativeFloat
    narrow_below_hz: NonNegativeFloat
    notices: Notices


class Labels(Block):
    merge: dict[str, str]
    drop: list[str]

    @model_validator(mode="after")
    def _one_treatment_each(self) -> Self:
        targets = set(self.merge.values())
        for emotion in sorted({*self.merge, *self.drop}):
            treatments = (emotion in self.merge, emotion in self.drop, emotion in targets)
            if sum(treatments) > 1:
                raise ValueError(f"'{emotion}' can only be one of: merged, dropped, merged into")
        return self


class TrainOnly(Block):
    """Clips that train and are never tested, but not those of a fold's test or validation speakers."""

    corpora: Names
    channels: Names


class Split(Block):
    protocol: Literal[
        "speaker_independent",
        "leave_one_speaker_out",
        "speaker_and_text_independent",
        "cross_corpus",
        "random",
        "fixed",
        "official",
        "session",
        "group",
    ]
    n_folds: Count
    group_by: str
    test_fraction: Annotated[float, Field(gt=0, lt=1)]
    validation_fraction: Fraction
    train_clips: Count | None
    fixed_list: str
    lists: dict[str, list[str]]
    channels: Annotated[Names, Field(min_length=1)]
    train_only: TrainOnly
    labels: Labels
    label_maps: dict[str, dict[str, str]]

    @model_validator(mode="before")
    @classmethod
    def _named_map(cls, values: Any) -> Any:
        """Puts the map that `labels.merge` names in its place, without what `labels.drop` leaves out."""
        match values:
            case {"labels": {"merge": str(name)} as labels, "label_maps": dict(maps)}:
                pass
            case _:
                return values
        if name not in maps:
            choices = {"name": shown(name), "maps": ", ".join(map(shown_key, sorted(maps)))}
            raise PydanticCustomError(
                "of_key", "labels.merge: no {name} in label_maps; choose from {maps}", choices
            )
        dropped = labels.get("drop") or []
        merge = {label: target for label, target in maps[name].items() if label not in dropped}
        return values | {"labels": labels | {"merge": merge}}


class Audio(Block):
    """What of a recording is used.

    Attributes:
        trim_db: what is this far below the loudest frame, or hardly louder than the noise, is left
            out before the first and after the last louder frame; null keeps all.
        level_db: the mean power of the loudest frames to which recordings are scaled, in dB re full scale;
            null keeps their own.
    """

    sample_rate_hz: Annotated[int, Field(ge=4000, le=192_000)]
    trim_db: Positive | None
    level_db: Annotated[float, Field(ge=-100, le=0)] | None
    pre_emphasis: Fraction


class Augment(Block):
    copies: Annotated[int, Field(ge=0, le=100)]
    chain: Names

    @model_validator(mode="after")
    def _copies_differ(self) -> Self:
        if self.copies and not self.chain:
            raise ValueError("an empty chain makes copies identical to their originals; use `copies: 0`")
        return self


class Augmentation(Block):
    """What every augmentation's Config has: the probability that it is applied to a copy.

    All other fields of a Config are ranges, from which the parameters of a copy are drawn.
    """

    probability: Ratio


class Spectrum(Block):
    n_fft: Annotated[int, Field(ge=32, le=65_536)]
    hop_length: Count
    n_mels: Annotated[int, Field(ge=2, le=512)]
    fmin_hz: NonNegativeFloat
    fmax_hz: Positive
    top_db: Positive

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.hop_length > self.n_fft:
            raise ValueError(
                f"hop_length {self.hop_length} skips samples between frames of n_fft {self.n_fft}"
            )
        if self.fmin_hz >= self.fmax_hz:
            raise ValueError(f"fmin_hz {self.fmin_hz:g} is not below fmax_hz {self.fmax_hz:g}")
        return self


class Featurize(Block):
    features: Annotated[Names, Field(min_length=1)]
    clips_per_shard: Count


Normalize = Literal["global", "corpus", "speaker", "enrol", "cluster"]


class Train(Block):
    """How folds are trained, and by whose statistics clips are standardised.

    Attributes:
        normalize: see learning.normalization.
        enrolled_clips: other clips that a new speaker's mean is estimated from, for `enrol`.
        clusters: of voices in a batch of test clips, for `cluster`.
    """

    fold: Annotated[int, Field(ge=0)] | Literal["all"]
    seed: Seed
    n_seeds: Annotated[int, Field(ge=1, le=1000)]
    use_augmented: bool
    normalize: Normalize
    enrolled_clips: Count
    clusters: Count
    calibrate: Literal["temperature", "none"]
    threads: Annotated[int, Field(ge=1, le=256)]

    @property
    def seeds(self) -> range:
        """The seeds with which every fold is trained."""
        return range(self.seed, self.seed + self.n_seeds)


class Plateau(Block):
    """Learning rate times `factor` after `patience_epochs` without improvement, down to the minimum."""

    patience_epochs: Count
    factor: Annotated[float, Field(gt=0, lt=1)]
    min_learning_rate: Positive


class Training(Block):
    """How networks are trained.

    Attributes:
        learning_rate_decay: the rate is multiplied by it after every epoch; 1 keeps it.
        precision: of the computations in training, and so of each epoch's validation scores, which choose the
            epoch; weights and all other scores are float32. `auto` is bfloat16 if the processor has
            instructions for it, which halves the time of convolutions.
        clip_norm: the largest norm of each variable's gradient; null does not clip.
        class_weights: `balanced` weighs clips by the inverse frequency of their class.
        monitor: the validation metric, `uar` or `loss`; the weights of its best epoch are kept.
        patience_epochs: early stopping after this many epochs without improvement; null never stops.
        plateau: lowers the learning rate without improvement; null does not.
        checkpoint_every_epochs: how often an interrupted training can be resumed from.
        init_from: a folder in data/pretrained with the initial weights; null initialises at random.
    """

    optimizer: Literal["adam", "rmsprop", "sgd"]
    learning_rate: Positive
    learning_rate_decay: Annotated[float, Field(gt=0, le=1)]
    precision: Literal["auto", "float32", "bfloat16"]
    clip_norm: Positive | None
    epochs: Count
    batch_size: Count
    class_weights: Literal["none", "balanced"]
    monitor: Literal["uar", "loss"]
    patience_epochs: Count | None
    plateau: Plateau | None
    checkpoint_every_epochs: Count
    init_from: Annotated[str, Field(pattern=files.PRETRAINED_NAME)] | None


class Predict(Block):
    """What predict does with a recording that it should not be used for.

    Attributes:
        excluded: one that manifest would exclude as no usable speech.
        unlike: one that is unlike the training clips.
        level_db, duration_factor, bandwidth_factor, active_fraction: how far a value may be outside the range
            from the 1st to the 99th percentile of the training clips.
        sure: an answer is `unsure` if answers of its confidence were right less often than this on validation
            clips.
    """

    excluded: Literal["answer", "warn", "abstain"]
    unlike: Literal["answer", "warn", "abstain"]
    level_db: NonNegativeFloat
    duration_factor: Annotated[float, Field(ge=1)]
    bandwidth_factor: Annotated[float, Field(ge=1)]
    active_fraction: Ratio
    sure: Ratio


class Evaluate(Block):
    n_resamples: Annotated[int, Field(ge=100, le=1_000_000)]


class Report(Block):
    n_audio: Annotated[int, Field(ge=0, le=8)]


class Compute(Block):
    """Where tasks run. No result depends on it.

    Attributes:
        engine: `local`: processes on this machine; `dask`: workers of a Dask cluster.
        workers: processes on this machine; unused where `scheduler` names a cluster, which has its own.
        scheduler: address of a running cluster's scheduler; null starts a cluster on this machine.
    """

    engine: Literal["local", "dask"]
    workers: Annotated[int, Field(ge=1, le=1024)]
    scheduler: Annotated[str, Field(min_length=1)] | None


CORPUS_NAME = r"^\w([\w .-]*\w)?$"  # of a folder in data/raw
CorpusName = Annotated[str, Field(pattern=CORPUS_NAME)]


class Params(Block):
    """The whole of params.yaml. The entries' blocks stay unchecked until `config` reads the chosen one."""

    seed: Seed
    model: str
    corpus: Annotated[Names, Field(min_length=1)]
    ingest: Ingest
    manifest: Manifest
    split: Split
    audio: Audio
    augment: Augment
    spectrum: Spectrum
    featurize: Featurize
    train: Train
    training: Training
    evaluate: Evaluate
    predict: Predict
    report: Report
    compute: Compute
    corpora: dict[CorpusName, Any]
    augmentations: dict[str, Any]
    features: dict[str, Any]
    models: dict[str, Any]

    @model_validator(mode="after")
    def _below_nyquist(self) -> Self:
        fmax_hz, nyquist_hz = self.spectrum.fmax_hz, self.audio.sample_rate_hz / 2
        if fmax_hz > nyquist_hz:
            raise ValueError(
                f"spectrum.fmax_hz {fmax_hz:g} is above {nyquist_hz:g}, half of audio.sample_rate_hz"
            )
        return self

    def config(self, kind: str, name: str, place: str) -> Any:
        """Returns the checked `Config` of one entry, an empty block if it has none.

        Args:
            kind: registry folder, which is also the key in params.yaml.
            place: the key under which the user chose it.

        Raises:
            InputError: no such entry, no block for it, or an error in the block.
        """
        module = registry.load(kind, self.file(kind, name), place)
        config = getattr(module, "Config", Block)  # of a corpus without settings
        return check(config, self.block(kind, name), f"params.{kind}.{name}")

    def file(self, kind: str, name: str) -> str:
        """Returns the stem of the file in `stages/<kind>/` that serves the entry."""
        block = getattr(self, kind).get(name)
        return registry.TABLE if kind == "corpora" and isinstance(block, dict) and "table" in block else name

    def files(self, kind: str, name: str) -> list[str]:
        """Returns the stems of all files in `stages/<kind>/` that serve the entry: also a table's parser."""
        block = getattr(self, kind).get(name)
        parser = block.get("parser") if self.file(kind, name) == registry.TABLE else None
        return [self.file(kind, name), *([str(parser)] if parser else [])]

    def corpus_of(self, name: str) -> Any:
        """Returns the module of a corpus, or the same made of its table.

        Raises:
            InputError: no such corpus, no block for it, or an error in the block.
        """
        place = CHOSEN_BY["corpora"]
        module = registry.load("corpora", self.file("corpora", name), place)
        return module.bind(name, self.config("corpora", name, place)) if hasattr(module, "bind") else module

    def block(self, kind: str, name: str) -> Any:
        """Returns one entry's block of params.yaml.

        A network's `training` is the shared one, with the model's own keys in place of the shared ones.

        Raises:
            InputError: there is no such block.
        """
        blocks = getattr(self, kind)
        if name not in blocks:
            raise InputError(f"params.{kind}: has no block '{name}', which {CHOSEN_BY[kind]} asks for.")
        block = blocks[name]
        if kind == "models" and isinstance(block, dict) and isinstance(own := block.get("training"), dict):
            return block | {"training": self.training.model_dump() | own}
        return block

    def chosen(self) -> dict[str, list[str]]:
        """Returns the chosen entries of each registry."""
        return {
            "corpora": self.corpus,
            "augmentations": self.augment.chain,
            "features": self.featurize.features,
            "models": [self.model],
        }


T = TypeVar("T", bound=Block)


def check(cls: type[T], values: object, place: str) -> T:
    """Returns `values` as a `cls`.

    Raises:
        InputError: names the first wrong key, its value, and what is allowed.
    """
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        # A misspelt key is also a missing one: report the misspelling.
        faults = error.errors()
    fault = min(faults, key=lambda found: found["type"] != "extra_forbidden")
    keys = _keys(values, fault)
    where = ".".join([place, *map(shown_key, keys)])
    match fault["type"]:
        case "extra_forbidden":
            known = _fields(cls, fault["loc"][:-1])
            near = difflib.get_close_matches(str(keys[-1])[:N_SHOWN].lower(), known, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else f". Known: {', '.join(known)}."
            raise InputError(f"{where}: unknown key{hint}")
        case "missing":
            raise InputError(f"{where}: missing.")
        case "of_key":  # of a block's validator: the message begins with the key in the block
            raise InputError(f"{where}.{fault['msg']}.")
        case "value_error":
            raise InputError(f"{where}: {fault['ctx']['error']}.")
        case _:
            wanted = [found["msg"] for found in faults if _keys(values, found) == keys]
            others = "".join(f", or {message.removeprefix('Input should be ')}" for message in wanted[1:])
            listed = fault["type"] == "list_type" and isinstance(fault["input"], str | int | float)
            write = f": write [{shown_key(fault['input'])}]" if listed else ""
            raise InputError(f"{where}: {shown(fault['input'])} is not valid. {wanted[0]}{others}{write}.")


def _keys(values: Any, fault: ErrorDetails) -> list[int | str]:
    """Returns the path of the error, without what pydantic adds for a value of several possible types."""
    keys: list[int | str] = []
    for position, key in enumerate(fault["loc"], start=1):
        if (isinstance(values, dict) and key in values) or (
            isinstance(values, list) and isinstance(key, int)
        ):
            values = values[key]  # type: ignore[index]
        elif position < len(fault["loc"]):
            continue  # which of several possible types it is
        elif fault["type"] != "missing":
            break
        keys.append(key)
    return keys


def _fields(cls: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Returns the field names of the block at `path` below `cls`, also inside lists."""
    for key in path:
        if key in cls.model_fields:
            cls = _block(cls.model_fields[str(key)].annotation) or cls
    return sorted(cls.model_fields)


def _block(annotation: Any) -> type[BaseModel] | None:
    """Returns the first Block among the types in `annotation`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((block for part in get_args(annotation) if (block := _block(part))), None)


def read(path: Path = PARAMS) -> Params:
    """Returns the checked parameters.

    Raises:
        InputError: the file is missing or is not YAML, or a key or value is wrong.
    """
    return checked(load(path))


def load(path: Path) -> Any:
    """Returns the content of a YAML file, read as DVC reads it (YAML 1.2).

    Raises:
        InputError: it is missing or not YAML.
    """
    try:
        return copy.deepcopy(_parsed(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}. Run the stages from the repository's root.") from error
    except (YAMLError, ValueError) as error:  # ValueError: not UTF-8, or an impossible number or date
        reason = textwrap.shorten(str(error), N_OF_YAML)
        raise InputError(f"{path}: not readable as YAML: {reason}") from error


@functools.lru_cache(maxsize=16)  # a stage reads its files when it starts, works and ends
def _parsed(text: str) -> Any:
    """Returns the content of a YAML text.

    Raises:
        YAMLError: it is not YAML.
        ValueError: it has an impossible number or date, or is nested so deeply that the reader in C, which
            DVC uses too, would crash.
    """
    depth = 0
    for event in YAML(typ="safe").parse(text):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError(f"more than {DEEPEST} lists or blocks are nested.")
    return YAML(typ="safe").load(text)


def checked(values: Any) -> Params:
    """Returns the parameters with the content `values` of a params.yaml.

    Raises:
        InputError: a key or value is wrong.
    """
    params = check(Params, values, "params")
    for kind in registry.CONTRACTS:
        for name in getattr(params, kind):
            if params.file(kind, name) != registry.TABLE:
                registry.check(kind, name, f"params.{kind}")
    for kind, entries in params.chosen().items():
        choices = {*registry.names(kind), *getattr(params, kind)}  # a corpus may be a table, without a file
        for name in entries:
            if name not in choices:
                raise unknown(CHOSEN_BY[kind], name, choices)
            if kind != "models":  # select checks that block: TensorFlow takes longer than most stages
                params.config(kind, name, CHOSEN_BY[kind])
    return params
