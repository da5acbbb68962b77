"""A folder in which one row of the benchmark runs: the pipeline, its own params.yaml, the corpora it needs.

It is a DVC repository of its own, so that a row runs beside others and is run again only where something
changed. All share one cache: what is equal in several is stored once, where the file system has hard links.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from benchmark import overlay
from benchmark.overlay import Run
from stages.acquire import archive
from stages.base import registry
from stages.base.errors import InputError
from stages.base.files import AUGMENTED, FEATURES, MANIFEST, PRETRAINED, RAW, SOURCES, replacing
from stages.base.params import PARAMS
from stages.data.vocabulary import CHANNELS

WORK = Path("benchmark/runs")
CODE = ("stages", "dvc.yaml", ".dvcignore")
LOCK = "dvc.lock"
LENDING = ("ingest", "manifest", "augment", "featurize")  # the stages that know of no split and no model
LENT = (RAW, MANIFEST, AUGMENTED, FEATURES)  # what they make
MAKING = ("corpus", "seed", "audio", "augment", "augmentations", "spectrum", "features", "featurize")

CONFIG = """\
[core]
    no_scm = true
    analytics = false
    check_update = false
    autostage = false
[cache]
    dir = {cache}
    type = "reflink,hardlink,copy"
"""

# What an outer `dvc repro` or `dvc exp run` tells its stages, and an inner one would take for itself.
OUTER = ("DVC_ROOT", "DVC_STAGE", "DVC_EXP_BASELINE_REV", "DVC_EXP_NAME")


def folder(run: Run) -> Path:
    """Returns where a row is run."""
    return WORK / run.system / run.name


def lacking(run: Run) -> list[str]:
    """Returns what a row needs and is not here: titles of corpora, and of pretrained weights."""
    lacks = [title for name in run.values["corpus"] for title in _lacking_recordings(name, run)]
    return lacks + [title for title, name in run.needs.items() if name and not (PRETRAINED / name).exists()]


def _lacking_recordings(name: str, run: Run) -> list[str]:
    """Returns the corpus's title where it is absent, or that of a channel of which no file's name tells."""
    corpus = registry.load("corpora", name, "params.corpus")
    if hasattr(corpus, "synthesise"):
        return []
    title = corpus.ABOUT.title.partition(",")[0]
    sources = sources_of(name)
    if not sources:
        return [title]
    paths = [path.relative_to(source) for source in sources for path in source.rglob("*")]
    found = {facts.channel for path in paths if (facts := corpus.parse(PurePosixPath(path)))}
    if not found or any(archive.stem(path) for path in paths):
        return []  # what an archive holds, or what names are wrong, ingest will tell
    chosen = [channel for channel in CHANNELS if channel in run.values["split"]["channels"]]
    return [f"{title} {channel}" for channel in chosen if channel not in found]


def sources_of(name: str) -> list[Path]:
    """Returns the folder or archive of a corpus in data/sources, if it is there."""
    places = [SOURCES / name, *(SOURCES / f"{name}{suffix}" for suffix in archive.SUFFIXES)]
    return [place for place in places if place.exists()]


def prepare(run: Run) -> Path:
    """Makes the row's workspace what it has to be, and leaves alone what is the same already. Returns it.

    Raises:
        InputError: there is a symbolic link among a corpus's files.
    """
    place = folder(run)
    for name in CODE:
        _mirror(Path(name), place / name, linked=False)
    _hold(place, SOURCES, [source.name for name in run.values["corpus"] for source in sources_of(name)])
    _hold(place, PRETRAINED, [name for name in run.needs.values() if name])
    _borrow(run, place)
    cache = os.path.relpath(WORK / "cache", place / ".dvc")
    _write(CONFIG.format(cache=cache).encode(), place / ".dvc" / "config")
    with replacing(place / PARAMS) as temporary:
        overlay.write(run.values, temporary)
    return place


def _hold(place: Path, folder: Path, names: list[str]) -> None:
    """Makes `folder` in the workspace hold what is named of the project's, and nothing else."""
    (place / folder).mkdir(parents=True, exist_ok=True)
    for path in (place / folder).iterdir():
        if path.name not in names:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in names:
        _mirror(folder / name, place / folder / name, linked=True)


