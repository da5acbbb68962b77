from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from stages.audio.spectrum import Spectrum
from stages.learning import live
from stages.reporting.figures import data, results, search, sound, style
from stages.reporting.figures.style import Picture
from tests.support import shipped
from tests.support.workspace import RATE_HZ, voice

SETTINGS = shipped.read().spectrum
BINS = pd.DataFrame({"confidence": [0.4, 0.8], "accuracy": [0.5, 0.6], "n_clips": [3, 9]})
HISTORY = pd.DataFrame(
    {
        "fold": [0, 0, 1],
        "seed": 20,
        "epoch": [0, 1, 0],
        "loss": [1.0, 0.5, 0.9],
        "val_loss": 1.0,
        "val_uar": 0.4,
    }
)
SCORES = pd.DataFrame(
    {"uar": [0.8, 0.5, 0.3], "uar_low": [0.7, 0.4, 0.2], "uar_high": [0.9, 0.6, 0.4]},
    index=["random", "speaker_independent", "leak_inflation"],
)
TRIALS = pd.DataFrame(
    {
        "trial": [1, 2, 3],
        "uar": [0.4, np.nan, 0.5],
        "c": [10.0, 1.0, 0.2],
        "gamma": ["scale", "auto", "scale"],
        "n_mfcc": [40, 13, 20],
    }
)
SEARCHED: dict[str, tuple[search.Scale, list[Any]]] = {
    "c": ("log", [0.1, 100.0]),
    "gamma": ("choice", ["scale", "auto"]),
    "n_mfcc": ("linear", [13, 40]),
}
CLIPS = pd.DataFrame(
    {
        "corpus": ["a", "a", "b"],
        "channel": ["speech", "song", "speech"],
        "emotion": ["anger", "fear", "anger"],
        "sex": ["female", "male", "male"],
        "duration_s": [1.0, 2.0, 3.5],
    }
)


def voices(n: int) -> dict[str, Spectrum]:
    return {f"emotion {i}": Spectrum(voice("s", i).astype(np.float32), RATE_HZ, SETTINGS) for i in range(n)}


def speakers(n: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "speaker": [f"{i:02}" for i in range(n)],
            "sex": ["female", "male"] * (n // 2) + ["female"] * (n % 2),
            "uar": np.linspace(0.2, 0.9, n),
        }
    )


def sexes(listeners: float, low: float = 0.4) -> pd.DataFrame:
    columns = {"uar": 0.5, "uar_low": low, "uar_high": low + 0.2, "listeners": listeners}
    return pd.DataFrame(columns, index=["all", "female"])


