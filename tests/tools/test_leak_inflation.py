from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from stages.base import params
from stages.base.errors import InputError
from stages.base.files import MANIFEST
from stages.base.workspace import alone
from stages.data import tables
from stages.data.splits import Splits
from stages.reporting.figures import results
from stages.splitting import protocols
from stages.tools import leak_inflation
from tests.support import long_splits, manifests, shipped
from tests.support.predictions import of_speakers
from tests.support.workspace import Workspace


@pytest.fixture
def chosen(tmp_path: Path) -> Any:
    """Returns a function that gives the shipped parameters with some changed."""

    def change(protocol: str = "random", n_folds: int = 6, fold: Any = "all") -> params.Params:
        values = shipped.values()
        values["corpus"] = ["ravdess"]
        values["split"] |= {"protocol": protocol, "n_folds": n_folds}
        values["train"]["fold"] = fold
        with (tmp_path / "params.yaml").open("w") as file:
            YAML().dump(values, file)
        return params.read(tmp_path / "params.yaml")

    return change


@pytest.mark.parametrize(
    ("protocol", "n_speakers", "expected"),
    [
        ("random", 24, "speaker_independent"),
        ("random", 6, "speaker_independent"),
        ("random", 4, "leave_one_speaker_out"),  # SAVEE: fewer speakers than folds
        ("random", 2, "leave_one_speaker_out"),  # TESS
        ("leave_one_speaker_out", 24, "leave_one_speaker_out"),
        ("fixed", 24, "fixed"),
    ],
)
def test_the_independent_protocol_is_the_chosen_one_or_one_the_corpus_allows(
    chosen: Any, protocol: str, n_speakers: int, expected: str
) -> None:
    manifest = manifests.ravdess()
    unusable = manifest["speaker"].str[-2:].astype(int) > n_speakers
    manifest.loc[unusable, "problem"] = "silent: peak -80.0 dBFS"
    assert leak_inflation.choose_protocol(chosen(protocol), manifest) == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"fold": 2}, r"params\.train\.fold: 2 .* all"),
    ],
)
def test_parameters_with_different_test_clips_are_rejected(
    chosen: Any, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        leak_inflation.choose_protocol(chosen(**values), manifests.ravdess())


def test_a_single_fold_is_rejected(chosen: Any) -> None:
    # The usual official partition. `random` with one fold tests a tenth of the clips, hardly any of these.
    clips = manifests.ravdess().assign(
        partition=lambda table: np.where(table["sex"] == "male", "test", "train")
    )
    clips["label"] = clips["emotion"]
    splits = protocols.assign(clips, chosen("official").split, seed=20)
    with pytest.raises(InputError, match=r"^params\.split\.protocol: 'official' .*one fold"):
        leak_inflation.several_folds("official", splits)
    splits = protocols.assign(clips, chosen("fixed").split, seed=20)
    assert leak_inflation.several_folds("fixed", splits) == 6


def test_only_clips_tested_by_both_are_compared() -> None:
    leaky = of_speakers([4, 4], 4)
    independent = of_speakers([1, 2], 4).iloc[[6, 1, 0, 5]]
    first, second = leak_inflation.on_shared_clips(independent, leaky)
    assert first["clip"].tolist() == second["clip"].tolist() == ["c/0000", "c/0001", "c/0005", "c/0006"]
    with pytest.raises(InputError, match=r"params\.split\.protocol: .*fear.*params\.split\.labels\.drop"):
        leak_inflation.on_shared_clips(independent.drop(columns="p_fear"), leaky)


def test_the_inflation_is_the_difference_computed_by_hand(chosen: Any) -> None:
    independent, leaky = of_speakers([1, 2, 2, 3] * 2, 4), of_speakers([3, 4, 4, 4] * 2, 4)
    scores = leak_inflation.compare(independent, leaky, chosen())
    assert list(scores.index) == ["leaky", "independent", "leak_inflation"]
    # of each 16, 15 and 8 are right; all clips are anger, so recall and accuracy agree
    assert scores["uar"].tolist() == pytest.approx([15 / 16, 8 / 16, 7 / 16])
    assert scores["accuracy"].tolist() == scores["uar"].tolist()
    assert scores.loc["leak_inflation", "uar_low"] > 0
    assert (scores["uar_low"] < scores["uar"]).all()
    table = leak_inflation.markdown(scores.rename({"leaky": "random", "independent": "fixed"})).splitlines()
    assert [line.split("|")[1].strip() for line in table[2:]] == ["random", "fixed", "**leak inflation**"]
    assert "| 0.438 (" in table[4]
    assert results.leak_inflation(scores, 0.125, "svm on c").content.startswith(b"\x89PNG")


def test_both_sides_train_and_validate_on_equally_many_clips(chosen: Any) -> None:
    clips = manifests.ravdess()
    clips = clips.assign(label=clips["emotion"])
    sides = [
        protocols.assign(clips, chosen(protocol).split, seed=20)
        for protocol in ("speaker_independent", "random")
    ]
    kept = [*map(long_splits.rows_of, leak_inflation.equally_many(*sides, seed=20))]
    shuffled = [Splits(side.clips.sample(frac=1, random_state=1)) for side in sides]
    sides = [*map(long_splits.rows_of, sides)]
    before, after = ([side.groupby(["fold", "role"]).size() for side in each] for each in (sides, kept))
    assert not before[0].equals(before[1])
    for role in ("train", "validation"):
        first, second = (counts.xs(role, level="role") for counts in after)
        assert first.equals(second)
        assert first.equals(pd.concat([c.xs(role, level="role") for c in before], axis=1).min(axis=1))
    for side, rest in zip(sides, kept, strict=True):
        assert set(rest.loc[rest["role"] == "test", "clip"]) == set(side.loc[side["role"] == "test", "clip"])
        assert len(rest.merge(side)) == len(rest)
    again = map(long_splits.rows_of, leak_inflation.equally_many(*shuffled, seed=20))
    for rest, other in zip(kept, again, strict=True):
        pd.testing.assert_frame_equal(rest, other.sort_values(["fold", "clip"], ignore_index=True))


def test_a_failing_stage_is_reported_and_params_stay(workspace: Workspace) -> None:
    before = (workspace.folder / "params.yaml").read_bytes()
    with pytest.raises(InputError, match=r"^data/leak_inflation/random: .*stages\.split"):
        leak_inflation.assign("random")
    assert (workspace.folder / "params.yaml").read_bytes() == before


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A folder, the current one, with parameters and without a manifest."""
    monkeypatch.chdir(tmp_path)
    return Workspace(tmp_path)


def test_one_speaker_gives_no_interval(chosen: Any) -> None:
    alone: pd.DataFrame = of_speakers([2], 4)
    with pytest.raises(InputError, match="c/00 is the only test speaker"):
        leak_inflation.compare(alone, alone, chosen())


def test_two_at_once_are_refused(chosen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    chosen()
    monkeypatch.setattr("sys.argv", ["leak_inflation"])
    with alone(leak_inflation.WORK), pytest.raises(InputError, match=r"^data/leak_inflation: "):
        leak_inflation.main()


def test_what_is_trained_stays_until_the_result_is_written(
    chosen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    chosen()
    predictions = of_speakers([2], 4)  # of one speaker: there is no interval

    def predict(protocol: str, splits: None) -> pd.DataFrame:
        (leak_inflation.WORK / protocol).mkdir(exist_ok=True)
        return predictions

    monkeypatch.setattr("sys.argv", ["leak_inflation"])
    monkeypatch.setattr(leak_inflation.workspace, "reproduce", lambda *_, **options: None)
    monkeypatch.setattr(leak_inflation, "choose_protocol", lambda *_: "speaker_independent")
    monkeypatch.setattr(leak_inflation, "assign", lambda *_, **changes: None)
    monkeypatch.setattr(leak_inflation, "several_folds", lambda *_: 6)
    monkeypatch.setattr(leak_inflation, "equally_many", lambda *_: (None, None))
    monkeypatch.setattr(leak_inflation, "predict", predict)
    manifest = tables.typed(manifests.ravdess(), tables.MANIFEST)
    tables.write(manifest, tables.MANIFEST, MANIFEST)
    with pytest.raises(InputError, match="c/00 is the only test speaker"):
        leak_inflation.main()
    trained = {path.name for path in leak_inflation.WORK.glob("*/")}
    assert trained == {"speaker_independent", "random"}
