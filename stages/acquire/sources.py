"""Where a corpus comes from: data/sources, the synthesiser or its publisher; and which files are used."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

from stages.acquire import archive, download
from stages.acquire.source_file import SourceFile, is_hidden, is_text
from stages.audio import lfs
from stages.audio.recording import SUFFIXES
from stages.base import files
from stages.base.errors import InputError, shown
from stages.base.files import DOWNLOADS, SOURCES
from stages.base.params import Ingest, Params

IN_CACHE = re.compile(r"/files/md5/[0-9a-f]{2}/[0-9a-f]{30}$")  # how DVC names a file in its cache
COMPLETE = "complete.json"  # in data/downloads/<name>: the settings whose files have all been downloaded
METADATA = ("*.csv", "*.txt")  # the names of a corpus's label files, unless it says which


@contextmanager
def opened(
    name: str, corpus: ModuleType, params: Params
) -> Iterator[tuple[list[SourceFile], list[PurePosixPath]]]:
    """Yields the corpus's audio and metadata files, sorted by path, and the paths of other files, which are
    ignored: from data/sources, else synthesised, else downloaded.

    Raises:
        InputError: the corpus is not available, or its source cannot be read.
    """
    config = params.config("corpora", name, "params.corpus")
    with ExitStack() as stack:
        source = find(name)
        if source is not None:
            folder, paths = (source, walk(source)) if source.is_dir() else (source.parent, [source])
        elif hasattr(corpus, "synthesise"):
            folder = stack.enter_context(files.scratch("ingest"))
            n_made = corpus.synthesise(folder, config, params.seed)
            paths = walk(folder)
            if len(paths) != n_made:
                raise InputError(
                    f"{folder}: has {len(paths)} of the {n_made} recordings that were synthesised. Something "
                    "else removes files there; stop it and run the same command again."
                )
        else:
            folder = DOWNLOADS / name
            paths = downloaded(name, corpus, config, params.ingest.download)
        metadata = getattr(corpus, "METADATA", METADATA)
        found = sorted(unpacked(paths, folder, params.ingest, stack), key=lambda file: file.path)
        wanted = [file for file in found if is_wanted(file.path, metadata)]
        check_clashes(wanted)
        yield wanted, [file.path for file in found if not is_wanted(file.path, metadata)]


def is_available(name: str, corpus: ModuleType, params: Params) -> bool:
    """Returns whether `opened` finds the corpus, or may download it."""
    may_download = params.ingest.download and hasattr(corpus, "downloads")
    if hasattr(corpus, "synthesise") or may_download or find(name) is not None:
        return True
    return bool(earlier_download(name, params.config("corpora", name, "params.corpus")))


def find(name: str) -> Path | None:
    """Returns the folder or archive of the corpus in data/sources, None if there is neither.

    Raises:
        InputError: there is more than one, or neither a file nor a folder.
    """
    places = [SOURCES / name, *(SOURCES / f"{name}{suffix}" for suffix in archive.SUFFIXES)]
    found = [place for place in places if os.path.lexists(place)]
    if len(found) > 1:
        raise InputError(f"{' and '.join(map(str, found))}: more than one source of {name}. Keep one.")
    for place in found:
        check_kind(place)
    return found[0] if found else None


def walk(folder: Path) -> list[Path]:
    """Returns the files below `folder`, sorted.

    Raises:
        InputError: it contains something that is no file and no folder, or a folder that cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: {error.strerror}.")

    found = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        for name in folders + names:
            check_kind(Path(parent, name))
        found += [Path(parent, name) for name in names]
    return sorted(found)


def check_folders(paths: Iterable[Path]) -> None:
    """Raises InputError if a folder on the way from data/sources to one of the paths is a symbolic link."""
    on_the_way = {parent for path in paths for parent in path.parents if SOURCES in parent.parents}
    for folder in sorted(on_the_way):
        check_kind(folder)


def check_kind(path: Path) -> None:
    """Raises InputError if `path` is neither a file nor a folder: reading a named pipe would wait forever.

    A symbolic link is neither, unless it leads into DVC's cache, as with `cache.type symlink`. A path that
    does not exist passes.
    """
    if path.is_symlink() and not IN_CACHE.search(path.resolve().as_posix()):
        raise InputError(
            f"{path}: a symbolic link, whose target DVC does not track. Copy the target, hard-link it "
            "(`cp -al`) or mount it there (`mount --bind`)."
        )
    if path.exists() and not path.is_file() and not path.is_dir():
        raise InputError(f"{path}: a named pipe, socket or device. Remove it, or put a file in its place.")


