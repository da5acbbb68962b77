"""What a bundle says about itself: settings, labels, thresholds, origin and checksums, in one JSON file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from stages.base import files, params, registry
from stages.base.errors import InputError, shown
from stages.base.params import Block, Count, Positive, Ratio
from stages.data import keys
from stages.data.vocabulary import LABEL
from stages.learning.normalization import BY_SPEAKER_MEAN, SPEAKER_MEANS, statistics
from stages.learning.pooling import Pooling
from stages.learning.profile import Profile
from stages.learning.windows import POOLING, PREPROCESSOR

FILE = "bundle.json"
PROBABILITIES = "probabilities.onnx"  # of a fold: prepared windows to probabilities
FORMAT = 4
LARGEST_BYTES = 4 << 20  # of FILE
OF_FILE_MANAGERS = (".DS_Store", "Thumbs.db", "desktop.ini")  # of macOS and Windows
NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$"  # of a file in a bundle


class FoldFacts(Block):
    """One of the models whose mean a bundle's answers are.

    Attributes:
        folder: of its files.
        padded: the numbers of steps that a shorter clip is padded to; empty for the full length.
        profile: what its training clips were like.
    """

    folder: Annotated[str, Field(pattern=NAME)]
    padded: list[Count]
    profile: Profile


class Score(Block):
    """How good each model was on speakers that it was not trained on, unless `leaky`.

    Attributes:
        uar, low, high: and the ends of its 95 % interval over speakers, if there is one.
        chance: the UAR of guessing.
    """

    protocol: str
    uar: Ratio
    low: Ratio | None
    high: Ratio | None
    chance: Ratio
    n_clips: Count
    n_speakers: Count
    leaky: bool

    def __str__(self) -> str:
        interval = f" [{self.low:.2f}, {self.high:.2f}]" if self.low is not None else ""
        where = "LEAKY: on speakers it was trained on" if self.leaky else "on new speakers"
        return f"UAR {self.uar:.2f}{interval} {where}, chance {self.chance:.2f}"


class Facts(Block):
    """The content of FILE.

    Attributes:
        model: the entry of stages/models that was trained.
        classes: the labels, in the order of the probabilities.
        audio, spectrum, features, pooling: what the models' input is computed with, as in params.yaml;
            `features` in their order.
        train: `normalize` and its settings say by whose statistics a recording is standardised.
        folds: the models.
        manifest, predict: the thresholds by which a recording is answered, warned about or not answered.
        sure_above: the confidence from which on answers were right often enough on validation clips; null if
            no clips validated, 1 if no confidence was enough.
        right: how often answers were right on validation clips, by their confidence in equal bins.
        trained_on: the corpora, by name what they are and their licence.
        synthetic: those of them that are not recordings of people.
        score: on test clips; null if the model was not tested.
        versions: of the libraries that trained it.
        sha256: of every other file of the bundle; without a bundle, of the folds' files in data/model.
    """

    format: Literal[4]
    model: str
    classes: Annotated[list[Annotated[str, Field(pattern=LABEL)]], Field(min_length=1)]
    audio: params.Audio
    spectrum: params.Spectrum
    features: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
    pooling: Pooling | None
    train: params.Train
    folds: Annotated[list[FoldFacts], Field(min_length=1)]
    manifest: params.Manifest
    predict: params.Predict
    sure_above: Ratio | None
    right: list[Ratio]
    trained_on: dict[str, str]
    synthetic: list[str]
    score: Score | None
    versions: dict[str, str]
    sha256: dict[Annotated[str, Field(pattern=NAME)], params.Sha256]

    def config(self, kind: str, name: str, place: str) -> Any:
        """Returns the checked `Config` of a feature: see `audio.extractor.Settings`."""
        module = registry.load(kind, name, place)
        return params.check(module.Config, self.features[name], f"{place}.{name}")

    def quantile_s(self, place: int) -> float:
        """Returns the training clips' duration at a place of `profile.QUANTILES`, the mean of the folds."""
        found = [fold.profile.quantiles.get("duration_s") for fold in self.folds]
        known: list[Positive] = [quantiles[place] for quantiles in found if quantiles]
        return sum(known) / len(known) if known else self.manifest.longest_s

    def notice(self) -> str:
        """Returns what the model was trained on and how good it is, in one sentence."""
        learnt = ", ".join(self.trained_on)
        synthetic = " (synthetic speech: its answers say nothing about people)" if self.synthetic else ""
        score = f"; {self.score}" if self.score is not None else "; not tested"
        given = f", given statistics '{self.statistics}'" if self.train.normalize != "global" else ""
        return f"{self.model} trained on {learnt}{synthetic}{score}{given}"

    @property
    def statistics(self) -> str:
        """Which statistics of the test clips the score uses, as metrics/test.json says it."""
        return statistics(self.train.model_dump())


