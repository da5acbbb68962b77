from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from stages.base.errors import InputError
from stages.data import tables
from stages.data.splits import Splits
from stages.splitting import protocols
from tests.support import long_splits, manifests, shipped

SPLIT = shipped.read().split


def described(n: int) -> pd.DataFrame:
    """Returns clips with what the table of splits says of them, without their roles."""
    names = pd.Series([f"c/{number:03}" for number in range(n)])
    clips = pd.DataFrame({"clip": names, "corpus": "c", "speaker": names, "sex": "female", "sentence": "c/s"})
    return clips.assign(label="anger", sha256="of " + names, audio_sha256="of " + names)


def n_runs(splits: Splits) -> int:
    return int(splits.clips["roles"].str.count(" ").add(1).sum())


tables_of_roles = arrays.arrays(
    object, st.tuples(st.integers(1, 7), st.integers(1, 6)), elements=st.sampled_from([*tables.ROLES, ""])
)


@given(tables_of_roles)
@settings(max_examples=25)
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, roles: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "splits.parquet"
    clips = described(roles.shape[1])
    clips.attrs["made_with"] = {"seed": 20}
    Splits.of(clips, roles).write(path)
    found = Splits.read(path)
    assert found.clips.attrs == {"made_with": {"seed": 20}}
    used = (roles != "").any(axis=0)
    pd.testing.assert_frame_equal(found.clips.drop(columns="roles"), clips[used].reset_index(drop=True))
    assert found.n_folds == (len(roles) if used.any() else 0)
    for number, rows in enumerate(found):
        expected = dict(zip(clips["clip"], roles[number], strict=True))
        assert dict(zip(rows["clip"], rows["role"], strict=True)) == {c: r for c, r in expected.items() if r}
        tested = found.fold(number, "test")
        pd.testing.assert_frame_equal(tested, rows[rows["role"] == "test"])


@pytest.mark.parametrize("protocol", protocols.PROTOCOLS)
def test_the_rows_of_each_fold_are_the_protocols(protocol: str, tmp_path: Path) -> None:
    clips = manifests.ravdess()
    if protocol == "cross_corpus":
        clips = pd.concat([clips, manifests.savee()])
    clips = clips[clips["emotion"].isin(["anger", "fear"])].assign(label=lambda table: table["emotion"])
    rank = clips["speaker"].rank(method="dense").astype(int)
    clips["session"] = clips["corpus"] + "/" + (rank % 3).astype(str)
    clips["group"] = clips["session"]
    clips["partition"] = rank.map(lambda n: ["train train", "test validation", "validation test"][n % 3])
    clips = clips.sort_values("clip", ignore_index=True)
    names = clips["speaker"].str.partition("/")[2].unique()
    listed = {"drawn": [" ".join(names[fold::3]) for fold in range(3)]}
    split = SPLIT.model_copy(
        update={"protocol": protocol, "n_folds": 3, "fixed_list": "drawn", "lists": listed}
    )
    expected = [
        clips.assign(fold=fold, role=roles)[roles != ""]
        for fold, roles in enumerate(protocols.PROTOCOLS[protocol](clips, split, 20))
    ]
    protocols.assign(clips, split, 20).write(tmp_path / "splits.parquet")
    rows = long_splits.read(tmp_path / "splits.parquet")
    pd.testing.assert_frame_equal(rows, pd.concat(expected, ignore_index=True)[long_splits.COLUMNS])


@pytest.mark.parametrize(
    "roles",
    [
        "",
        "train*3",
        "train*2 trial*2",
        "train*-1 test*5",
        "train*4 test*0",
        "train*4 ",
        "train * 4",
        "4*train",
    ],
)
@pytest.mark.parametrize("columns", [None, ["clip", "roles"]])
def test_damaged_roles_are_refused_with_their_clip(
    roles: str, columns: list[str] | None, tmp_path: Path
) -> None:
    path = tmp_path / "splits.parquet"
    table = described(4).assign(roles=["train*3 test*1", roles, "test*1 train*3", "out*4"])
    table.to_parquet(path)
    with pytest.raises(InputError) as error:
        Splits.read(path, columns)
    assert str(path) in str(error.value)
    assert f"'roles' of {table['clip'][1]}:" in str(error.value)
    assert repr(roles) in str(error.value)


@pytest.mark.parametrize("fraction", [0.0, 0.25])
def test_one_speaker_at_a_time_takes_as_much_room_for_each_speaker(fraction: float) -> None:
    split = SPLIT.model_copy(update={"protocol": "leave_one_speaker_out", "validation_fraction": fraction})
    for n in (8, 16, 64):
        clips = described(n).assign(label=np.where(np.arange(n) % 2, "anger", "fear"))
        splits = protocols.assign(clips, split, 20)
        assert splits.n_folds == len(splits.clips) == n
        assert n_runs(splits) <= 5 * n
