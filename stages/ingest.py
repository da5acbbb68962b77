"""Bring the chosen corpora's recordings into data/raw, from data/sources, the synthesiser or their publisher.

What is already there and the same is left alone; what no source holds any longer is removed.
"""

from __future__ import annotations

import json
import os
import shutil
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

from tqdm import tqdm

from stages.acquire import archive, download
from stages.audio import lfs
from stages.audio.recording import SUFFIXES
from stages.base import files, registry
from stages.base.errors import InputError, run, shown
from stages.base.files import DOWNLOADS, RAW, SOURCES
from stages.base.params import Params, read

METADATA_SUFFIXES = (".csv", ".txt")

_CHUNK_BYTES = 1 << 20


def main() -> None:
    params = read()
    RAW.mkdir(parents=True, exist_ok=True)
    for name in params.corpus:
        corpus = registry.load("corpora", name, "params.corpus")
        with collect(name, corpus, params) as items:
            n_clips = check(items, name, corpus)
            changes = mirror(items, RAW / name)
        print(f"{name}: {changes}")
        if n_clips != corpus.ABOUT.n_clips and not hasattr(corpus, "synthesise"):
            print(f"  notice: {n_clips} recordings are here, the complete corpus has {corpus.ABOUT.n_clips}")
    for name in remove_unchosen(params.corpus):
        print(f"{name}: removed, params.corpus does not name it")


@dataclass(frozen=True)
class Item:
    """A file that belongs below data/raw/<corpus>.

    Attributes:
        path: where, below that folder.
        origin: the file itself, or the archive it is in.
        n_bytes: its size.
        chunks: gives its content piece by piece.
    """

    path: PurePosixPath
    origin: Path
    n_bytes: int
    chunks: Callable[[], Iterable[bytes]]

    @property
    def is_audio(self) -> bool:
        return self.path.suffix.lower() in SUFFIXES

    def is_same_as(self, target: Path) -> bool:
        """Returns whether `target` has this content."""
        if not target.is_file() or target.stat().st_size != self.n_bytes:
            return False
        with target.open("rb") as file:
            return all(file.read(len(chunk)) == chunk for chunk in self.chunks())

    def write(self, target: Path) -> None:
        """Copies the content to `target`.

        No hard link to the source: DVC can be told to keep hard links of data/raw in its cache, and would
        then turn the user's own files read-only.
        """
        with files.replacing(target) as temporary, temporary.open("wb") as file:
            file.writelines(self.chunks())


@dataclass(frozen=True)
class Changes:
    """What was done to a corpus's folder, in files."""

    n_files: int
    new: int = 0
    changed: int = 0
    removed: int = 0

    def __str__(self) -> str:
        return f"{self.n_files} files, {self.new} new, {self.changed} changed, {self.removed} removed"


@contextmanager
def collect(name: str, corpus: ModuleType, params: Params) -> Iterator[list[Item]]:
    """Yields the corpus's files, sorted by path: from data/sources, else synthesised, else downloaded.

    Raises:
        InputError: there is no source, or it is one that cannot be read.
    """
    config = params.config("corpora", name, "params.corpus")
    with ExitStack() as stack:
        source = locate(name)
        if source is not None:
            folder, paths = (source, walk(source)) if source.is_dir() else (source.parent, [source])
        elif hasattr(corpus, "synthesise"):
            folder = stack.enter_context(files.scratch("ingest"))
            corpus.synthesise(folder, config, params.seed)
            paths = walk(folder)
        else:
            folder = DOWNLOADS / name
            paths = fetch(name, corpus, config, params.ingest.download)
        limits = archive.Limits(params.ingest.max_unpacked_gb, params.ingest.max_compression_ratio)
        items = list(unpack(paths, folder, limits, stack))
        refuse_clashes(items)
        yield sorted(items, key=lambda item: item.path)


def refuse_clashes(items: list[Item]) -> None:
    """Raises InputError where two items cannot lie in one folder on every disk: some tell no case, nor how an
    accented letter is composed."""

    def folded(path: PurePosixPath) -> str:
        return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path.as_posix()).casefold())

    items_at: dict[str, Item] = {}
    for item in items:
        other = items_at.setdefault(folded(item.path), item)
        if other is not item and other.path == item.path:
            raise InputError(
                f"{item.origin} and {other.origin} both hold {item.path}. Take one of them away."
            )
        if other is not item:
            raise InputError(
                f"{item.origin}: {item.path} and {other.path} are one name where a disk tells no case or "
                "composes letters. Rename one of them."
            )
    for item in items:
        for parent in item.path.parents:
            if folded(parent) in items_at:
                raise InputError(
                    f"{item.origin}: {parent} is both a file and a folder, with {item.path} in it."
                )


def locate(name: str) -> Path | None:
    """Returns the folder or archive of the corpus in data/sources, None where there is none.

    Raises:
        InputError: there are several.
    """
    places = [SOURCES / name, *(SOURCES / f"{name}{suffix}" for suffix in archive.SUFFIXES)]
    found = [place for place in places if os.path.lexists(place)]
    if len(found) > 1:
        raise InputError(f"{' and '.join(map(str, found))}: {name} is there more than once. Keep one.")
    for place in found:
        refuse_link(place)
    return found[0] if found else None


