"""Downloads files from their official addresses, resumes interrupted downloads and verifies checksums."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pooch
import requests
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from stages.audio import lfs
from stages.base.errors import InputError
from stages.base.files import write
from stages.data.vocabulary import Download

TIMEOUT_S = (10, 60)  # to connect, between two pieces
N_RETRIES = 5
BACKOFF_S = 1.0  # before the second retry; doubles from one to the next
MAX_REDIRECTS = 5
PATIENCE_S = 60.0  # the time over which the speed is measured, and the longest wait a server may ask for
SLOWEST_BYTES_PER_S = 1000
MAX_ANSWER_BYTES = 1 << 26  # of JSON, or of a Git LFS pointer
N_CONNECTIONS = 8
BUSY = (429, 500, 502, 503, 504)  # HTTP statuses that may be temporary

_PIECE_BYTES = 1 << 16  # read at once at most; an attempt that brings no more than that made no progress


def fetch_all(downloads: Sequence[Download], folder: Path, title: str) -> None:
    """Downloads the files that are not in `folder` yet, several at a time.

    When called again after an interruption, it resumes each file where it stopped.

    Raises:
        InputError: the disk is too small, a server does not answer or does not have the file, or a file
            does not match its checksum.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = sum(download.n_bytes for download in downloads if not (folder / download.filename).exists())
    free = shutil.disk_usage(folder).free
    if missing > free:
        raise InputError(f"{folder}: {missing / 1e9:.1f} GB to download, but only {free / 1e9:.1f} GB free.")
    pooch.get_logger().setLevel("WARNING")
    stopped = threading.Event()
    with (
        _session() as session,
        tqdm(total=len(downloads), desc=f"fetch {title}", unit="file", disable=None) as bar,
        ThreadPoolExecutor(N_CONNECTIONS) as pool,
    ):
        running = [pool.submit(_fetch, session, download, folder, stopped) for download in downloads]
        try:
            for done in as_completed(running):
                done.result()
                bar.update()
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)


def read_json(url: str) -> Any:
    """Returns the JSON document at `url`.

    Raises:
        InputError: the server does not answer, or not with JSON.
    """
    with _session() as session:
        content = _read(session, url)
    try:
        return json.loads(content)
    except ValueError as error:
        raise InputError(f"{url}: the answer is not JSON.") from error


def _read(session: requests.Session, url: str) -> bytes:
    content = bytearray()
    with _answer(session, url) as response:
        for piece in _pieces(response, url):
            content += piece
            if len(content) > MAX_ANSWER_BYTES:
                raise InputError(f"{url}: the answer is larger than {MAX_ANSWER_BYTES} bytes.")
    return bytes(content)


def _fetch(session: requests.Session, download: Download, folder: Path, stopped: threading.Event) -> None:
    target = folder / download.filename
    kind, _, value = download.checksum.partition(":")
    n_bytes = download.n_bytes
    if kind == "lfs":
        pointer = _fetch_pointer(session, value, target.with_name(f"{target.name}.lfs"))
        kind, value, n_bytes = "sha256", pointer.sha256, pointer.n_bytes
    for _ in range(2):  # a continued download can mix two versions of a file: then it starts again once
        part = _Part(session, target.with_name(f"{target.name}.part"), n_bytes, stopped)
        try:
            pooch.retrieve(download.url, f"{kind}:{value}", target.name, target.parent, downloader=part)
            return
        except ValueError:
            if not part.continued:
                break
    raise InputError(f"{download.url}: not the expected file, its {kind} is not {value}; it was deleted.")


def _fetch_pointer(session: requests.Session, url: str, path: Path) -> lfs.Pointer:
    """Returns the Git LFS pointer at `url`, which is downloaded to `path` once."""
    if not path.exists():
        write(_read(session, url), path)
    pointer = lfs.parse(path.read_bytes())
    if pointer is None:
        path.unlink()
        raise InputError(f"{url}: the answer is not a Git LFS pointer.")
    return pointer


