"""Files fetched from their official addresses: resumed where they broke off, and verified."""

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
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from stages.audio import lfs
from stages.base.errors import InputError
from stages.base.files import replacing
from stages.data.vocabulary import Download

TIMEOUT_S = (10, 60)  # to connect, between two pieces
N_RETRIES = 5
BACKOFF_S = 1.0  # before the second retry; doubles from one to the next
MAX_REDIRECTS = 5
PATIENCE_S = 60.0  # over which a server is to send SLOWEST_BYTES_PER_S, and the longest it can make us wait
SLOWEST_BYTES_PER_S = 1000
MAX_JSON_BYTES = 1 << 26
N_CONNECTIONS = 8
BUSY = (429, 500, 502, 503, 504)  # HTTP statuses that may pass

_CHUNK_BYTES = 1 << 16  # read at once at most; a try that brought no more than that brought nothing


def fetch_all(downloads: Sequence[Download], folder: Path, title: str) -> None:
    """Fetches what `folder` does not hold already, several files at a time.

    Stopped half-way, it goes on from there when called again.

    Raises:
        InputError: the disk is too small, an address does not answer or has no such file, or a file
            is not the one its checksum tells.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = sum(download.n_bytes for download in downloads if not (folder / download.filename).exists())
    free = shutil.disk_usage(folder).free
    if missing > free:
        raise InputError(f"{folder}: {missing / 1e9:.1f} GB are to be fetched, {free / 1e9:.1f} GB are free.")
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
        InputError: no answer, or none that is JSON.
    """
    content = bytearray()
    with _session() as session, _answer(session, url) as response:
        for piece in _pieces(response, url):
            content += piece
            if len(content) > MAX_JSON_BYTES:
                raise InputError(f"{url}: the answer does not end.")
    try:
        return json.loads(content)
    except ValueError as error:
        raise InputError(f"{url}: the answer is no JSON.") from error


def _pieces(response: requests.Response, url: str) -> Iterator[bytes]:
    """Yields the body as it comes.

    Raises:
        InputError: it comes too slowly.
        HTTPError: of urllib3, when the connection breaks.
    """
    since, n_bytes = time.monotonic(), 0
    while piece := response.raw.read1(_CHUNK_BYTES, decode_content=False):
        yield piece
        n_bytes += len(piece)
        if time.monotonic() - since > PATIENCE_S:
            if n_bytes < SLOWEST_BYTES_PER_S * PATIENCE_S:
                raise InputError(f"{url}: sends less than {SLOWEST_BYTES_PER_S} bytes a second. Try later.")
            since, n_bytes = time.monotonic(), 0


def _fetch(session: requests.Session, download: Download, folder: Path, stopped: threading.Event) -> None:
    target = folder / download.filename
    kind, _, value = download.checksum.partition(":")
    n_bytes = download.n_bytes
    if kind == "lfs":
        path = target.with_name(f"{target.name}.lfs")
        pointer = _fetch_pointer(value, path, _Resuming(session, path, 0, stopped))
        kind, value, n_bytes = "sha256", pointer.sha256, pointer.n_bytes
    try:
        pooch.retrieve(
            download.url,
            known_hash=f"{kind}:{value}",
            fname=target.name,
            path=target.parent,
            downloader=_Resuming(session, target, n_bytes, stopped),
        )
    except ValueError as error:
        raise InputError(
            f"{download.url}: what came is not the file expected, its {kind} is not {value}; it was deleted."
        ) from error


def _fetch_pointer(url: str, path: Path, fetch: _Resuming) -> lfs.Pointer:
    """Returns the Git LFS pointer at `url`, fetched into `path` once."""
    if not path.exists():
        with replacing(path) as temporary:
            fetch(url, temporary)
    pointer = lfs.parse(path.read_bytes())
    if pointer is None:
        path.unlink()
        raise InputError(f"{url}: the answer is no Git LFS pointer.")
    return pointer


