from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.image import imread

from stages import manifest, report
from stages.base import params
from stages.base.errors import InputError
from stages.base.files import CORPORA, PREDICTIONS
from stages.corpora import demo
from stages.evaluation import metrics
from stages.inference import workspace
from stages.learning import trained_fold
from stages.reporting import finished_run, notices, page, robustness
from stages.reporting.figures.style import Picture
from tests.support import runs

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NEEDS_CHROMIUM = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, which is not installed")
VOID = {"br", "hr", "img", "input", "link", "meta", "wbr"}
FIGURES = {
    "confusion_counts",
    "confusion_normalized",
    "speakers",
    "sexes",
    "reliability",
    "risk_coverage",
    "emotions",
    "durations",
}
SOUNDS = {"waveforms", "spectrograms", "log_mels", "mfccs"}
EXTRAS = {"learning_curves", "speech_song", "augmented"}
HEAD = "fold,seed,epoch,loss,val_loss,val_uar,learning_rate,finished\n"
EPOCH = "0,20,0,0.5,0.6,0.5,0.001,1\n"
FULL = {"split__protocol": "random", "train__normalize": "speaker"}

# A window cannot be as narrow as a phone's, a frame can. The page in it reports its layout, and the
# title of the outer page passes it on to `--dump-dom`.
PROBE = """<script>addEventListener("load", () => setTimeout(() => {
  const drawn = [...document.querySelectorAll("figure img, .inline svg")];
  const sizes = drawn.map(i => [i.naturalWidth ?? i.clientWidth, i.clientWidth, i.clientHeight]);
  const players = [...document.querySelectorAll("audio")].map(a => a.error ? a.error.message : a.duration);
  const width = [document.documentElement.scrollWidth, innerWidth];
  const cut = [...document.querySelectorAll(".scroll")].filter(t => t.scrollWidth > t.clientWidth);
  const scrolled = cut.map(table => table.ariaLabel);
  const right = element => Math.round(element.getBoundingClientRect().right);
  const grids = [...document.querySelectorAll(".figures")];
  const unfilled = grids.filter(grid => right(grid.lastElementChild) < right(grid)).length;
  parent.postMessage(JSON.stringify({sizes, players, width, scrolled, unfilled}), "*");
}, 500))</script>"""
FRAME = """<!DOCTYPE html><title></title><script>
addEventListener("message", message => document.title = message.data)
</script><iframe src="probed.html" style="border: 0; width: {width_px}px; height: 2000px"></iframe>"""