class _Part:
    """A downloader for pooch that continues the `.part` file of an earlier attempt; pooch has none.

    Attributes:
        continued: whether the file was put together from several answers.
    """

    def __init__(self, session: requests.Session, path: Path, n_bytes: int, stopped: threading.Event) -> None:
        self.session, self.path, self.n_bytes, self.stopped = session, path, n_bytes, stopped
        self.continued = False

    def __call__(self, url: str, output_file: str | Path, _: object = None) -> None:
        most, failures = self._size(), 0
        while not self._continue(url):
            if self._size() > most + _PIECE_BYTES:
                most, failures = self._size(), 0
            failures += 1
            if failures > N_RETRIES:
                raise InputError(f"{url}: the connection broke {failures} times at byte {self._size()}.")
            if self.stopped.wait(BACKOFF_S * 2 ** (failures - 1)):
                raise InputError(f"{url}: stopped.")
        self.path.replace(output_file)

    def _size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def _continue(self, url: str) -> bool:
        """Downloads what the part does not have yet; returns whether it is complete."""
        start = self._size()
        if 0 < self.n_bytes <= start:
            self.continued = True
            return True
        with _answer(self.session, url, {"Range": f"bytes={start}-"} if start else None) as response:
            self.continued = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
            if not self.continued:
                self.path.unlink(missing_ok=True)  # the whole file, or another range than was asked for
                if response.status_code in (206, 416):
                    return False
            return self._receive(response, url)

    def _receive(self, response: requests.Response, url: str) -> bool:
        """Appends the answer's body to the part; returns whether it came to its end."""
        with (
            self.path.open("ab") as file,
            tqdm(
                desc=self.path.stem,
                total=self.n_bytes or None,
                initial=file.tell(),
                unit="B",
                unit_scale=True,
                leave=False,
                delay=2,
                disable=None,
            ) as bar,
        ):
            try:
                for piece in _pieces(response, url):
                    file.write(piece)
                    bar.update(len(piece))
                    if self.stopped.is_set():
                        return False
                    if 0 < self.n_bytes < file.tell():
                        raise InputError(f"{url}: sends more than the {self.n_bytes} bytes expected.")
            except HTTPError:
                return False
        return True


def _pieces(response: requests.Response, url: str) -> Iterator[bytes]:
    """Yields the body as it arrives.

    Raises:
        InputError: it arrives too slowly.
        HTTPError: of urllib3, if the connection breaks.
    """
    since, n_bytes = time.monotonic(), 0
    while piece := response.raw.read1(_PIECE_BYTES, decode_content=False):
        yield piece
        n_bytes += len(piece)
        if time.monotonic() - since > PATIENCE_S:
            if n_bytes < SLOWEST_BYTES_PER_S * PATIENCE_S:
                raise InputError(f"{url}: sends less than {SLOWEST_BYTES_PER_S} bytes a second. Try later.")
            since, n_bytes = time.monotonic(), 0


def _session() -> requests.Session:
    session = requests.Session()
    retry = Retry(
        N_RETRIES,
        redirect=False,
        status_forcelist=BUSY,
        backoff_factor=BACKOFF_S,
        raise_on_status=False,
        retry_after_max=int(PATIENCE_S),
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry, pool_maxsize=N_CONNECTIONS))
    session.max_redirects = MAX_REDIRECTS
    session.headers["Accept-Encoding"] = "identity"  # a range counts bytes as they are sent
    return session


@contextmanager
def _answer(
    session: requests.Session, url: str, headers: dict[str, str] | None = None
) -> Iterator[requests.Response]:
    """Yields the server's answer, its body not read yet.

    Raises:
        InputError: there is no answer, or it is an error.
    """
    try:
        response = session.get(url, headers=headers, stream=True, timeout=TIMEOUT_S)
    except requests.TooManyRedirects as error:
        raise InputError(f"{url}: more than {MAX_REDIRECTS} redirects.") from error
    except requests.RequestException as error:
        raise InputError(f"{url}: not reachable ({type(error).__name__}).") from error
    with response:
        if not (response.ok or (headers and response.status_code == 416)):
            raise InputError(f"{url}: HTTP {response.status_code} {response.reason}.")
        try:
            yield response
        except (requests.RequestException, HTTPError) as error:
            raise InputError(f"{url}: the connection broke ({type(error).__name__}).") from error