def downloaded(name: str, corpus: ModuleType, config: Any, allowed: bool) -> list[Path]:
    """Returns the corpus's official files, which are downloaded into data/downloads once and kept there.

    Raises:
        InputError: they are not there, and `allowed` is False, the corpus has no public download, or the
            download fails; the message says how to get the corpus by hand.
    """
    folder = DOWNLOADS / name
    by_hand = f"Put the corpus into {SOURCES / name}/. {corpus.ABOUT.access}"
    if paths := earlier_download(name, config):
        return paths
    if not allowed:
        raise InputError(f"params.corpus: {name} is not in {SOURCES}. {by_hand}")
    try:
        if not hasattr(corpus, "downloads"):
            raise InputError(f"params.ingest.download: {name} has no public download.")
        downloads = corpus.downloads(config)
        download.fetch_all(downloads, folder, name)
    except InputError as error:
        raise InputError(f"{error} {by_hand}") from error
    filenames = sorted(item.filename for item in downloads)
    files.write_json({"config": config.model_dump(mode="json"), "files": filenames}, folder / COMPLETE)
    return [folder / filename for filename in filenames]


def earlier_download(name: str, config: Any) -> list[Path]:
    """Returns the files of a complete download with these settings; none if there was none."""
    folder = DOWNLOADS / name
    try:
        known = json.loads((folder / COMPLETE).read_bytes())
        paths = [folder / filename for filename in known["files"]]
        is_same = known["config"] == config.model_dump(mode="json")
    except (FileNotFoundError, ValueError, LookupError, TypeError):  # damaged: it is downloaded again
        return []
    return paths if is_same and all(path.exists() for path in paths) else []


def unpacked(paths: list[Path], folder: Path, limits: Ingest, stack: ExitStack) -> Iterator[SourceFile]:
    """Yields the files among `paths`, with the content of archives instead of the archives.

    The content of an archive goes into a folder of its name; of one directly in data/sources, into the
    corpus's folder. Hidden files (in .git, the ._ files of macOS) are skipped.

    Raises:
        InputError: a name is not valid text, or an archive is refused or contains another archive.
    """
    for path in paths:
        inside = PurePosixPath(path.relative_to(folder).as_posix())
        if not is_text(str(path)):
            raise InputError(
                f"{shown(str(path))}: the name is not valid UTF-8 text. Rename the file or its folder."
            )
        if is_hidden(inside):
            continue
        stem = archive.stem(path)
        if stem is None:
            yield SourceFile.on_disk(path, inside)
            continue
        root = PurePosixPath() if path.parent == SOURCES else inside.with_name(stem)
        for member in stack.enter_context(archive.opened(path, limits)):
            if is_hidden(member.path):
                continue
            if archive.stem(member.path) is None:
                yield replace(member, path=root / member.path)
            else:
                raise InputError(
                    f"{path}: contains another archive, {member.path}. Unpack {path} by hand, and put the "
                    "folder in its place."
                )


def is_audio(path: PurePosixPath) -> bool:
    return path.suffix.lower() in SUFFIXES


def is_wanted(path: PurePosixPath, metadata: Sequence[str]) -> bool:
    """Returns whether a file is audio or has the name of a label file, in any case.

    >>> is_wanted(PurePosixPath("nEMO/data.TSV"), ["data.tsv"])
    True
    """
    lowered = PurePosixPath(path.as_posix().lower())
    return is_audio(path) or any(lowered.match(pattern.lower()) for pattern in metadata)


def check_clashes(found: list[SourceFile]) -> None:
    """Raises InputError if two names clash, also where a disk ignores case or how letters are composed."""

    def folded(path: PurePosixPath) -> str:
        return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path.as_posix()).casefold())

    file_at: dict[str, SourceFile] = {}
    for file in found:
        other = file_at.setdefault(folded(file.path), file)
        if other is file:
            continue
        if other.path == file.path:
            raise InputError(
                f"{file.origin} and {other.origin} both contain {file.path}. Remove one of them."
            )
        raise InputError(
            f"{file.origin}: {file.path} and {other.path} are the same name on a disk that ignores case or "
            "how letters are composed. Rename one of them."
        )
    for file in found:
        for parent in file.path.parents:
            if folded(parent) in file_at:
                raise InputError(f"{file.origin}: {parent} is both a file and the folder of {file.path}.")


def count_recordings(found: list[SourceFile], name: str, corpus: ModuleType) -> Counter[str]:
    """Returns the number of the corpus's recordings among the files by channel, each counted once.

    Raises:
        InputError: there is no audio file, no name follows the corpus's pattern, or all audio files are
            Git LFS pointers.
    """
    place = find(name) or DOWNLOADS / name
    recordings = [file for file in found if is_audio(file.path)]
    if not recordings:
        raise InputError(
            f"{place}: no audio file ({', '.join(SUFFIXES)}), and no archive with one. {corpus.ABOUT.access}"
        )
    clips = {
        (parsed.channel, parsed.clip)
        for file in recordings
        if (parsed := corpus.parse(file.path)) is not None
    }
    if not clips:
        raise InputError(
            f"{place}: none of its {len(recordings)} audio files is named as {name}'s are; the first is "
            f"'{recordings[0].path}'. Names must be {corpus.ABOUT.name_pattern}."
        )
    if all(lfs.parse(next(iter(file.chunks()), b"")) for file in recordings):
        raise InputError(
            f"{place}: its {len(recordings)} audio files are Git LFS pointers, without sound. Run `git lfs "
            "pull` in the clone they come from."
        )
    return Counter(channel for channel, _ in clips)
