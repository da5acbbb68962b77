"""Makes data/raw equal to the corpora's source files, and leaves alone what is already the same."""

from __future__ import annotations

import shutil
from pathlib import Path

from tqdm import tqdm

from stages.acquire.source_file import SourceFile
from stages.base.errors import InputError
from stages.base.files import RAW, replacing


def update(sources: list[SourceFile], folder: Path) -> str:
    """Makes `folder` contain `sources` and nothing else; returns what was done, in files."""
    n_removed = _remove_all_but({folder / source.path for source in sources}, folder)
    n_new = n_changed = 0
    for source in tqdm(sources, desc=f"ingest {folder.name}", unit="file", leave=False, disable=None):
        target = folder / source.path
        exists = target.exists()
        if exists and _is_same(source, target):
            continue
        copy(source, target)
        n_changed += exists
        n_new += not exists
    check_complete(sources, folder)
    return f"{len(sources)} files, {n_new} new, {n_changed} changed, {n_removed} removed"


def check_complete(sources: list[SourceFile], folder: Path) -> None:
    """Checks that `folder` contains `sources` and nothing else.

    Raises:
        InputError: names the first file that is missing, or that does not belong there.
    """
    wanted = {folder / source.path for source in sources}
    found = {path for path in folder.rglob("*") if path.is_file()}
    if wanted != found:
        raise InputError(
            f"{folder}: has {len(found & wanted)} of {len(wanted)} files and {len(found - wanted)} others; "
            f"{min(wanted ^ found)} is the first. Something else changes files there; stop it and run the "
            "same command again."
        )


def copy(source: SourceFile, target: Path) -> None:
    """Copies the content of `source` to `target`.

    Not by a hard link: DVC can be configured to keep hard links to data/raw in its cache, and would then
    make the user's own files read-only.
    """
    with replacing(target) as temporary, temporary.open("wb") as file:
        file.writelines(source.chunks())


def remove_unchosen(chosen: list[str]) -> list[str]:
    """Removes everything from data/raw but the chosen corpora; returns the names removed."""
    unchosen = sorted(path for path in RAW.iterdir() if path.name not in chosen)
    for path in unchosen:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return [path.name for path in unchosen]


def _is_same(source: SourceFile, target: Path) -> bool:
    """Returns whether `target` has the content of `source`."""
    if not target.is_file() or target.stat().st_size != source.n_bytes:
        return False
    with target.open("rb") as file:
        return all(file.read(len(chunk)) == chunk for chunk in source.chunks())


def _remove_all_but(wanted: set[Path], folder: Path) -> int:
    """Removes the other files below `folder` and emptied folders; returns the number of files."""
    n_removed = 0
    for path in sorted(folder.rglob("*"), reverse=True):  # a folder's content comes before the folder
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in wanted:
            path.unlink()
            n_removed += 1
    return n_removed
