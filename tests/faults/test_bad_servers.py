"""Downloads from a server that disconnects, sends wrong data, stalls or changes the file: the content is
right or the error is one line; once the server works again, the same command succeeds."""

from __future__ import annotations

import hashlib
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stages.acquire import download
from stages.base.errors import InputError
from stages.data.vocabulary import Download
from tests.faults.conftest import Fault, draws
from tests.faults.pipeline import rng
from tests.test_pipeline import ROOT

CONTENT = rng("content").randbytes(400_000)
OTHER = CONTENT[::-1]
DIGEST = hashlib.sha256(CONTENT).hexdigest()
PATIENCE_S = 1.0

Request = dict[str, str]  # headers by lower-case name, and `path`
Answer = Callable[[Request], Iterator[bytes]]


class Server(socketserver.ThreadingTCPServer):
    """Answers request n with `answers[n]`, those after the last one with `then`."""

    allow_reuse_address = daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Answer] = []
        self.then: Answer = correct
        self.requests: list[Request] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(socketserver.StreamRequestHandler):
    server: Server

    def handle(self) -> None:
        first, *lines = iter(lambda: self.rfile.readline().strip().decode("latin-1"), "")
        request = {"path": first.split()[1]}
        request |= {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        number = len(self.server.requests)
        self.server.requests.append(request)
        answer = self.server.answers[number] if number < len(self.server.answers) else self.server.then
        try:
            for piece in answer(request):
                self.wfile.write(piece)
        except OSError:
            pass  # the other side has hung up


def head(status: str, **headers: object) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")


def correct(request: Request, content: bytes = CONTENT, etag: str = '"1"') -> Iterator[bytes]:
    """Does what RFC 9110 asks of a server that knows ranges."""
    start = int(request.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
    extent = {"Content_Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
    yield head("206 Partial" if start else "200 OK", Content_Length=len(content) - start, ETag=etag, **extent)
    yield content[start:]


def other(request: Request) -> Iterator[bytes]:
    yield from correct(request, OTHER, '"2"')


def cut(n_bytes: int, answer: Answer = correct) -> Answer:
    """Hangs up after so many bytes of the body."""

    def broken(request: Request) -> Iterator[bytes]:
        header, body = answer(request)
        yield header
        yield body[:n_bytes]

    return broken


def says(*pieces: bytes, pause_s: float = 0.0) -> Answer:
    """Sends the same whatever is asked for, and waits after each piece."""

    def said(request: Request) -> Iterator[bytes]:
        for piece in pieces:
            yield piece
            time.sleep(pause_s)

    return said


def mixed(request: Request) -> Iterator[bytes]:
    """Continues with another file than was requested; only the ETag shows it."""
    start = int(request.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
    extent = f"bytes {start}-{len(OTHER) - 1}/{len(OTHER)}"
    yield head("206 Partial", Content_Length=len(OTHER) - start, ETag='"2"', Content_Range=extent)
    yield OTHER[start:]


def endless(request: Request) -> Iterator[bytes]:
    yield head("200 OK", ETag='"1"')
    while True:
        yield bytes(1 << 16)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download, "BACKOFF_S", 0.0)
    monkeypatch.setattr(download, "PATIENCE_S", PATIENCE_S)
    monkeypatch.setattr(download, "TIMEOUT_S", (1, 1))
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def fetch(server: Server, folder: Path) -> bytes:
    item = Download(f"{server.url}/a.zip", f"sha256:{DIGEST}", "a.zip", len(CONTENT))
    download.fetch_all([item], folder, "test")
    return (folder / "a.zip").read_bytes()


def check(server: Server, folder: Path, answers: list[Answer], reason: str, then: Answer = correct) -> None:
    """Downloads; checks that this fails with `reason` or, if that is empty, succeeds, and that a download
    from a working server then succeeds."""
    server.answers, server.then = answers, then
    if reason:
        with pytest.raises(InputError, match=reason) as error:
            fetch(server, folder)
        assert str(error.value).isprintable()
        assert not (folder / "a.zip").exists()
    else:
        assert fetch(server, folder) == CONTENT
    server.answers, server.then = [], correct
    assert fetch(server, folder) == CONTENT
    assert [path.name for path in folder.iterdir()] == ["a.zip"]


HALF = len(CONTENT) // 2
REDIRECT = says(head("302 Found", Location="/b.zip", Content_Length=0))
# kind: answers in turn, those after them, and the reason reported; empty if the download succeeds
FAULTS: dict[str, tuple[list[Answer], Answer, str]] = {
    "cut at 50 %": ([cut(HALF)], correct, ""),
    "cut at 50 %, again and again": ([cut(HALF), cut(HALF // 2), cut(1), cut(0)], correct, ""),
    "cut at 50 %, then dead": ([cut(HALF)], cut(0), r"the connection broke 6 times at byte 200000"),
    "cut after every byte": ([], cut(1), r"the connection broke \d+ times at byte"),
    "cut before the answer": ([says()] * 3, correct, ""),
    "no answer ever": ([], says(), r"a\.zip: not reachable \(ConnectionError\)"),
    "no HTTP": ([], says(b"\0\xff" * 999), r"a\.zip: not reachable"),
    "another file": ([], lambda request: correct(request, OTHER), "not the expected file, its sha256 is not"),
    "a page to log in": ([says(head("200 OK"), b"<html>log in</html>")], correct, "not the expected file"),
    "404": ([says(head("404 Not Found", Content_Length=0))], correct, r"HTTP 404 Not Found\."),
    "410 halfway": ([cut(HALF), says(head("410 Gone", Content_Length=0))], correct, r"HTTP 410 Gone\."),
    "503, then correct": ([says(head("503 Busy", Content_Length=0))] * 2, correct, ""),
    "503 halfway, then correct": ([cut(HALF), says(head("503 Busy", Content_Length=0))], correct, ""),
    "503 for ever": ([], says(head("503 Busy", Content_Length=0)), r"HTTP 503 Busy\."),
    "503, come back tomorrow": ([says(head("503 Busy", Retry_After=86400, Content_Length=0))], correct, ""),
    "a redirect to itself": ([], says(head("302 Found", Location="/a.zip", Content_Length=0)), "5 redirects"),
    "a redirect loop": ([], REDIRECT, "more than 5 redirects"),
    "a redirect to a file": (
        [says(head("302 Found", Location="file:///etc/passwd", Content_Length=0))],
        correct,
        r"not reachable \(InvalidSchema\)",
    ),
    "a few bytes a second": (
        [says(head("200 OK", Content_Length=len(CONTENT)), *[b"x"] * 99, pause_s=0.2)],
        correct,
        "sends less than 1000 bytes a second",
    ),
    "silence halfway": (
        [says(head("200 OK", Content_Length=400_000), CONTENT[:HALF], pause_s=2)],
        correct,
        "",
    ),
    "silence for ever": ([], says(b"", pause_s=2), r"not reachable \(ReadTimeout\)|not reachable \(Connect"),
    "changed meanwhile": ([cut(HALF, other)], correct, ""),
    "changed meanwhile, and the range as before": ([cut(HALF), mixed], correct, ""),
    "the range of another place": (
        [cut(HALF), says(head("206 Partial", ETag='"1"', Content_Range="bytes 0-399999/400000"), CONTENT)],
        correct,
        "",
    ),
    "an invalid range": (
        [cut(HALF), says(head("206 Partial", ETag='"1"', Content_Range="half of it"), CONTENT)],
        correct,
        "",
    ),
    "416 halfway": (
        [cut(HALF), says(head("416 No", Content_Range="bytes */7", Content_Length=0))],
        correct,
        "",
    ),
    "less than it says": ([says(head("200 OK", Content_Length=10**9, ETag='"9"'), CONTENT)], correct, ""),
    "no end": ([endless], correct, r"sends more than the 400000 bytes expected"),
    "half a chunk": ([says(head("200 OK", Transfer_Encoding="chunked"), b"fffff\r\n", CONTENT)], correct, ""),
    "chunks without a size": (
        [says(head("200 OK", Transfer_Encoding="chunked"), b"zz\r\n", CONTENT)],
        correct,
        "",
    ),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_bad_server(fault: Fault, server: Server, tmp_path: Path, kind: str) -> None:
    answers, then, reason = FAULTS[kind]
    with fault(f"download: {kind.split(',')[0]}"):
        check(server, tmp_path, answers, reason, then)


@pytest.mark.parametrize("number", draws(sample=2, slow=5, campaign=30))
def test_a_series_of_faults(fault: Fault, server: Server, tmp_path: Path, number: int) -> None:
    """Cuts, errors that pass and changed files in a random order, and finally a correct answer."""
    draw = rng("series", number)
    passing: list[Answer] = [says(head("503 Busy", Content_Length=0)), mixed]
    answers = [
        draw.choice([cut(draw.randrange(len(CONTENT))), cut(draw.randrange(HALF), other), *passing])
        for _ in range(4)
    ]
    with fault("download: several in a row"):
        server.answers = answers
        try:
            assert fetch(server, tmp_path) == CONTENT
        except InputError as error:  # what changed for good while it came
            assert "not the expected file" in str(error)
        check(server, tmp_path, [], "")


@pytest.mark.parametrize("number", draws(sample=1, slow=2, campaign=10))
def test_a_killed_download_is_resumed(fault: Fault, tmp_path: Path, number: int) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom stages.acquire import download\n"
        "from stages.data.vocabulary import Download\n"
        "download.fetch_all([Download(sys.argv[1], sys.argv[2], 'a.zip', 400000)], Path(sys.argv[3]), 'test')"
    )
    n_bytes = rng("kill", number).randrange(1, len(CONTENT))
    with Server() as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}).start()
        header = head("200 OK", Content_Length=len(CONTENT), ETag='"1"')
        running.answers = [says(header + CONTENT[:n_bytes], pause_s=15)]
        command = [sys.executable, "-c", code, f"{running.url}/a.zip", f"sha256:{DIGEST}", str(tmp_path)]
        with fault("download: SIGKILL"):
            process = subprocess.Popen(command, cwd=ROOT)
            part = tmp_path / "a.zip.part"
            while not part.exists() or part.stat().st_size < n_bytes // 2:
                assert process.poll() is None
                time.sleep(0.01)
            process.kill()
            process.wait()
            subprocess.run(command, cwd=ROOT, check=True)
            assert (tmp_path / "a.zip").read_bytes() == CONTENT
            assert len(running.requests) == 2
        running.shutdown()
