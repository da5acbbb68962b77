"""Downloads, from a server on this machine that behaves like real ones."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stages.acquire import download
from stages.base.errors import InputError
from stages.data.vocabulary import Download

CONTENT = bytes(range(256)) * 4000  # 1 MB


@dataclass
class Resource:
    """What the server does for one address.

    Attributes:
        statuses: answered before anything else, one a request.
        cuts: bytes sent before the connection breaks, one a request.
        ranges: whether it honours a Range.
        asked: the Range of each request that got content.
    """

    content: bytes = CONTENT
    statuses: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    ranges: bool = True
    location: str = ""
    asked: list[str] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    resources: dict[str, Resource]

    def do_GET(self) -> None:
        resource = self.resources.get(self.path)
        status = 404 if resource is None else resource.statuses.pop(0) if resource.statuses else 0
        if resource is None or status:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            if resource is not None and resource.location:
                self.send_header("Location", resource.location)
            self.end_headers()
            return
        asked = self.headers.get("Range", "")
        resource.asked.append(asked)
        start = 0
        if asked and resource.ranges:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        n_bytes = len(resource.content)
        if start >= n_bytes:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{n_bytes}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{n_bytes - 1}/{n_bytes}")
        self.send_header("Content-Length", str(n_bytes - start))
        self.end_headers()
        rest = resource.content[start:]
        if resource.cuts:
            self.wfile.write(rest[: resource.cuts.pop(0)])
            self.close_connection = True
            return
        self.wfile.write(rest)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Resource]]:
    """Yields the addresses served, to be filled; no pause between retries."""
    monkeypatch.setattr(download, "BACKOFF_S", 0.0)
    handler = type("Scripted", (Handler,), {"resources": {}})
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    handler.resources["port"] = http.server_port
    yield handler.resources
    http.shutdown()
    thread.join()
    http.server_close()


def serve(server: dict[str, Resource], resource: Resource, name: str = "a.zip") -> Download:
    """Returns the download of what `resource` serves, as it is now."""
    server[f"/{name}"] = resource
    checksum = f"sha256:{hashlib.sha256(resource.content).hexdigest()}"
    return Download(f"http://127.0.0.1:{server['port']}/{name}", checksum, name, len(resource.content))


def fetch(item: Download, folder: Path) -> bytes:
    download.fetch_all([item], folder, "test")
    return (folder / item.filename).read_bytes()


def test_a_file_is_fetched_once(server: dict[str, Resource], tmp_path: Path) -> None:
    resource = Resource()
    item = serve(server, resource)
    assert fetch(item, tmp_path) == CONTENT
    assert fetch(item, tmp_path) == CONTENT
    assert resource.asked == [""]
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_md5_is_accepted(server: dict[str, Resource], tmp_path: Path) -> None:
    item = replace(serve(server, Resource()), checksum=f"md5:{hashlib.md5(CONTENT).hexdigest()}")
    assert fetch(item, tmp_path) == CONTENT


def test_a_cut_connection_is_resumed(server: dict[str, Resource], tmp_path: Path) -> None:
    resource = Resource(cuts=[409_600, 0, 196_608])
    # whole pieces of 16 kB: what a broken connection leaves of one is lost
    assert fetch(serve(server, resource), tmp_path) == CONTENT
    assert resource.asked == ["", "bytes=409600-", "bytes=409600-", "bytes=606208-"]


def test_a_connection_that_always_breaks_is_reported_and_its_part_kept(
    server: dict[str, Resource], tmp_path: Path
) -> None:
    resource = Resource(cuts=[294_912] + [0] * 20)
    item = serve(server, resource)
    with pytest.raises(InputError, match=r"a\.zip: the connection broke 6 times at byte 294912"):
        fetch(item, tmp_path)
    resource.cuts, resource.asked = [], []
    assert fetch(item, tmp_path) == CONTENT
    assert resource.asked == ["bytes=294912-"]


@pytest.mark.parametrize("change", [{"content": CONTENT[::-1]}, {"ranges": False}])
def test_a_part_of_another_version_is_downloaded_again(
    server: dict[str, Resource], tmp_path: Path, change: dict[str, object]
) -> None:
    resource = Resource(cuts=[294_912] + [0] * 20)
    with pytest.raises(InputError, match="the connection broke"):
        fetch(serve(server, resource), tmp_path)
    renewed = replace(resource, cuts=[], **change)  # type: ignore[arg-type]
    assert fetch(serve(server, renewed), tmp_path) == renewed.content


@pytest.mark.parametrize(
    ("part", "asked"), [(CONTENT, []), (CONTENT[::-1], [""]), (CONTENT + b"surplus", [""])]
)
def test_a_part_as_long_as_the_file_is_checked(
    server: dict[str, Resource], tmp_path: Path, part: bytes, asked: list[str]
) -> None:
    (tmp_path / "a.zip.part").write_bytes(part)
    resource = Resource()
    assert fetch(serve(server, resource), tmp_path) == CONTENT
    assert resource.asked == asked


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_tried_again(server: dict[str, Resource], tmp_path: Path, status: int) -> None:
    assert fetch(serve(server, Resource(statuses=[status, status])), tmp_path) == CONTENT


@pytest.mark.parametrize(
    ("status", "reason"), [(404, "Not Found"), (403, "Forbidden"), (503, "Service Unavailable")]
)
def test_a_refusal_is_reported(server: dict[str, Resource], tmp_path: Path, status: int, reason: str) -> None:
    item = serve(server, Resource(statuses=[status] * 20))
    with pytest.raises(InputError, match=rf"http://127\.0\.0\.1:\d+/a\.zip: HTTP {status} {reason}\."):
        fetch(item, tmp_path)


def test_redirects_are_followed_but_not_for_ever(server: dict[str, Resource], tmp_path: Path) -> None:
    item = serve(server, Resource(statuses=[302], location="/b.zip"))
    serve(server, Resource(), "b.zip")
    assert fetch(item, tmp_path) == CONTENT
    round_trip = serve(server, Resource(statuses=[302] * 20, location="/c.zip"), "c.zip")
    with pytest.raises(InputError, match=r"c\.zip: more than 5 redirects"):
        fetch(round_trip, tmp_path)


def test_a_wrong_file_is_reported_and_deleted(server: dict[str, Resource], tmp_path: Path) -> None:
    item = replace(serve(server, Resource()), checksum="md5:" + "0" * 32)
    with pytest.raises(InputError, match=r"a\.zip: not the expected file, its md5 is not 0{32}"):
        fetch(item, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_corrupted_file_is_downloaded_again(server: dict[str, Resource], tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"corrupted")
    assert fetch(serve(server, Resource()), tmp_path) == CONTENT


def test_an_unreachable_host_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(download, "BACKOFF_S", 0.0)
    item = Download("http://127.0.0.1:9/a.zip", "md5:" + "0" * 32, "a.zip", 1)  # the discard port, not in use
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9/a\.zip: not reachable \(ConnectionError\)"):
        fetch(item, tmp_path)


def test_a_disk_too_small_is_reported(tmp_path: Path) -> None:
    item = Download("http://127.0.0.1:9/a.zip", "md5:" + "0" * 32, "a.zip", 10**18)
    with pytest.raises(InputError, match=r"1000000000\.0 GB to download, .* GB free"):
        fetch(item, tmp_path)


def serve_pointer(server: dict[str, Resource], item: Download, text: str) -> Download:
    serve(server, Resource(content=text.encode()), "pointer")
    return replace(
        item, checksum=f"lfs:http://127.0.0.1:{server['port']}/pointer", filename="wav/a.wav", n_bytes=0
    )


def test_a_git_lfs_pointer_gives_the_checksum(server: dict[str, Resource], tmp_path: Path) -> None:
    digest = hashlib.sha256(CONTENT).hexdigest()
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(CONTENT)}\n"
    item = serve_pointer(server, serve(server, Resource()), text)
    assert fetch(item, tmp_path) == CONTENT
    assert fetch(item, tmp_path) == CONTENT
    assert server["/pointer"].asked == [""]
    wrong = serve_pointer(server, serve(server, Resource(content=b"other")), text)
    with pytest.raises(InputError, match=f"its sha256 is not {digest}"):
        fetch(wrong, tmp_path / "elsewhere")


def test_a_file_that_is_not_a_pointer_is_reported(server: dict[str, Resource], tmp_path: Path) -> None:
    item = serve_pointer(server, serve(server, Resource()), "<html>")
    with pytest.raises(InputError, match=r"/pointer: the answer is not a Git LFS pointer"):
        fetch(item, tmp_path)


def test_one_failure_stops_the_rest(server: dict[str, Resource], tmp_path: Path) -> None:
    items = [serve(server, Resource(), f"{i}.wav") for i in range(40)]
    del server["/0.wav"]
    with pytest.raises(InputError, match=r"0\.wav: HTTP 404"):
        download.fetch_all(items, tmp_path, "test")
    assert len(list(tmp_path.glob("*.wav"))) < 39


def test_json_is_read(server: dict[str, Resource]) -> None:
    url = serve(server, Resource(content=b'{"a": [1]}')).url
    assert download.read_json(url) == {"a": [1]}
    with pytest.raises(InputError, match=r"a\.zip: the answer is not JSON"):
        download.read_json(serve(server, Resource(content=b"<html>")).url)