def _mirror(source: Path, target: Path, *, linked: bool) -> None:
    """Makes `target` hold the files of `source` and no others: as hard links where that can be, or as copies.

    Raises:
        InputError: there is a symbolic link among them.
    """
    files = {path.relative_to(source): path for path in _files(source)}
    if target.is_dir():
        for path in sorted(target.rglob("*"), reverse=True):  # what a folder holds comes before the folder
            if path.is_dir():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path.relative_to(target) not in files and "__pycache__" not in path.parts:
                path.unlink()
    for inside, path in files.items():
        place = target / inside if source.is_dir() else target
        if not linked:
            _write(path.read_bytes(), place)
        elif not (place.exists() and _same(path, place)):
            _link(path, place)


def _files(source: Path) -> Iterable[Path]:
    paths = [source] if source.is_file() else sorted(source.rglob("*"))
    for path in paths:
        if path.is_symlink():
            raise InputError(f"{path}: a symbolic link, and DVC cannot see behind it. Copy what it leads to.")
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def _same(path: Path, other: Path) -> bool:
    """Returns whether two files are one, or copies that keep the time of change."""
    ours, theirs = path.stat(), other.stat()
    return ours.st_ino == theirs.st_ino or (ours.st_size, ours.st_mtime_ns) == (
        theirs.st_size,
        theirs.st_mtime_ns,
    )


def _link(path: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with replacing(place) as temporary:
        try:
            temporary.hardlink_to(path)
        except OSError:  # another device, or a file system without hard links
            shutil.copy2(path, temporary)


def _write(content: bytes, place: Path) -> None:
    if not place.is_file() or place.read_bytes() != content:
        with replacing(place) as temporary:
            temporary.write_bytes(content)


def _borrow(run: Run, place: Path) -> None:
    """Gives a new workspace what the most alike of the others has made of the same corpora, as hard links.

    DVC holds all of it against the hashes in dvc.lock, which comes along, and makes anew what does not fit.
    """
    if (place / LOCK).exists():
        return
    others = sorted(path.parent for path in WORK.glob(f"*/*/{LOCK}"))
    alike = [(_n_alike(overlay.parse(other / PARAMS), run.values), other) for other in others]
    n_alike, lender = max(alike, default=(0, place), key=lambda scored: scored[0])
    if not n_alike:
        return
    for path in sorted(path for lent in LENT for path in [lender / lent, *(lender / lent).rglob("*")]):
        if path.is_file():
            _link(path, place / path.relative_to(lender))
    lock = overlay.parse(lender / LOCK)
    lock["stages"] = {name: stage for name, stage in lock["stages"].items() if name in LENDING}
    with replacing(place / LOCK) as temporary:
        overlay.write(lock, temporary)


def _n_alike(values: dict[str, Any], others: dict[str, Any]) -> int:
    """Returns how many of the blocks that make features are equal, 0 if the corpora are not."""
    if values["corpus"] != others["corpus"]:
        return 0
    return sum(values[key] == others[key] for key in MAKING)


def reproduce(place: Path) -> None:
    """Brings the row's metrics up to date. What is finished is kept, so the next call goes on from there.

    DVC's memory of earlier runs is not asked: it would bring back a model without the seconds that it took.

    Raises:
        InputError: a stage failed.
    """
    environment = {name: value for name, value in os.environ.items() if name not in OUTER}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    command = [sys.executable, "-m", "dvc", "repro", "--no-run-cache", "evaluate"]
    done = subprocess.run(command, cwd=place, env=environment)
    if done.returncode:
        raise InputError(f"{place}: `dvc repro evaluate` failed there; what it says stands above.")
