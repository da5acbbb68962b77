"""The cross-corpus matrix: what is run, what is read from it, and that the page shows the stored results."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmark.cross_corpus import cells, matrix, plan
from benchmark.cross_corpus.cells import Cell
from benchmark.published.overlay import Experiment
from stages.base.errors import InputError
from stages.base.files import PREDICTIONS
from stages.data import tables
from tests.support import shipped
from tests.support.predictions import predictions

ROOT = Path(__file__).resolve().parents[2]
BASE = shipped.values()
PAGE = (ROOT / "docs" / "cross_corpus.md").read_text()


def test_every_pair_all_corpora_and_each_alone_are_run_by_every_normalisation() -> None:
    found = plan.experiments(["ravdess", "tess", "demo"], BASE)
    params = [each.params() for each in found]
    assert params[0].corpus == ["ravdess", "tess", "demo"]  # computes what the others start from
    runs = {(*each.corpus, each.split.protocol) for each in params}
    assert len(runs) == 1 + 3 + 2 * 3
    assert len(found) == len({each.name for each in found}) == len(runs) * len(plan.NORMALIZATIONS)
    assert {each.train.normalize for each in params} == set(plan.NORMALIZATIONS)


@pytest.mark.parametrize("corpora", [["ravdess"], ["ravdess", "ravdess"], []])
def test_fewer_than_two_corpora_are_refused(corpora: list[str]) -> None:
    with pytest.raises(InputError, match="two or more different corpora"):
        plan.experiments(corpora, BASE)


def predicted(corpora: dict[str, float]) -> pd.DataFrame:
    """Returns predictions of four speakers a corpus, ten clips each; that fraction of them is right."""
    of_corpora = []
    for corpus, right in corpora.items():
        truth = ["anger", "fear"] * 20
        guess = [label if number % 10 < 10 * right else "neutral" for number, label in enumerate(truth)]
        clips = [f"{corpus}/{number:02}" for number in range(40)]
        speakers = [f"{corpus}/{number // 10}" for number in range(40)]
        of_corpora.append(predictions(truth, guess, corpus=corpus, clip=clips, speaker=speakers))
    return pd.concat(of_corpora, ignore_index=True)


def run(tmp_path: Path, corpora: dict[str, float], protocol: str) -> list[Cell]:
    (tmp_path / PREDICTIONS).parent.mkdir(parents=True, exist_ok=True)
    tables.write(predicted(corpora), tables.PREDICTIONS, tmp_path / PREDICTIONS)
    values = {**BASE, "corpus": [*corpora], "split": {"protocol": protocol}}
    experiment = Experiment(plan.NAME, "+".join(corpora), protocol, values)
    return cells.of_run(experiment, tmp_path)


def test_a_run_on_a_pair_gives_both_directions(tmp_path: Path) -> None:
    first, second = run(tmp_path, {"a": 0.8, "b": 0.6}, "cross_corpus")
    assert (first.train, first.test, second.train, second.test) == ("b", "a", "a", "b")
    assert (first.uar, second.uar, first.chance) == (pytest.approx(0.8), pytest.approx(0.6), 0.5)
    assert first.gain == pytest.approx(0.6)
    assert (first.n_clips, first.n_speakers, first.labels) == (40, 4, "anger+fear+neutral")
    assert first.uar_low <= first.uar <= first.uar_high


def test_what_is_written_is_read_and_shown(tmp_path: Path) -> None:
    found = run(tmp_path, {"a": 0.8, "b": 0.6}, "cross_corpus")
    for corpus in "ab":
        for protocol in plan.WITHIN:
            found += run(tmp_path, {corpus: 0.9}, protocol)
    cells.write(found, tmp_path / "results.csv")
    read = cells.read(tmp_path / "results.csv")
    assert [cell.text for cell in read] == [cell.text for cell in found]
    lines = matrix.markdown(read).splitlines()
    assert [line for line in lines if line.startswith("| a |")] == [
        "| a | **90 [90, 90]**, chance 50 | 60 [60, 60], chance 50 |"
    ]
    assert [line for line in lines if "random" in line] == [
        "| the test corpus, random clips (leaks) | 90 [90, 90], chance 50 | 90 [90, 90], chance 50 |"
    ]
    drawn = matrix.draw(read)
    assert drawn.content.startswith(b"\x89PNG")
    assert "a to b" in drawn.alt


def test_the_page_shows_the_stored_results() -> None:
    assert matrix.markdown(cells.read(ROOT / cells.RESULTS)) in PAGE