def walk(folder: Path) -> list[Path]:
    """Returns the files below `folder`, sorted.

    Raises:
        InputError: there is a symbolic link among them, or a folder that cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: {error.strerror}.")

    found = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        for name in folders + names:
            refuse_link(Path(parent, name))
        found += [Path(parent, name) for name in names]
    return sorted(found)


def refuse_link(path: Path) -> None:
    """Raises InputError where `path` is a symbolic link."""
    if path.is_symlink():
        raise InputError(
            f"{path}: a symbolic link, and DVC cannot see behind it. Copy what it leads to, hard-link it "
            "(`cp -al`) or mount it there (`mount --bind`)."
        )


def fetch(name: str, corpus: ModuleType, config: Any, allowed: bool) -> list[Path]:
    """Returns the corpus's official files, fetched into data/downloads once and kept there.

    Raises:
        InputError: they are not there and `allowed` is False, the publisher hands them out in person
            only, or fetching fails; the message says how to go on by hand.
    """
    folder = DOWNLOADS / name
    complete = folder / "complete.json"  # says which config's files are all there
    wanted = config.model_dump(mode="json")
    by_hand = f"Put the corpus into {SOURCES / name}/. {corpus.ABOUT.access}"
    known = json.loads(complete.read_text()) if complete.exists() else {}
    paths = [folder / filename for filename in known.get("files", [])]
    if known.get("config") == wanted and all(path.exists() for path in paths):
        return paths
    if not allowed:
        raise InputError(f"params.corpus: {name} is not in {SOURCES}. {by_hand}")
    try:
        downloads = corpus.downloads(config)
        if not downloads:
            raise InputError(f"params.ingest.download: {name} has no public download.")
        download.fetch_all(downloads, folder, name)
    except InputError as error:
        raise InputError(f"{error} {by_hand}") from error
    filenames = sorted(item.filename for item in downloads)
    files.write_json({"config": wanted, "files": filenames}, complete)
    return [folder / filename for filename in filenames]


def unpack(paths: list[Path], folder: Path, limits: archive.Limits, stack: ExitStack) -> Iterator[Item]:
    """Yields the audio and metadata files among `paths` and in the archives among them.

    An archive stands for a folder of its name, one directly in data/sources for the corpus's folder.
    Hidden files (those of .git, the ._ files of macOS) are passed over.
    """
    for path in paths:
        inside = PurePosixPath(path.relative_to(folder).as_posix())
        refuse_unseen(path)
        if is_hidden(inside):
            continue
        stem = archive.stem(path)
        if stem is not None:
            root = PurePosixPath() if path.parent == SOURCES else inside.with_name(stem)
            for member in stack.enter_context(archive.opened(path, limits)):
                if is_wanted(member.path):
                    yield Item(root / member.path, path, member.n_bytes, member.chunks)
                elif archive.stem(member.path) is not None and not is_hidden(member.path):
                    raise InputError(
                        f"{path}: holds another archive, {member.path}. Unpack {path} by hand, and put the "
                        "folder in its place."
                    )
        elif is_wanted(inside):
            yield Item(inside, path, path.stat().st_size, partial(read_chunks, path))


def refuse_unseen(path: Path) -> None:
    """Raises InputError where a name is not text that a table can hold and a line can show."""
    if not archive.is_text(str(path)):
        raise InputError(
            f"{shown(str(path))}: a name that is no text in UTF-8. Rename the file or its folder."
        )


def is_hidden(path: PurePosixPath) -> bool:
    return any(part.startswith(".") for part in path.parts)


def is_wanted(path: PurePosixPath) -> bool:
    return path.suffix.lower() in (*SUFFIXES, *METADATA_SUFFIXES) and not is_hidden(path)


def read_chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def check(items: list[Item], name: str, corpus: ModuleType) -> int:
    """Returns the number of the corpus's recordings among `items`, each counted once.

    Raises:
        InputError: there is no audio file, none is named as the corpus's are, or all are Git LFS pointers.
    """
    place = locate(name) or DOWNLOADS / name
    recordings = [item for item in items if item.is_audio]
    if not recordings:
        raise InputError(
            f"{place}: holds no audio file ({', '.join(SUFFIXES)}) and no archive with one. "
            f"{corpus.ABOUT.access}"
        )
    facts = [corpus.parse(item.path) for item in recordings]
    clips = {found.clip for found in facts if found is not None}
    if not clips:
        raise InputError(
            f"{place}: not one of its {len(recordings)} audio files has a name of {name}'s, as "
            f"'{recordings[0].path}' has not. Such names read {corpus.ABOUT.name_pattern}."
        )
    if all(lfs.parse(next(iter(item.chunks()), b"")) for item in recordings):
        raise InputError(
            f"{place}: its {len(recordings)} audio files are Git LFS pointers, not sound. Run `git lfs pull` "
            "in the clone they come from."
        )
    return len(clips)


def mirror(items: list[Item], folder: Path) -> Changes:
    """Makes `folder` hold `items` and nothing else, and leaves alone what it holds already."""
    wanted = {folder / item.path for item in items}
    n_removed = remove_all_but(wanted, folder)
    n_new = n_changed = 0
    for item in tqdm(items, desc=f"ingest {folder.name}", unit="file", leave=False, disable=None):
        target = folder / item.path
        is_there = target.exists()
        if is_there and item.is_same_as(target):
            continue
        item.write(target)
        n_changed += is_there
        n_new += not is_there
    return Changes(len(items), n_new, n_changed, n_removed)


def remove_all_but(wanted: set[Path], folder: Path) -> int:
    """Removes the other files below `folder`, and the folders that this leaves empty.

    Returns: the number of files removed.
    """
    n_removed = 0
    for path in sorted(folder.rglob("*"), reverse=True):  # what a folder holds comes before the folder
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in wanted:
            path.unlink()
            n_removed += 1
    return n_removed


def remove_unchosen(chosen: list[str]) -> list[str]:
    """Removes what data/raw holds beside the chosen corpora; returns the names."""
    unchosen = sorted(path for path in RAW.iterdir() if path.name not in chosen)
    for path in unchosen:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return [path.name for path in unchosen]


if __name__ == "__main__":
    run(main)
