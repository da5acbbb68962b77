"""Shards: npz files of bounded size with the arrays of many clips.

A shard's name ends in the fingerprint of everything that determines its content: clips, parameters, code and
versions of libraries. So shards can be kept between runs (`persist: true`): a file with a planned name is up
to date, any other file is stale, and the folder's content depends on the inputs alone.
"""

from __future__ import annotations

import math
import platform
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.base import errors, npz
from stages.base.errors import InputError
from stages.base.params import Params
from stages.base.registry import STAGES
from stages.data import code, tables
from stages.data.keys import fingerprint, leaves
from stages.data.keys import sha256 as sha256_of

Frames = NDArray[np.float32]  # (n_frames, n_dims)

INDEX = "index.parquet"  # the table beside the shards
CONTENTS = "contents"  # the key of its `attrs` with the shards' `contents`
CLIPS, N_FRAMES = "clips", "n_frames"  # the arrays of a feature shard that are not features
FEW = 10  # a speaker with less than `size / FEW` clips shares shards of `size` clips
N_THREADS = 1  # of BLAS while a shard is computed: another number changes the last bits


@dataclass(frozen=True)
class Shard:
    """A planned file of arrays, which may exist already.

    Attributes:
        stem: readable name of the content: see `chunks`.
        n_clips: number of clips.
        fingerprint: of everything that determines the content.
        make: computes the arrays, in any process.
        stamps: of the code, by `code.stamps`.
    """

    stem: str
    n_clips: int
    fingerprint: str
    make: Callable[[], dict[str, NDArray]]
    stamps: Mapping[Path, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """File name."""
        return f"{self.stem}.{self.fingerprint}.npz"

    def write(self, folder: Path) -> None:
        """Computes the arrays and writes them into `folder`, completely or not at all.

        Raises:
            InputError: code was edited since the shard was planned, so its arrays may be of either state.
        """
        made = self.make()
        code.check_unedited(self.stamps)
        npz.write(folder / self.name, **made)


def contents(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Returns a fingerprint of each shard's content, "" of one without a list of arrays.

    It is of the checksums of the arrays, which reading them compares, so none is read here.
    """
    found = {}
    for name in names:
        try:
            with zipfile.ZipFile(folder / name) as file:
                entries = [[entry.filename, entry.CRC, entry.file_size] for entry in file.infolist()]
            found[name] = fingerprint(entries)
        except npz.UNREADABLE:
            found[name] = ""
    return found


def recorded(folder: Path) -> dict[str, str]:
    """Returns what `contents` was when the folder's index was written; empty without a readable index."""
    try:
        attrs = pd.read_parquet(folder / INDEX, columns=["clip"]).attrs
    except tables.UNREADABLE:
        return {}
    return dict(attrs.get(CONTENTS, {}))


def changed(folder: Path, recorded: Mapping[str, str]) -> set[str]:
    """Returns which of the shards that are there have another content than was recorded of them.

    A shard that no index lists, because its run was interrupted, is taken as it is.
    """
    now = contents(folder, [name for name in recorded if (folder / name).is_file()])
    return {name for name, content in now.items() if content != recorded[name]}


def damaged(folder: Path, names: Iterable[str]) -> set[str]:
    """Returns which shards cannot be read, or have an array whose checksum is wrong; reads all of them."""
    found = set()
    for name in names:
        try:
            with zipfile.ZipFile(folder / name) as file:
                is_whole = file.testzip() is None
        except npz.UNREADABLE:
            is_whole = False
        if not is_whole:
            found.add(name)
    return found


def check_recordings(paths: Sequence[Path], sha256: Sequence[str]) -> None:
    """Checks that recordings are those that the manifest lists; call it after reading them.

    Raises:
        InputError: names the first that is not.
    """
    for path, listed in zip(paths, sha256, strict=True):
        if sha256_of(path) != listed:
            raise InputError(f"{path}: changed since manifest listed it. Run `dvc repro`.")


def chunks(clips: pd.DataFrame, size: int, tag: str = "") -> Iterator[tuple[str, pd.DataFrame]]:
    """Yields the stem of a shard and its rows of `clips`, at most `size` of them, sorted by clip.

    A speaker has shards of their own, `<corpus>_<speaker><tag>_<chunk>`. Speakers with few clips, less than a
    tenth of `size`, share them: `<corpus>_few<bin>of<bins><tag>_<chunk>`. A hash of the name chooses the bin,
    so that one more speaker changes one shard; the number of bins changes only when such clips double.

    Args:
        clips: columns clip and speaker, and any others, which are passed on.

    Examples:
        >>> clips = pd.DataFrame({"clip": ["x/b", "x/a", "x/c"], "speaker": ["x/1", "x/1", "x/1"]})
        >>> [(stem, rows["clip"].tolist()) for stem, rows in chunks(clips, size=2)]
        [('x_1_000', ['x/a', 'x/b']), ('x_1_001', ['x/c'])]
        >>> [(stem, rows["clip"].tolist()) for stem, rows in chunks(clips, size=60)]
        [('x_few0of1_000', ['x/a', 'x/b', 'x/c'])]
    """
    clips = clips.sort_values("clip", ignore_index=True)
    few = FEW * clips.groupby("speaker")["clip"].transform("size") < size
    groups = clips["speaker"].where(~few, _bins(clips["speaker"][few], size).reindex(clips.index))
    for group, rows in clips.groupby(groups):
        for chunk, start in enumerate(range(0, len(rows), size)):
            stem = f"{str(group).replace('/', '_')}{tag}_{chunk:03d}"
            yield stem, rows.iloc[start : start + size]


def _bins(speakers: pd.Series, size: int) -> pd.Series:
    """Returns the name of each clip's bin, from the clips' speakers: at most two thirds full on average."""
    n_clips = Counter(speaker.partition("/")[0] for speaker in speakers)
    n_bins = {corpus: 1 << math.ceil(math.log2(max(1, 1.5 * n / size))) for corpus, n in n_clips.items()}
    names = {}
    for speaker in speakers.unique():
        corpus = speaker.partition("/")[0]
        number = int(fingerprint(speaker), 16) % n_bins[corpus]
        names[speaker] = f"{corpus}/few{number}of{n_bins[corpus]}"
    return speakers.map(names)


def recipe(sources: Sequence[Path], **settings: Any) -> str:
    """Returns the fingerprint of how shards are computed: settings, code and versions of libraries.

    Args:
        sources: the files that compute the content; everything they import is included.
        settings: values that JSON can represent.
    """
    return fingerprint(code.made_by(sources), settings, N_THREADS)


def made_with(params: Params, features: Sequence[str]) -> dict[str, Any]:
    """Returns the settings that determine these features, by key of params.yaml (`features.mfcc.n_mfcc`)."""
    blocks = {name: params.features[name] for name in features if name in params.features}
    return leaves(
        {"features": blocks, "audio": params.audio.model_dump(), "spectrum": params.spectrum.model_dump()}
    )


def origin(params: Params, features: Sequence[str], clips: pd.DataFrame) -> dict[str, Any]:
    """Returns what these features of the clips are made from, to be stored with their index.

    Args:
        features: entries of stages/features.
        clips: the manifest's usable rows, columns clip and audio_sha256.
    """
    return {
        "made_with": made_with(params, features),
        "made_by": code.hashes(sources("featurize", "features", features)),
        "made_from": _recordings(clips),
    }


def copies_made_with(params: Params) -> dict[str, Any]:
    """Returns the settings that determine the augmented copies, by key of params.yaml.

    Without copies that is only their number: no other setting changes anything.
    """
    if not params.augment.copies:
        return {"augment.copies": 0}
    return leaves(
        {
            "augment": params.augment.model_dump(),
            "augmentations": {name: params.augmentations[name] for name in params.augment.chain},
            "audio": {"sample_rate_hz": params.audio.sample_rate_hz},
            "seed": params.seed,
        }
    )


def copies_origin(params: Params, clips: pd.DataFrame) -> dict[str, Any]:
    """Returns what the augmented copies of the clips are made from, as `origin` does for features."""
    settings = copies_made_with(params)
    if not params.augment.copies:
        return {"made_with": settings, "made_by": {}, "made_from": ""}
    files = sources("augment", "augmentations", params.augment.chain)
    return {"made_with": settings, "made_by": code.hashes(files), "made_from": _recordings(clips)}


def _recordings(clips: pd.DataFrame) -> str:
    return fingerprint(clips.set_index("clip")["audio_sha256"].sort_index().to_dict())


def sources(stage: str, kind: str, names: Iterable[str]) -> list[Path]:
    """Returns the files that, with all they import, make what a stage makes with these entries.

    >>> [path.name for path in sources("augment", "augmentations", ["gain", "noise"])]
    ['augment.py', 'gain.py', 'noise.py']
    """
    return [STAGES / f"{stage}.py", *(STAGES / kind / f"{name}.py" for name in names)]


def pack(clips: list[str], features: Sequence[dict[str, NDArray]]) -> dict[str, NDArray]:
    """Returns the arrays of a feature shard, as `read_features` reads them.

    Args:
        features: per clip, by feature, float32 (n_frames, n_dims).

    Returns:
        By feature, float32 (summed n_frames, n_dims): the clips one after the other. Besides, `n_frames`
        int64 and `clips` text, both (n_clips,). `n_frames` is of the first feature; a feature with other
        frames has `n_frames.<feature>`.

    Examples:
        >>> arrays = pack(["x/a", "x/b"], [{"rms": np.ones((2, 1))}, {"rms": np.zeros((3, 1))}])
        >>> arrays["rms"].shape, arrays["n_frames"].tolist(), arrays["clips"].tolist()
        ((5, 1), [2, 3], ['x/a', 'x/b'])
    """
    arrays = {name: np.concatenate([each[name] for each in features]) for name in features[0]}
    lengths = {name: np.array([len(each[name]) for each in features], np.int64) for name in features[0]}
    n_frames = next(iter(lengths.values()))
    own = {own_frames(name): each for name, each in lengths.items() if not np.array_equal(each, n_frames)}
    return arrays | own | {N_FRAMES: n_frames, CLIPS: np.array(clips)}


def own_frames(name: str) -> str:
    """Returns the array with the lengths of a feature that has other frames than the first feature."""
    return f"{N_FRAMES}.{name}"


def read(path: Path, names: Sequence[str]) -> dict[str, NDArray]:
    """Returns the named arrays of one shard; the others are not read.

    Raises:
        InputError: the shard is missing, damaged or does not contain one of the arrays.
    """
    try:
        with npz.zipped(path) as stored:
            missing = [name for name in names if name not in stored.files]
            if missing:
                features = ", ".join(
                    sorted(n for n in stored.files if n != CLIPS and not n.startswith(N_FRAMES))
                )
                raise InputError(
                    f"{path}: contains {features}, but not '{missing[0]}'. Add it to "
                    "params.featurize.features and run `dvc repro`."
                )
            lengths = [own_frames(name) for name in names if own_frames(name) in stored.files]
            return {name: stored[name] for name in (*names, *lengths)}
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: missing on {platform.node()}. Run `dvc repro` to compute it again, or share "
            "the folder if other machines have it."
        ) from error
    except npz.UNREADABLE as error:
        if isinstance(error, OSError) and error.errno:
            raise errors.unreadable(path, str(error.strerror)) from error
        raise InputError(f"{path}: damaged ({error}). Delete it and run `dvc repro` again.") from error


def split(rows: NDArray, lengths: NDArray[np.int64]) -> list[NDArray]:
    """Returns views of each clip's rows, clip i having `lengths[i]` of them.

    Examples:
        >>> split(np.array([1, 2, 3]), np.array([2, 1]))
        [array([1, 2]), array([3])]
    """
    return np.split(rows, np.cumsum(lengths)[:-1])


def read_features(index: pd.DataFrame, names: Sequence[str], folder: Path) -> dict[str, Frames]:
    """Returns the features of each clip, float32 (n_frames, summed n_dims), in the order of `names`.

    Each shard is opened once, and only the named features are read.

    Args:
        index: columns clip and shard.
        names: entries of stages/features.

    Raises:
        InputError: a feature is not stored, or a shard is missing or damaged.
    """
    features: dict[str, Frames] = {}
    for shard, rows in index.groupby("shard"):
        stored = read(folder / str(shard), [*names, N_FRAMES, CLIPS])
        stored[N_FRAMES] = _common_lengths(stored, names, folder / str(shard))
        fault = _fault(stored, names, rows["clip"])
        if fault:
            raise InputError(
                f"{folder / str(shard)}: {fault}. It has been changed since featurize wrote it. Delete it "
                "and run `dvc repro` again."
            )
        # Of one feature, which can be large, there is no second copy.
        frames = (
            stored[names[0]] if len(names) == 1 else np.concatenate([stored[name] for name in names], axis=1)
        )
        parts = dict(zip(stored[CLIPS].tolist(), split(frames, stored[N_FRAMES]), strict=True))
        features |= {clip: parts[clip] for clip in rows["clip"]}
    return features


def _common_lengths(stored: dict[str, NDArray], names: Sequence[str], path: Path) -> NDArray:
    """Returns the number of frames of each clip, which the named features share.

    Raises:
        InputError: they have different ones, so they cannot be put side by side.
    """
    lengths = [stored.get(own_frames(name), stored[N_FRAMES]) for name in names]
    for name, other in zip(names, lengths, strict=True):
        if not np.array_equal(other, lengths[0]):
            raise InputError(
                f"{path}: '{name}' has other frames than '{names[0]}', so a model cannot take both. Choose "
                "features of one frame rate in the model's `inputs.features`."
            )
    return lengths[0]


def _fault(stored: dict[str, NDArray], names: Sequence[str], clips: pd.Series) -> str:
    """Returns what is wrong with the arrays of a feature shard, "" if nothing is."""
    lengths, listed = stored[N_FRAMES], stored[CLIPS]
    if listed.dtype.kind != "U" or lengths.dtype != np.int64 or listed.ndim != 1 or lengths.ndim != 1:
        return f"its {CLIPS} and {N_FRAMES} are not text and int64"
    if len(listed) != len(lengths) or len(set(listed.tolist())) != len(listed) or (lengths < 1).any():
        return f"its {CLIPS} and {N_FRAMES} do not match"
    missing = clips[~clips.isin(listed.tolist())]
    if len(missing):
        return f"it does not contain '{missing.iloc[0]}', although {INDEX} lists it"
    for name in names:
        frames = stored[name]
        if frames.dtype != np.float32 or frames.ndim != 2 or len(frames) != lengths.sum():
            return f"its '{name}' is not float32 ({lengths.sum()}, n_dims)"
        if not np.isfinite(frames).all():
            return f"its '{name}' has values that are not finite"
    return ""