class Page(HTMLParser):
    """The elements of a page, each a name and its attributes; and those still open."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: dict[str, str] = {}
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.text[self.open[-1]] = self.text.get(self.open[-1], "") + data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def classes(self) -> list[str]:
        return [str(attributes.get("class")) for _, attributes in self.elements]


def make(folder: Path, full: bool, **changes: object) -> Path:
    """Returns the report of a made-up run."""
    runs.leave(folder, full=full, **changes)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        report.main()
    return folder / report.REPORT


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("plain"), full=False)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("full"), full=True, **FULL)


@pytest.fixture(params=["plain", "full"])
def html(request: pytest.FixtureRequest) -> str:
    path: Path = request.getfixturevalue(request.param)
    return path.read_text()


def test_every_figure_has_a_title_an_alternative_text_and_a_caption(html: str) -> None:
    shown = Page(html)
    assert not shown.open
    images = shown.all("img")
    inline = [each for each in shown.all("div") if each.get("role") == "img"]
    assert len(inline) == 3  # both confusion matrices and the speakers
    images += [{"alt": each["aria-label"], "title": "on each cell or mark"} for each in inline]
    assert len(images) == len(shown.all("figure")) == len(shown.all("figcaption"))
    for image in images:
        assert len(str(image["alt"])) > 40
        assert image["title"]
        assert "nan" not in str(image["alt"])
    assert len({image["alt"] for image in images}) == len(images)


def test_the_page_shows_the_figures_of_its_run(plain: Path, full: Path) -> None:
    shown = {path: {f["id"] for f in Page(path.read_text()).all("figure")} for path in (plain, full)}
    assert shown[plain] == FIGURES | SOUNDS
    assert shown[full] == FIGURES | SOUNDS | EXTRAS
    assert "listeners" in full.read_text()
    assert "listeners" not in plain.read_text()
    assert "is not trained in epochs" in plain.read_text()


def test_the_page_loads_nothing_from_elsewhere(html: str) -> None:
    shown = Page(html)
    assert not shown.all("script")
    for tag, attributes in shown.elements:
        for name in ("src", "srcset", "data", "poster", "background"):
            assert str(attributes.get(name, "data:")).startswith("data:"), (tag, name)
        if tag == "link":
            assert str(attributes["href"]).startswith("data:")
    assert "url(" not in shown.text["style"]
    assert "@import" not in shown.text["style"]


def test_the_page_is_accessible_to_screen_readers(html: str) -> None:
    shown = Page(html)
    assert shown.all("html")[0]["lang"] == "en"
    assert len(shown.all("h1")) == 1
    assert len(shown.all("caption")) == len(shown.all("table"))
    assert all(cell["scope"] in ("col", "row") for cell in shown.all("th"))
    assert all(player["aria-label"] for player in shown.all("audio"))
    targets = {attributes.get("id") for _, attributes in shown.elements}
    assert {str(link["href"])[1:] for link in shown.all("a") if str(link["href"]).startswith("#")} <= targets


def test_on_paper_no_caption_is_alone_and_details_are_open(html: str) -> None:
    printed = Page(html).text["style"].split("@media print")[1]
    assert "orphans: 3; widows: 3" in printed
    assert "h2, h2 + p, caption, summary { break-after: avoid; }" in printed
    assert "details::details-content { content-visibility: visible; block-size: auto; }" in printed


def test_a_leaky_protocol_has_an_alarm(plain: Path, full: Path) -> None:
    honest, leaky = Page(plain.read_text()), Page(full.read_text())
    assert "notice plain" in honest.classes()
    assert "Not leaky" in honest.text["strong"]
    assert "notice alarm" not in honest.classes()
    assert "notice alarm" in leaky.classes()
    assert "LEAKY" in leaky.text["strong"]
    assert "Needs many clips of each new speaker" in leaky.text["strong"]


def test_a_synthetic_corpus_has_a_notice(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Synthetic" not in plain.read_text()
    monkeypatch.chdir(plain.parent.parent)
    done = finished_run.read(report.read())
    done = dataclasses.replace(done, corpora={"demo": manifest.about(demo)})
    assert [notice.head for notice in notices.of_run(done)] == ["Not leaky", "Synthetic speech: demo"]


def test_own_corpora_need_no_citation_and_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.leave(tmp_path, full=False, corpora=("ravdess", "tess"))
    about = json.loads((tmp_path / CORPORA).read_text())["ravdess"] | {"licence": "ours"}
    own = about | {"title": "Calls", "url": "", "citation": ""}
    cited = about | {"title": "Talks", "url": "https://example.org", "citation": "A. Author (2020)."}
    (tmp_path / CORPORA).write_text(json.dumps({"ravdess": own, "tess": cited}))
    monkeypatch.chdir(tmp_path)
    report.main()
    lines = re.findall(r"<li>(.*)</li>", report.REPORT.read_text().split("Corpora:")[1])
    assert lines == [
        "Calls. Licence: ours.",
        '<a href="https://example.org">Talks</a>. A. Author (2020). Licence: ours.',
    ]


def test_the_numbers_are_those_of_the_metrics(plain: Path) -> None:
    test = json.loads((plain.parent / "test.json").read_text())
    html = plain.read_text()
    for name in ("uar", "accuracy"):
        assert f"<b>{test[name]:.3f}</b>" in html
        assert f"95 % interval {test[f'{name}_low']:.3f} to {test[f'{name}_high']:.3f}" in html
    for emotion, recall in test["recall"].items():
        assert f'<th scope="row">{emotion}</th><td>{recall:.3f}</td>' in html


def test_robustness_is_shown_of_these_models_only(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Robustness" not in plain.read_text()
    page = shutil.copytree(plain.parents[1], tmp_path / "run") / "metrics" / plain.name
    monkeypatch.chdir(tmp_path / "run")
    measured = {"uar": 0.123, "lost": 0.456, "warned": 0.25, "abstained": 0.0}
    written = {"n_clips": 9, "n_speakers": 3, "conditions": {"-20 dB": measured}}
    origin = finished_run.read(params.read()).predictions.attrs
    for changes, shown in (({}, True), ({"models": {"0": "another"}}, False)):
        made_from = robustness.made_from(origin | changes, params.read())
        robustness.FILE.write_text(json.dumps(written | {"made_from": made_from}))
        report.main()
        row = '<th scope="row">-20 dB</th><td>0.123</td><td>0.456</td><td>25%</td><td>0%</td>'
        assert (row in page.read_text()) == ('href="#robustness"' in page.read_text()) == shown


def test_cells_of_the_confusion_matrices_and_marks_of_speakers_have_hints(plain: Path) -> None:
    shown = Page(plain.read_text())
    groups = [str(group.get("id")) for group in shown.all("g")]
    assert sum("-cell-" in name for name in groups) == 2 * 16
    n_speakers = sum("-speaker-" in name for name in groups)
    assert n_speakers == len(pd.read_parquet(plain.parents[1] / PREDICTIONS)["speaker"].unique())
    assert len(shown.all("title")) == 1 + 2 * 16 + n_speakers
    assert "anger: 2 of 8 predicted as fear" in shown.text["title"]
    ids = [attributes["id"] for _, attributes in shown.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_means_over_corpora_belong_to_their_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"split__protocol": "cross_corpus", "train__seed": 21}
    runs.leave(tmp_path, full=False, corpora=("ravdess", "tess"), **changes)
    monkeypatch.chdir(tmp_path)
    run = finished_run.read(params.read())
    assert run.test["uar"] != pytest.approx(metrics.scores(run.predictions)["uar"], abs=1e-3)
    score = workspace.score(run.params, trained_fold.read_records(run.params))
    assert score is not None
    assert score.uar == run.test["uar"]


@pytest.mark.slow
def test_several_training_seeds_have_their_standard_deviation(tmp_path: Path) -> None:
    path = make(tmp_path, full=False, train__n_seeds=3)
    seeds = json.loads((path.parent / "test.json").read_text())["seeds"]
    said = " ".join(path.read_text().split())
    mean, deviation = (f"{seeds[name]:.3f}" for name in ("uar_mean", "uar_std"))
    assert f"UAR over 3 training seeds: mean {mean}, standard deviation {deviation}." in said
    assert "3 trainings of each fold, with the seeds 20 to 22" in said


def test_epochs_validated_in_bfloat16_are_said_to_be(full: Path) -> None:
    assert "computed in bfloat16" in full.read_text()


@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes(full: Path, tmp_path: Path) -> None:
    again = make(tmp_path, full=True, **FULL)
    assert again.read_bytes() == full.read_bytes()
    for figure in sorted((full.parent / "figures").iterdir()):
        assert (again.parent / "figures" / figure.name).read_bytes() == figure.read_bytes()


@pytest.mark.parametrize("full", [False, True])
def test_the_history_is_read_as_train_wrote_it(full: bool, tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    written = runs.history(3 if full else 0)
    written.to_csv(path, index=False)
    read = finished_run.read_table(path, finished_run.HISTORY, "train")
    assert len(read) == len(written) == (5 if full else 0)
    pd.testing.assert_frame_equal(read, written, check_dtype=full)


CONFLICT = "<<<<<<< HEAD\n{}=======\n{}>>>>>>> theirs\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"missing\. "),
        ("", "not the table that train wrote"),
        ("fold,epoch\n0,0\n", ".*'val_uar'"),
        (CONFLICT.format(HEAD + EPOCH, HEAD + EPOCH), "not the table that train wrote"),
        (HEAD + CONFLICT.format(EPOCH, EPOCH), "not the table that train wrote"),
        (HEAD + EPOCH + CONFLICT.format("", EPOCH), "not the table that train wrote"),
        (HEAD + EPOCH + "0,20,1,0.4,much,0.6,0.001,1\n", ".*much"),
    ],
)
def test_an_invalid_history_is_rejected(content: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=rf"history\.csv: {message}") as rejected:
        finished_run.read_table(path, finished_run.HISTORY, "train")
    assert len(str(rejected.value).splitlines()) == 1
    assert "`dvc repro train`" in str(rejected.value)


@pytest.mark.slow
def test_a_report_without_recordings_does_not_mention_them(full: Path, tmp_path: Path) -> None:
    html = make(tmp_path, full=False, report__n_audio=0).read_text()
    assert not Page(html).all("audio")
    assert "This page contains recordings" not in html
    assert len(Page(full.read_text()).all("audio")) == 5
    assert "This page contains recordings" in full.read_text()


def test_figures_of_an_earlier_run_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("learning_curves", "speakers"):
        report.write_figures([Picture(name, name, name, "svg", b"<svg/>", 1, 1)])
    assert [path.name for path in (tmp_path / report.FIGURES).iterdir()] == ["speakers.svg"]


def test_values_are_escaped(tmp_path: Path) -> None:
    template = tmp_path / "page.html.j2"
    template.write_text("<p>{{ name }}</p>")
    assert page.render(template, name="<script>") == "<p>&lt;script&gt;</p>"


def browser(folder: Path, shown: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            str(CHROMIUM),
            *("--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"),
            *options,
            shown.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"HOME": str(folder)},
    )


@NEEDS_CHROMIUM
@pytest.mark.parametrize("width_px", [390, 768, 1280], ids=["phone", "tablet", "desktop"])
def test_a_browser_shows_every_figure_and_table_and_plays_every_clip(
    full: Path, tmp_path: Path, width_px: int
) -> None:
    (tmp_path / "probed.html").write_text(full.read_text().replace("</head>", f"{PROBE}</head>"))
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.format(width_px=width_px))
    done = browser(tmp_path, frame, "--enable-logging=stderr", "--virtual-time-budget=5000", "--dump-dom")
    assert "CONSOLE" not in done.stderr, done.stderr
    seen = json.loads(Page(done.stdout).text["title"])
    assert len(seen["sizes"]) == len(FIGURES | SOUNDS | EXTRAS)
    assert all(min(size) > 100 for size in seen["sizes"]), seen["sizes"]
    assert len(seen["players"]) == 5
    assert all(0.3 < seconds < 0.7 for seconds in seen["players"]), seen["players"]
    page_px, window_px = seen["width"]
    assert page_px <= window_px == width_px, "the page scrolls sideways"
    assert seen["scrolled"] == [], "a table scrolls sideways"
    assert seen["unfilled"] == 0, "a last row of figures is half empty"


@NEEDS_CHROMIUM
@pytest.mark.parametrize(("scheme", "bright"), [(0, (0.01, 0.2)), (1, (0.6, 0.99))], ids=["dark", "light"])
def test_figures_follow_the_colour_scheme(
    full: Path, tmp_path: Path, scheme: int, bright: tuple[float, float]
) -> None:
    screenshot = tmp_path / "screenshot.png"
    options = (f"--blink-settings=preferredColorScheme={scheme}", "--window-size=1280,6000")
    browser(tmp_path, full, *options, f"--screenshot={screenshot}")
    lightness = imread(screenshot)[..., :3].mean(axis=2)
    low, high = bright
    assert low < (lightness > 0.5).mean() < high