def read(folder: Path) -> Facts:
    """Returns the facts of a bundle, after checking every file of it against its checksum.

    Raises:
        InputError: the folder is no bundle, is one of another version, or a file is missing, has changed or
            is not listed.
    """
    path = folder / FILE
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise ValueError(f"larger than {LARGEST_BYTES} bytes")
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}. {folder} is not a bundle; `ser bundle` makes one."
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable JSON ({error}). Copy the bundle again.") from error
    if isinstance(values, dict) and values.get("format") != FORMAT:
        raise InputError(
            f"{path}: format {shown(values.get('format'))}, but this version reads {FORMAT}. Make the bundle "
            "again."
        )
    facts = params.check(Facts, values, str(path))
    names = [PROBABILITIES, PREPROCESSOR]
    names += [POOLING] if facts.pooling is not None else []
    names += [SPEAKER_MEANS] if facts.train.normalize in BY_SPEAKER_MEAN else []
    used = [f"{fold.folder}/{name}" for fold in facts.folds for name in names]
    for name, block in facts.features.items():
        facts.config("features", name, f"{path}.features")
        if key := file_key(name):
            used += [Path(block[key], file).as_posix() for file in file_names(name)]
    if missing := [name for name in used if name not in facts.sha256]:
        raise InputError(f"{path}: has no checksum of {shown(missing[0])}. Copy the bundle again.")
    if added := unlisted(folder, facts.sha256):
        raise InputError(f"{added}: not listed in {path}. Delete it, or copy the bundle again.")
    for name, written in facts.sha256.items():
        file = folder / name
        if not file.is_file() or keys.sha256(file) != written:
            raise InputError(f"{file}: missing, or not the file that was bundled. Copy the bundle again.")
    return facts


def listed(folder: Path) -> list[str] | None:
    """Returns the names of the files that a bundle of any version lists; None if the folder is no bundle."""
    try:
        values = json.loads((folder / FILE).read_bytes())
        if isinstance(values["format"], int):
            return [*values["sha256"].keys()]
    except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError):
        pass
    return None


def unlisted(folder: Path, names: Iterable[str]) -> Path | None:
    """Returns the first file or folder in a bundle that is neither FILE nor listed; None if all are.

    What file managers put into every folder that they show does not count.
    """
    known = {Path(FILE), *map(Path, names)}
    known |= {parent for name in known for parent in name.parents}
    odd = [path for path in folder.rglob("*") if path.relative_to(folder) not in known]
    return min((path for path in odd if path.name not in OF_FILE_MANAGERS), default=None)


def write(facts: Facts, folder: Path) -> None:
    """Writes the facts of a bundle, keys in their order: features have that of the columns."""
    files.write(json.dumps(facts.model_dump(), indent=2, allow_nan=False) + "\n", folder / FILE)


def located(facts: Facts, folder: Path) -> Facts:
    """Returns the facts with the features' files, named relative to the bundle, where the bundle is."""
    features = {}
    for name, block in facts.features.items():
        key = file_key(name)
        features[name] = block | ({key: str(folder / block[key])} if key else {})
    return facts.model_copy(update={"features": features})


def file_key(feature: str) -> str | None:
    """Returns the key of a feature's block that names its file or folder; None for a feature without."""
    return getattr(registry.load("features", feature, "features"), "FILE", None)


def file_names(feature: str) -> tuple[str, ...]:
    """Returns what the feature needs of its folder; "" for a feature with a file of its own."""
    return getattr(registry.load("features", feature, "features"), "FILES", ("",))