class _Resuming:
    """A downloader for pooch that goes on with the `.part` of an earlier try.

    A part is only continued while the server's validator (ETag, else Last-Modified) is the same.
    """

    def __init__(
        self, session: requests.Session, target: Path, n_bytes: int, stopped: threading.Event
    ) -> None:
        self.session = session
        self.part = target.with_name(f"{target.name}.part")
        self.validator = target.with_name(f"{target.name}.part.validator")
        self.n_bytes = n_bytes
        self.stopped = stopped

    def __call__(self, url: str, output_file: str | Path, _: object = None) -> None:
        most, failures = self._size(), 0
        while not self._continue(url):
            if self._size() > most + _CHUNK_BYTES:
                most, failures = self._size(), 0
            failures += 1
            if failures > N_RETRIES:
                raise InputError(f"{url}: the connection broke {failures} times at byte {self._size()}.")
            if self.stopped.wait(BACKOFF_S * 2 ** (failures - 1)):
                raise InputError(f"{url}: stopped.")
        self.validator.unlink(missing_ok=True)
        self.part.replace(output_file)

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _continue(self, url: str) -> bool:
        """Fetches what the part lacks; returns whether it is whole."""
        start = self._size() if self.validator.exists() else 0
        known = self.validator.read_text() if start else ""
        headers = {"Range": f"bytes={start}-", "If-Range": known} if start else {}
        with _answer(self.session, url, headers) as response:
            extent = response.headers.get("Content-Range", "")
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                if extent == f"bytes */{start}":
                    return True
                self.validator.unlink(missing_ok=True)
                return False
            resumed = response.status_code == requests.codes.partial_content
            if resumed and (not extent.startswith(f"bytes {start}-") or _validator(response) != known):
                self.validator.unlink(missing_ok=True)
                return False
            if not resumed:
                self.validator.unlink(missing_ok=True)
                self.part.unlink(missing_ok=True)
                if validator := _validator(response):
                    self.validator.write_text(validator)
            return self._receive(response, url)

    def _receive(self, response: requests.Response, url: str) -> bool:
        try:
            with (
                self.part.open("ab") as file,
                tqdm(
                    desc=self.part.stem,
                    total=self.n_bytes or None,
                    initial=file.tell(),
                    unit="B",
                    unit_scale=True,
                    leave=False,
                    delay=2,
                    disable=None,
                ) as bar,
            ):
                for piece in _pieces(response, url):
                    file.write(piece)
                    bar.update(len(piece))
                    if self.stopped.is_set():
                        return False
                    if 0 < self.n_bytes < file.tell():
                        self.validator.unlink(missing_ok=True)
                        raise InputError(f"{url}: sends more than the {self.n_bytes} bytes expected.")
        except HTTPError:
            return False
        return True


def _validator(response: requests.Response) -> str:
    """Returns what tells one version of a file from another, nothing where the server tells nothing firm."""
    etag = response.headers.get("ETag", "")
    return response.headers.get("Last-Modified", "") if not etag or etag.startswith("W/") else etag


class _Retry(Retry):
    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        asked = super().get_retry_after(response)
        return None if asked is None else min(asked, PATIENCE_S)


def _session() -> requests.Session:
    session = requests.Session()
    retry = _Retry(
        total=N_RETRIES,
        redirect=False,
        status_forcelist=BUSY,
        backoff_factor=BACKOFF_S,
        raise_on_status=False,
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry, pool_maxsize=N_CONNECTIONS))
    session.max_redirects = MAX_REDIRECTS
    session.headers["Accept-Encoding"] = "identity"  # a range counts the bytes as they travel
    return session


@contextmanager
def _answer(
    session: requests.Session, url: str, headers: dict[str, str] | None = None
) -> Iterator[requests.Response]:
    """Yields the server's answer, its body not read yet.

    Raises:
        InputError: there is none, or it is an error.
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
