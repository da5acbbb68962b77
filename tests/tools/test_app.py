"""The page answers in plain words, stays up, keeps no upload, and works in a browser."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from stages.base import params
from stages.base.errors import InputError
from stages.base.files import MANIFEST, RAW
from stages.data import tables
from stages.inference import bundle
from stages.inference.bundle import Bundle, Prediction
from stages.tools import app
from tests.faults import trained
from tests.test_train import N_DIMS, RATE_HZ, syllables

pytest.importorskip("tf2onnx", reason="needs the extra `export`")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained workspace with recordings and a bundle."""
    from stages.export import folder

    work, before = tmp_path_factory.mktemp("run"), Path.cwd()
    os.chdir(work)
    try:
        trained.leave(work, "svm", features__mfcc__n_mfcc=N_DIMS, train__fold="all")
        for path in tables.read(MANIFEST, tables.MANIFEST)["path"]:
            (RAW / path).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(RAW / path, syllables(0.3), RATE_HZ)
        folder.write(params.read(), Path("bundle"))
        return work
    finally:
        os.chdir(before)


@pytest.fixture
def model(work: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    monkeypatch.chdir(work)
    return bundle.load("bundle")


@pytest.mark.parametrize(
    ("name", "samples", "words"),
    [
        ("speech.wav", syllables(1.0), "| emotion | probability |"),
        ("long.wav", np.tile(syllables(1.0), 40), "| emotion | probability |"),
        ("silent.wav", np.zeros(RATE_HZ), "**No answer:** silent"),
    ],
)
def test_an_upload_is_answered(
    model: Bundle, tmp_path: Path, name: str, samples: np.ndarray, words: str
) -> None:
    soundfile.write(tmp_path / name, samples, RATE_HZ)
    model.window_s, model.whole_s = 1.0, 2.0
    text, shown = app.answer(model, str(tmp_path / name))
    assert words in text
    assert 'src="data:image/png;base64,' in shown
    alt = shown.split('alt="')[1].split('"')[0]
    assert ("what each part adds" in alt) == (name == "speech.wav")
    assert ("spectrogram" in alt) == ("No answer" not in text and len(samples) <= app.DETAIL_S * RATE_HZ)


def test_what_is_no_recording_gets_a_sentence(model: Bundle, tmp_path: Path) -> None:
    (tmp_path / "cv.pdf").write_bytes(b"%PDF-1.7 not a sound")
    text, shown = app.answer(model, str(tmp_path / "cv.pdf"))
    assert text.startswith("**This is not a usable recording:** not audio")
    assert shown == ""
    assert app.answer(model, None) == ("", "")
    assert "Upload it again" in app.answer(model, str(tmp_path / "deleted.wav"))[0]


def test_how_sure_an_answer_is_is_said(model: Bundle) -> None:
    probabilities = {"anger": 0.62, "fear": 0.38}
    for status, words in (("answered", "## anger"), ("unsure", "## Not sure, perhaps anger")):
        text = app.words(model, Prediction(0, 1, True, status, "", probabilities))  # type: ignore[arg-type]
        assert text.startswith(words)
        assert "62%" in text
        right = model.how_often_right(0.62)
        assert right is not None and f"right {right:.0%} of the time" in text
    model.facts = model.facts.model_copy(update={"right": [0.0] * 10})
    assert "right 0% of the time" in app.words(model, Prediction(0, 1, True, "answered", "", probabilities))


def test_a_model_that_needs_other_recordings_has_no_page(
    model: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = model.facts.train.model_copy(update={"normalize": "enrol"})
    model.facts = model.facts.model_copy(update={"train": train})
    monkeypatch.setattr(app.chosen, "model", lambda *_: model)
    monkeypatch.setattr("sys.argv", ["app", "--bundle", "bundle"])
    with pytest.raises(InputError, match=r"^app: .*'enrol'"):
        app.main()


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "0.0.0.0", "256.1.1.1", "192.0.2.1", "a..b", "::ffff:192.0.2.1"]
)
def test_an_address_that_cannot_be_served_is_one_sentence(
    model: Bundle, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setattr(app.chosen, "model", lambda *_: model)
    with socket.create_server(("127.0.0.1", 0)) as used:
        number = used.getsockname()[1]
        monkeypatch.setattr("sys.argv", ["app", "--bundle", "bundle", "--host", host, "--port", str(number)])
        with pytest.raises(InputError, match=rf"^app: no page at '{host}', port {number}: .* another --port"):
            app.main()
    app.check_address("127.0.0.1", number)


@pytest.mark.parametrize("wrong", ["0", "-1", "65536", "http"])
def test_a_wrong_port_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    monkeypatch.setattr("sys.argv", ["app", "--port", wrong])
    with pytest.raises(SystemExit):
        app.main()
    assert f"'{wrong}' is not possible. Give a number from 1 to 65535." in capsys.readouterr().err


def test_similar_clips_and_the_lesson_can_be_played(model: Bundle, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", syllables(1.0), RATE_HZ)
    clips = app.training_clips()
    _, shown = app.answer(model, str(tmp_path / "a.wav"), clips)
    assert shown.count('src="data:audio/flac;base64,') == len(model.classes) == 3
    text = app.taught(clips, clips.lesson_names[0])
    assert text.count('src="data:audio/flac;base64,') == 1
    assert text.count("<tr>") == 3 and f"Of {len(clips.lesson_names)} such recordings" in text


@pytest.fixture
def address(model: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Any) -> Iterator[str]:
    """The page's; the parameter is how long it keeps an upload, in s."""
    pytest.importorskip("gradio", reason="needs the extra `app`")
    monkeypatch.setattr(app, "KEPT_S", getattr(request, "param", app.KEPT_S))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    page = app.page(model, app.training_clips())
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, max_file_size=app.LARGEST_UPLOAD)
    yield url
    page.close()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    """A browser whose fake microphone plays `a.wav`, and needs no permission."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if (chromium := shutil.which("chromium") or shutil.which("google-chrome")) is None:
        pytest.skip("needs chromium")
    soundfile.write(tmp_path / "a.wav", syllables(1.0), RATE_HZ)
    (tmp_path / "bad.wav").write_text("no sound")
    arguments = [
        *("--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
        f"--use-file-for-fake-audio-capture={tmp_path / 'a.wav'}",
    ]
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=chromium, args=arguments)
        yield opened
        opened.close()


def upload(page: Any, address: str, path: Path, words: str) -> None:
    page.set_default_timeout(120_000)
    page.goto(address)
    page.wait_for_selector("input[type=file]", state="attached")
    page.set_input_files("input[type=file]", path)
    page.wait_for_selector(f"#answer :text('{words}')")


@pytest.mark.slow
def test_a_hundred_requests_at_once_are_answered(address: str, model: Bundle, tmp_path: Path) -> None:
    client = pytest.importorskip("gradio_client", reason="needs the extra `app`")
    soundfile.write(tmp_path / "a.wav", syllables(1.0), RATE_HZ)
    (tmp_path / "bad.wav").write_text("no sound")
    expected = {name: app.answer(model, str(tmp_path / name)) for name in ("a.wav", "bad.wav")}
    patient = {"timeout": 300}
    caller = client.Client(address, verbose=False, max_workers=100, httpx_kwargs=patient)
    names = ["bad.wav" if number % 4 else "a.wav" for number in range(100)]
    waiting = [caller.submit(client.handle_file(tmp_path / name), api_name="/predict") for name in names]
    answers = [each.result(timeout=300) for each in waiting]
    assert [answer[0] for answer in answers] == [expected[name][0] for name in names]


@pytest.mark.slow
@pytest.mark.parametrize("address", [1], indirect=True)
def test_the_page_works_in_a_browser_and_asks_nobody_else(address: str, browser: Any, tmp_path: Path) -> None:
    page, outside = browser.new_page(), []
    page.on("request", lambda request: outside.append(request.url))
    for name, words in (("a.wav", "probability"), ("bad.wav", "not a usable recording")):
        upload(page, address, tmp_path / name, words)
    page.goto(address)
    page.get_by_label("Record audio").click()
    page.locator("button.record-button").click()
    page.wait_for_timeout(2000)
    page.locator("button.stop-button").first.click()
    page.wait_for_selector("#answer :text('probability'), #answer :text('No answer')")
    assert [url for url in outside if not url.startswith((address, "data:", "blob:"))] == []
    ended = time.monotonic() + 60
    while list((tmp_path / "uploads").rglob("*.wav")):
        assert time.monotonic() < ended, "uploads are kept"
        time.sleep(1)


@pytest.mark.slow
def test_the_page_fits_a_phone_and_needs_no_mouse(address: str, browser: Any, tmp_path: Path) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    upload(page, address, tmp_path / "a.wav", "probability")
    page.wait_for_selector("img[alt*=spectrogram]")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.goto(address)
    page.wait_for_load_state("networkidle")  # before, a key may reach a field that does not listen yet
    before = page.locator("#lesson").inner_text()
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('aria-label')") == "Recording":
            break
    page.wait_for_selector("[role=option]")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_function("text => document.querySelector('#lesson').innerText != text", arg=before)