DRAWN: dict[str, Callable[[], Picture]] = {
    "confusion_counts": lambda: results.confusion(
        np.array([[3, 1], [0, 0]]), ["anger", "fear"], normalized=False
    ),
    "confusion_normalized": lambda: results.confusion(
        np.array([[3, 1], [0, 2]]), ["anger", "fear"], normalized=True
    ),
    "speakers": lambda: results.speakers(speakers(5), 0.25),
    "speakers_many": lambda: results.speakers(speakers(91), 0.25),
    "speakers_one": lambda: results.speakers(speakers(1), 0.25),
    "sexes": lambda: results.sexes(sexes(0.6), 0.25),
    "sexes_without_interval": lambda: results.sexes(sexes(np.nan, np.nan), 0.25),
    "reliability": lambda: results.reliability(BINS, 0.1),
    "enrolment": lambda: results.enrolment(SCORES.reset_index(drop=True).assign(clips=[0, 1, 2])),
    "risk_coverage": lambda: results.risk_coverage(
        pd.DataFrame({"coverage": [0.5, 1.0], "risk": [0.2, 0.4]})
    ),
    "learning_curves": lambda: results.learning_curves(HISTORY),
    "learning_curves_unvalidated": lambda: results.learning_curves(
        HISTORY.assign(val_loss=np.nan, val_uar=np.nan)
    ),
    "leak": lambda: results.leak_inflation(SCORES, 0.125, "svm on a"),
    "search": lambda: search.search(TRIALS, 3, SEARCHED),
    "search_one": lambda: search.search(TRIALS[:1], 1, SEARCHED),
    "emotions": lambda: data.emotions(CLIPS),
    "durations": lambda: data.durations(CLIPS),
    "waveforms": lambda: sound.waveforms(voices(3)),
    "spectrograms": lambda: sound.spectrograms(voices(1)),
    "log_mels": lambda: sound.log_mels(voices(4)),
    "mfccs": lambda: sound.mfccs(voices(2), 4),
    "pair": lambda: sound.beside(voices(2), "pair", "A pair\nof voices"),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_has_an_alternative_text_and_nothing_cut_off(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[Figure] = []
    savefig = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *a, **k: (saved.append(figure), savefig(figure, *a, **k))
    )
    drawn = DRAWN[name]()
    for box in (axes.get_tightbbox() for axes in saved[0].axes if axes.get_visible()):
        edges = box.transformed(saved[0].transFigure.inverted()).extents
        assert edges.min() >= 0 and edges.max() <= 1
    assert drawn.title
    assert len(drawn.alt) > len(drawn.title)
    assert "nan" not in drawn.alt
    assert "\n" not in drawn.alt
    assert drawn.alt.endswith(".")
    if drawn.suffix == "svg":
        root = ET.fromstring(drawn.content)
        assert float(root.attrib["width"].removesuffix("pt")) / 72 == pytest.approx(
            drawn.width_px / 96, rel=0.01
        )
    else:
        assert drawn.content.startswith(b"\x89PNG")
    assert drawn.uri.startswith(f"data:image/{drawn.suffix}")


@pytest.mark.parametrize("name", ["speakers", "leak", pytest.param("log_mels", marks=pytest.mark.slow)])
def test_a_figure_is_the_same_under_another_users_style(name: str) -> None:
    before = DRAWN[name]().content
    with matplotlib.rc_context(
        {"font.size": 30, "lines.linewidth": 9, "svg.hashsalt": "other", "axes.grid": True}
    ):
        assert DRAWN[name]().content == before


def test_a_name_is_not_parsed_as_mathematics() -> None:
    named = speakers(2).assign(speaker=["cost_$5$ \\frac", "$x^"])
    results.speakers(named, 0.25)
    data.emotions(CLIPS.assign(corpus="a_$\\undefined$"))
    sound.waveforms({"$_$": voices(1)["emotion 0"]})


def test_letters_that_no_font_has_are_one_warning(
    caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    style._warn_of_letters.cache_clear()

    @style.styled
    def draw() -> Picture:
        figure, (axes,) = style.canvas(2)
        axes.set_title("\ue000\ue001")  # for private use
        return style.picture(figure, "name", "title", "alt")

    draw()
    draw()
    assert len(caplog.records) == 1
    assert "install" in caplog.text
    assert not recwarn.list


def test_fonts_of_other_scripts_are_used_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert style.fonts()[0] == "DejaVu Sans"
    names = ["Arial", "Noto Sans CJK JP", "DejaVu Sans"]
    monkeypatch.setattr(style.font_manager, "get_font_names", lambda: names)
    assert style.fonts() == ["DejaVu Sans", "Noto Sans CJK JP"]


def test_drawing_leaves_the_users_style_alone() -> None:
    before = dict(matplotlib.rcParams)
    DRAWN["leak"]()
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    ("name", "mark"),
    [
        ("sexes", "<pattern"),
        ("emotions", "<pattern"),
        ("learning_curves", "stroke-dasharray"),
        ("durations", "stroke-dasharray"),
    ],
)
def test_hatches_and_dashes_distinguish_what_colours_do(name: str, mark: str) -> None:
    assert mark in DRAWN[name]().content.decode()


def test_the_alternative_text_of_a_confusion_matrix_names_the_most_frequent_error() -> None:
    drawn = results.confusion(
        np.array([[3, 1, 2], [0, 4, 0], [0, 0, 0]]), ["anger", "fear", "joy"], normalized=False
    )
    assert drawn.alt == (
        "Confusion matrix, number of clips. anger: 3 of 6 correct, 2 predicted as joy; fear: 4 of 4 correct."
    )


def test_hints_are_escaped() -> None:
    named = ["<anger>", "fear"]
    drawn = results.confusion(np.array([[3, 1], [0, 2]]), named, normalized=True)
    titles = [title.text for title in ET.fromstring(drawn.content).iter("{http://www.w3.org/2000/svg}title")]
    assert titles[1] == "<anger>: 1 of 4 predicted as fear"
    assert len(titles) == 4
    assert drawn.inline.startswith("<svg ")


def test_the_figure_of_leak_inflation_describes_both_scores_and_chance() -> None:
    assert DRAWN["leak"]().alt == (
        "Same model and features: svm on a. UAR 0.80 under random, 0.50 under speaker independent, "
        "chance 0.125."
    )


def test_the_figure_of_a_search_counts_scored_trials_and_names_the_best() -> None:
    assert DRAWN["search"]().alt == (
        "Validation UAR of 2 trials; the best is 0.500, of trial 3: c 0.2, gamma scale, n_mfcc 20."
    )


def test_the_mean_of_learning_curves_ends_where_the_first_fold_stops() -> None:
    axes = Figure().subplots()
    results._curves(axes, HISTORY, "loss", style.INK, "-", "training")
    *folds, mean = (line.get_xydata()[~np.isnan(line.get_ydata())].tolist() for line in axes.lines)
    assert folds == [[[0, 1.0], [1, 0.5]], [[0, 0.9]]]
    assert mean == [[0, 0.95]]


def test_the_mean_of_dvc_plots_is_of_finished_folds_and_ends_where_the_first_stopped() -> None:
    folds, mean = json.loads((shipped.ROOT / ".dvc" / "plots" / "folds.json").read_text())["layer"]
    assert "transform" not in folds
    finished, last, first_stop, kept = mean["transform"]
    # else the mean would jump while a fold is in training
    assert finished["filter"] == f"datum.{live.FINISHED} != 0"
    assert last["groupby"] == ["rev", "fold", "seed"]
    assert first_stop["groupby"] == ["rev"]
    assert last["joinaggregate"] == [{"op": "max", "field": "<DVC_METRIC_X>", "as": "last"}]
    assert first_stop["joinaggregate"] == [{"op": "min", "field": "last", "as": "first_stop"}]
    assert kept["filter"] == "datum['<DVC_METRIC_X>'] <= datum.first_stop"


@pytest.mark.parametrize("name", ["speakers", "sexes", "reliability", "learning_curves", "emotions"])
def test_a_legend_is_outside_the_axes(name: str) -> None:
    groups = ET.fromstring(DRAWN[name]().content).iter("{http://www.w3.org/2000/svg}g")
    inside = {
        child.get("id") for group in groups if group.get("id", "").startswith("axes") for child in group
    }
    assert not any(str(child).startswith("legend") for child in inside)
    assert b'id="legend_1"' in DRAWN[name]().content
