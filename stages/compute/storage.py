"""Files on storage that several machines reach, named by their content.

Recordings go to workers through it, and what they make comes back. A name is the SHA-256 of the content, so
a file that is there is up to date, nothing is written twice, and whatever is fetched is checked. Nothing in a
pool is needed once the run has ended.
"""

from __future__ import annotations

import errno
import hashlib
import io
import uuid
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import fsspec

from stages.base import registry
from stages.base.errors import InputError
from stages.data.keys import sha256

PLACE = "params.compute.storage"


class Storage:
    """A folder of files named by their content.

    Attributes:
        url: of the folder, as every machine reaches it.
    """

    def __init__(self, url: str) -> None:
        """
        Args:
            url: as fsspec takes it, `s3://bucket/folder`, say.

        Raises:
            InputError: fsspec does not know the protocol, or lacks the package for it.
        """
        try:
            self._files, self._root = fsspec.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise InputError(f"{PLACE}: '{url}' will not do: {error}.") from error
        self.url = self._files.unstrip_protocol(self._root)
        self._there: dict[str, int] = {}  # sizes by name

    @classmethod
    def open(cls, url: str) -> Storage:
        """Returns the pool at `url`, made if missing, which knows what is in it already.

        Raises:
            InputError: it cannot be written.
        """
        pool = cls(url)
        trial = f"{pool._root}/trial-{uuid.uuid4().hex}"
        with pool._told("written"):
            pool._files.makedirs(pool._root, exist_ok=True)
            pool._files.pipe_file(trial, b"can be written")
            pool._files.invalidate_cache()
            listed = pool._files.ls(pool._root, detail=True)
            pool._files.rm_file(trial)
        pool._there = {entry["name"].rpartition("/")[2]: entry["size"] for entry in listed}
        return pool

    def put(self, paths: Sequence[Path]) -> dict[Path, str]:
        """Writes the files that are not known to be there, and returns each one's name.

        Raises:
            InputError: the storage cannot be written.
        """
        names = {path: sha256(path) for path in paths}
        sizes = {path: path.stat().st_size for path in paths}
        lacking = {name: path for path, name in names.items() if self._there.get(name) != sizes[path]}
        if lacking:
            with self._told("written"):
                self._files.put(
                    [str(path) for path in lacking.values()], [f"{self._root}/{name}" for name in lacking]
                )
        self._there |= {name: sizes[path] for path, name in names.items()}
        return names

    def get(self, names: Mapping[Path, str]) -> None:
        """Fetches files to the paths given.

        Raises:
            InputError: one is not there, or is damaged.
        """
        for path in names:
            path.parent.mkdir(parents=True, exist_ok=True)
        if names:
            with self._told("read"):
                self._files.get(
                    [f"{self._root}/{name}" for name in names.values()], [str(path) for path in names]
                )
        for path, name in names.items():
            if sha256(path) != name:
                raise InputError(f"{self.url}/{name}: damaged. Delete it and run the same again.")

    def put_code(self) -> str:
        """Writes this project's code as a zip archive, and returns its name, which has its SHA-256."""
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(registry.STAGES.rglob("*.py")):
                archive.write(path, path.relative_to(registry.STAGES.parent))
        name = f"code-{hashlib.sha256(content.getvalue()).hexdigest()}.zip"
        with self._told("written"):
            self._files.pipe_file(f"{self._root}/{name}", content.getvalue())
        return name

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Makes the storage's own errors, of which every kind of storage has others, an InputError."""
        try:
            yield
        except Exception as error:
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                raise  # told as every full disk is
            reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
            raise InputError(
                f"{PLACE}: '{self.url}' cannot be {what}: {reason}. What is finished is kept."
            ) from error
