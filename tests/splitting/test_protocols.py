from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.base.errors import InputError
from stages.base.params import Split, check
from stages.data import tables
from stages.splitting import leak, protocols
from tests.support import long_splits, manifests, shipped

SHIPPED: dict[str, Any] = shipped.values()["split"]


def settings_with(**values: Any) -> Split:
    """Returns the `split` block of params.yaml with other values."""
    return check(Split, SHIPPED | values, "params.split")


def assign(manifest: pd.DataFrame, seed: int = 20, **values: Any) -> pd.DataFrame:
    """Returns the split of `manifest`, with emotions as labels, after the check of schema and leakage."""
    split = settings_with(**values)
    splits = protocols.assign(manifest.assign(label=manifest["emotion"]), split, seed)
    leak.check(splits, split.protocol)
    tables.SPLITS.validate(splits.clips)
    return long_splits.rows_of(splits)


def speakers(splits: pd.DataFrame, role: str) -> list[list[str]]:
    """Returns the sorted names of each fold's speakers of `role`."""
    names = splits[splits["role"] == role].groupby("fold")["speaker"].unique()
    return [sorted(name.partition("/")[2] for name in fold) for fold in names]


def each_is_tested_once(splits: pd.DataFrame, clips: pd.Series) -> bool:
    return sorted(splits.loc[splits["role"] == "test", "clip"]) == sorted(clips)


RAVDESS, TESS, SAVEE, CREMA_D = (
    manifests.ravdess(),
    manifests.tess(),
    manifests.savee(),
    manifests.crema_d(),
)


def test_folds_are_even_over_both_sexes_together() -> None:
    people = [("female", "abcdefg"), ("male", "hijklmn")]  # seven of each for three folds
    clips = pd.DataFrame([{"speaker": name, "sex": sex} for sex, names in people for name in names])
    groups = protocols._balanced_groups(clips, "speaker", "sex", 3, seed=20)
    assert sorted(map(len, groups)) == [4, 5, 5]


def test_two_labels_that_all_corpora_have_are_enough() -> None:
    both = pd.concat([SAVEE, TESS])
    splits = assign(both[both["emotion"].isin(["anger", "fear"])], protocol="cross_corpus")
    assert set(splits["label"]) == {"anger", "fear"}


def test_every_protocol_of_params_has_its_function() -> None:
    assert set(protocols.PROTOCOLS) == set(get_args(Split.model_fields["protocol"].annotation))


def test_the_synthesised_ravdess_has_the_real_file_names(corpora: Path) -> None:
    real = {path.stem for path in (corpora / "ravdess").rglob("*.flac")}
    assert {clip.removeprefix("ravdess/") for clip in RAVDESS["clip"]} == real


def test_speaker_independent_balances_sex_and_clips() -> None:
    splits = assign(RAVDESS, protocol="speaker_independent", n_folds=6)
    assert each_is_tested_once(splits, RAVDESS["clip"])
    tested = splits[splits["role"] == "test"]
    assert (tested.groupby(["fold", "sex"])["speaker"].nunique() == 2).all()
    assert (tested.groupby("fold").size() == 240).all()
    tests, validations = speakers(splits, "test"), speakers(splits, "validation")
    assert validations == [*tests[1:], tests[0]]


def test_speaker_independent_balances_speakers_of_unequal_size() -> None:
    sizes = [70, 50, 40, 30, 30, 20]
    rows = [
        {"corpus": "c", "clip": f"{i}_{j}", "speaker": f"{i}", "sex": "male", "sentence": "s", "emotion": e}
        for i, n_clips in enumerate(sizes)
        for j, e in enumerate(["anger", "fear"] * (n_clips // 2))
    ]
    splits = assign(manifests.manifest(rows), protocol="speaker_independent", n_folds=3)
    # largest first into the smallest group, by hand: 70, 50 + 30, 40 + 30 (+ 20 to the first of 70 and 70)
    assert sorted(splits[splits["role"] == "test"].groupby("fold").size()) == [70, 80, 90]


def test_another_seed_gives_other_groups_and_the_same_seed_the_same() -> None:
    first, again, other = (assign(RAVDESS, seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert not first["role"].equals(other["role"])


def test_leave_one_speaker_out_tests_each_speaker_in_a_fold() -> None:
    splits = assign(RAVDESS, protocol="leave_one_speaker_out", validation_fraction=0.1)
    assert each_is_tested_once(splits, RAVDESS["clip"])
    assert sorted(speakers(splits, "test")) == [[f"{actor:02}"] for actor in range(1, 25)]
    validators = splits[splits["role"] == "validation"].groupby("fold")
    assert (validators["speaker"].nunique() == 2).all()  # 0.1 of 23, rounded
    assert (validators["sex"].nunique() == 2).all()


def test_with_two_speakers_validation_takes_other_sentences_of_the_training_speaker() -> None:
    splits = assign(TESS, protocol="leave_one_speaker_out", validation_fraction=0.1)
    assert each_is_tested_once(splits, TESS["clip"])
    assert sorted(speakers(splits, "test")) == [["OAF"], ["YAF"]]
    assert speakers(splits, "validation") == speakers(splits, "train")
    for _, fold in splits.groupby("fold"):
        words = {role: set(rows["sentence"]) for role, rows in fold.groupby("role")}
        assert len(words["validation"]) == 20
        assert not words["validation"] & words["train"]


@pytest.mark.parametrize("protocol", ["leave_one_speaker_out", "random", "cross_corpus"])
def test_a_validation_fraction_of_zero_gives_no_validation(protocol: str) -> None:
    manifest = pd.concat([SAVEE, TESS]) if protocol == "cross_corpus" else TESS
    splits = assign(manifest, protocol=protocol, validation_fraction=0.0)
    assert set(splits["role"]) == {"train", "test"}


@pytest.mark.parametrize("protocol", ["speaker_independent", "random"])
def test_training_clips_beyond_the_limit_are_left_out_of_each_label_alike(
    protocol: str,
) -> None:
    before, after = (assign(RAVDESS, protocol=protocol, train_clips=most) for most in (None, 300))
    trained = after[after["role"] == "train"]
    assert (trained.groupby("fold").size() == 300).all()
    others = [each[each["role"] != "train"].reset_index(drop=True) for each in (before, after)]
    pd.testing.assert_frame_equal(*others)
    fractions = [
        each[each["role"] == "train"].groupby("fold")["label"].value_counts(normalize=True)
        for each in (before, after)
    ]
    assert (fractions[0] - fractions[1]).abs().max() < 0.01


def test_a_limit_above_the_number_of_training_clips_changes_nothing() -> None:
    pd.testing.assert_frame_equal(assign(RAVDESS), assign(RAVDESS, train_clips=100_000))


@pytest.mark.parametrize(
    ("manifest", "n_folds", "shared"),
    [
        (RAVDESS, 6, {"sentence"}),
        (TESS, 2, {"speaker"}),
        (SAVEE, 4, set()),
        (CREMA_D, 5, set()),
    ],
    ids=["ravdess", "tess", "savee", "crema_d"],
)
def test_speaker_and_text_independent_separates_speakers_and_sentences(
    manifest: pd.DataFrame, n_folds: int, shared: set[str]
) -> None:
    splits = assign(manifest, protocol="speaker_and_text_independent", n_folds=n_folds)
    tested = splits[splits["role"] == "test"]
    assert not tested["clip"].duplicated().any()
    assert set(tested["speaker"]) == set(manifest["speaker"])
    for _, fold in splits.groupby("fold"):
        for column in ("speaker", "sentence"):
            own = {role: set(rows[column]) for role, rows in fold.groupby("role")}
            assert set(own) == set(tables.ROLES)
            assert not own["test"] & (own["train"] | own["validation"])
            assert bool(own["validation"] & own["train"]) == (column in shared)


def test_cross_corpus_tests_each_corpus_on_the_labels_that_all_have(caplog: pytest.LogCaptureFixture) -> None:
    splits = assign(pd.concat([RAVDESS, SAVEE, CREMA_D]), protocol="cross_corpus")
    assert "left out: calm, surprise" in caplog.text
    assert not {"calm", "surprise"} & set(splits["label"])
    tested = splits[splits["role"] == "test"].groupby("fold")["corpus"].unique()
    assert [list(corpora) for corpora in tested] == [["crema_d"], ["ravdess"], ["savee"]]
    validators = splits[splits["role"] == "validation"].groupby("fold")["speaker"].nunique()
    assert list(validators) == [3, 10, 12]  # 0.1 of 24 + 4, 91 + 4, 91 + 24, rounded half to even


def song() -> pd.DataFrame:
    """The same actors' songs, under other names."""
    clips = manifests.ravdess("song")
    renamed = {name: "song of " + clips[name] for name in ("clip", "path", "sha256", "audio_sha256")}
    return clips.assign(**renamed)


def test_train_only_clips_join_the_training_of_every_fold_but_for_its_other_speakers() -> None:
    clips = pd.concat([RAVDESS, song(), TESS])
    extra = {"corpora": ["tess"], "channels": ["song"]}
    splits = assign(clips, protocol="fixed", train_only=extra)
    plain = assign(RAVDESS, protocol="fixed")
    added = ~splits["clip"].isin(RAVDESS["clip"])
    pd.testing.assert_frame_equal(splits[~added].reset_index(drop=True), plain)
    assert set(splits.loc[added, "role"]) == {"train"}
    for fold, rows in splits[added].groupby("fold"):
        own = plain[(plain["fold"] == fold) & (plain["role"] == "train")]
        assert (rows["corpus"] == "tess").sum() == len(TESS)
        assert set(rows.loc[rows["corpus"] == "ravdess", "speaker"]) == set(own["speaker"])
        assert rows.loc[rows["corpus"] == "ravdess", "clip"].str.startswith("song of").all()


def test_train_only_clips_of_a_label_that_is_not_tested_are_left_out_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tested = RAVDESS[RAVDESS["emotion"] != "disgust"]
    splits = assign(pd.concat([tested, TESS]), train_only={"corpora": ["tess"], "channels": []})
    assert "tess" in set(splits["corpus"]) and "disgust" not in set(splits["label"])
    n_left_out = (TESS["emotion"] == "disgust").sum()
    assert f"{n_left_out} of the {len(TESS)} clips of tess" in caplog.text
    assert "disgust" in caplog.text


@pytest.mark.parametrize("n_folds", [2, 5, 10])
def test_random_tests_each_clip_once_and_keeps_the_label_fractions(n_folds: int) -> None:
    splits = assign(RAVDESS, protocol="random", n_folds=n_folds, validation_fraction=0.1)
    assert each_is_tested_once(splits, RAVDESS["clip"])
    counts = splits[splits["role"] == "test"].groupby("fold")["label"].value_counts()
    expected = RAVDESS["emotion"].value_counts() / n_folds
    assert (counts.sub(expected, level="label").abs() < 1).all()


def test_random_with_one_fold_takes_the_given_fractions() -> None:
    # 12 % train, 44 % each validation and test, as one published system splits CREMA-D
    splits = assign(
        RAVDESS, protocol="random", n_folds=1, test_fraction=0.44, validation_fraction=0.44 / 0.56
    )
    assert splits["role"].value_counts().to_dict() == {"test": 634, "validation": 634, "train": 172}


def test_fixed_gives_emobox_ravdess_fold_by_fold() -> None:
    splits = assign(RAVDESS, protocol="fixed", fixed_list="emobox_ravdess")
    folds = [  # Ma et al. 2024, EmoBox
        ["01", "11", "20", "21"],
        ["04", "10", "12", "14"],
        ["08", "09", "19", "23"],
        ["03", "05", "07", "24"],
        ["02", "15", "16", "18"],
        ["06", "13", "17", "22"],
    ]
    assert speakers(splits, "test") == folds
    # a tenth of the 20 other speakers, others in each fold
    validating = speakers(splits, "validation")
    assert [len(own) for own in validating] == [2] * 6
    assert len({tuple(own) for own in validating}) == 6
    assert [len(own) for own in speakers(splits, "train")] == [18] * 6


def test_fixed_without_validation_trains_on_all_who_do_not_test() -> None:
    splits = assign(SAVEE, protocol="fixed", fixed_list="emobox_savee", validation_fraction=0.0)
    assert "validation" not in set(splits["role"])
    assert [len(own) for own in speakers(splits, "train")] == [3] * 4


@pytest.mark.parametrize(("fraction", "n"), [(0.07, 1), (0.08, 2), (0.1, 2), (0.13, 3), (0.99, 19)])
def test_the_number_of_validation_speakers_is_rounded(fraction: float, n: int) -> None:
    # of 20: 1.4, 1.6, 2, 2.6, and not all
    splits = assign(RAVDESS, protocol="fixed", fixed_list="emobox_ravdess", validation_fraction=fraction)
    assert {len(own) for own in speakers(splits, "validation")} == {n}


def test_fixed_gives_emobox_savee_fold_by_fold() -> None:
    splits = assign(SAVEE, protocol="fixed", fixed_list="emobox_savee")
    assert speakers(splits, "test") == [["JE"], ["KL"], ["DC"], ["JK"]]
    # one of three others: none is no validation
    assert [len(own) for own in speakers(splits, "validation")] == [1] * 4
    assert [len(own) for own in speakers(splits, "train")] == [2] * 4


def test_fixed_gives_emosuperb_crema_d_fold_by_fold() -> None:
    splits = assign(CREMA_D, protocol="fixed", fixed_list="emosuperb_crema_d")
    edges = [1001, 1019, 1037, 1055, 1073, 1092]  # Wu et al. 2024, EMO-SUPERB
    blocks = [[str(actor) for actor in range(*ends)] for ends in pairwise(edges)]
    assert speakers(splits, "test") == blocks
    assert [len(own) for own in speakers(splits, "validation")] == [7] * 5  # a tenth of 73 or 72


def test_a_listed_speaker_who_is_absent_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    partial = RAVDESS[RAVDESS["speaker"] != "ravdess/11"]
    splits = assign(partial, protocol="fixed", fixed_list="emobox_ravdess")
    assert speakers(splits, "test")[0] == ["01", "20", "21"]
    assert re.search(r"params\.split\.lists\.emobox_ravdess: .* 11$", caplog.text, re.MULTILINE)


@pytest.mark.parametrize(
    ("manifest", "values", "message"),
    [
        (
            RAVDESS,
            {"n_folds": 2},
            r"^params\.split\.n_folds: 2 .*speaker_independent.* 3 or more.*leave_one_speaker_out",
        ),
        (RAVDESS, {"n_folds": 1}, r"^params\.split\.n_folds: 1 "),
        (SAVEE, {"protocol": "group", "group_by": "speaker", "n_folds": 5}, "n_folds: 5 folds .* are 4"),
        (
            SAVEE[SAVEE["speaker"] == "savee/DC"],
            {"protocol": "leave_one_speaker_out"},
            r"leave_one_speaker_out: .*savee/DC\..* random",
        ),
        (SAVEE[SAVEE["speaker"] == "savee/DC"], {}, r"speaker_independent: .*savee/DC\..* random"),
        (
            TESS[TESS["sentence"] == "tess/word7"],
            {"protocol": "leave_one_speaker_out"},
            r"tess/word7\..*params\.split\.validation_fraction: 0",
        ),
        (
            TESS[TESS["sentence"].isin(["tess/word7", "tess/word8"])],
            {"protocol": "speaker_and_text_independent", "n_folds": 2},
            "speaker_and_text_independent: .* 2 speakers and 2 sentences",
        ),
        (
            RAVDESS,
            {"protocol": "speaker_and_text_independent", "n_folds": 2},
            r"^params\.split\.n_folds: 2 .*speaker_and_text_independent.* 24 speakers.* 3 or more",
        ),
        (RAVDESS, {"protocol": "cross_corpus"}, "cross_corpus: .*params.corpus .*ravdess"),
        (
            pd.concat([RAVDESS[RAVDESS["emotion"] == "calm"], SAVEE]),
            {"protocol": "cross_corpus"},
            r"^params\.split\.protocol cross_corpus: .*labels .*ravdess, savee.* none",
        ),
        (
            pd.concat([TESS[TESS["speaker"] == "tess/OAF"], SAVEE]),
            {"protocol": "cross_corpus"},
            r"^params\.split\.protocol cross_corpus: .*savee.* only tess/OAF",
        ),
        (
            SAVEE.groupby("emotion").head(1),
            {"protocol": "random", "n_folds": 1},
            r"^params\.split\.test_fraction: 0\.1 .* 7 clips of 7 labels, 1 of them of \w+\.",
        ),
        (
            SAVEE.groupby("emotion").head(4),
            {"protocol": "random", "n_folds": 6},
            r"^params\.split\.n_folds: 6 .* 28 clips of 7 labels, 4 of them of \w+\.",
        ),
        (
            SAVEE,
            {"protocol": "random", "n_folds": 2, "validation_fraction": 0.02},
            r"^params\.split\.validation_fraction: 0\.02 .* 7 labels",
        ),
        (RAVDESS, {"protocol": "fixed", "fixed_list": "emobox_ravdes"}, "did you mean 'emobox_ravdess'"),
        (
            SAVEE,
            {"protocol": "fixed", "fixed_list": "emobox_ravdess"},
            r"^params\.split\.lists\.emobox_ravdess: .*DC, JE, JK, KL.*params\.split\.fixed_list",
        ),
        (
            SAVEE,
            {"protocol": "fixed", "fixed_list": "mine", "lists": {"mine": ["DC", "JE", "JK"]}},
            "lists.mine: does not list .* KL",
        ),
        (
            SAVEE,
            {"protocol": "fixed", "fixed_list": "mine", "lists": {"mine": ["DC", "JE", "JK KL DC"]}},
            "lists.mine: lists twice .* DC",
        ),
        (
            SAVEE,
            {"protocol": "fixed", "fixed_list": "mine", "lists": {"mine": ["DC JK JE KL"]}},
            "lists.mine: .*two folds",
        ),
        (
            SAVEE,
            {"protocol": "fixed", "fixed_list": "mine", "lists": {"mine": ["DC JK JE", "KL"]}},
            "lists.mine: fold 0 has only .*KL",
        ),
        (
            SAVEE,
            {"protocol": "fixed", "fixed_list": "mine", "lists": {"mine": ["DC JK", "JE", "KL", "XX"]}},
            "fold 3 has no test clip",
        ),
        (
            pd.concat([SAVEE, TESS.assign(speaker="tess/DC")]),
            {"protocol": "fixed", "fixed_list": "emobox_savee"},
            r"^params\.split\.lists\.emobox_savee: .*two corpora.* speakers DC\.",
        ),
        (
            RAVDESS[(RAVDESS["emotion"] != "calm") | (RAVDESS["speaker"] == "ravdess/01")],
            {"n_folds": 6},
            "fold . has no training clip of calm",
        ),
        (RAVDESS[RAVDESS["emotion"] == "calm"], {}, r"^params\.split\.labels: calm .*two"),
        (
            RAVDESS,
            {"train_only": {"corpora": ["tess"], "channels": []}},
            r"^params\.split\.train_only\.corpora: .*tess.*ravdess",
        ),
        (
            RAVDESS,
            {"train_only": {"corpora": ["tess"], "channels": []}},
            r"no 'tess'\. Choose from ravdess\. .* must be in params\.corpus too\.$",
        ),
        (
            RAVDESS,
            {"train_only": {"corpora": [], "channels": ["song"]}},
            r"no 'song'\. Choose from speech\. .* must be in params\.split\.channels too\.$",
        ),
        (
            RAVDESS.assign(partition=None),
            {"protocol": "official"},
            r"have no partition, .* ravdess/.*table.* params\.corpora\.ravdess\.columns\.partition; ",
        ),
        (
            RAVDESS.assign(n_bytes=1),
            {"protocol": "group", "group_by": "Team"},
            r"no 'Team'\. Choose from (?!.*(sha256|n_bytes|clip)).*speaker.*<corpus>\.columns\.group\.$",
        ),
        (
            RAVDESS,
            {"train_only": {"corpora": [], "channels": ["speech"]}},
            r"^params\.split\.train_only: .*none",
        ),
        (
            pd.concat([RAVDESS, TESS.assign(emotion="Wut")]),
            {"train_only": {"corpora": ["tess"], "channels": []}},
            r"^params\.split\.train_only: the labels of tess there, Wut, .*anger.*split\.labels\.merge",
        ),
    ],
)
def test_impossible_splits_are_refused(manifest: pd.DataFrame, values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        assign(manifest, **values)


def test_a_label_that_a_fold_does_not_test_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    few = RAVDESS[(RAVDESS["emotion"] != "calm") | RAVDESS["speaker"].isin(RAVDESS["speaker"].unique()[:8])]
    assign(few, protocol="leave_one_speaker_out")
    assert "no test clip of calm" in caplog.text


@st.composite
def any_clips(draw: st.DrawFn) -> pd.DataFrame:
    """Draws the clips of up to 3 corpora with lopsided speakers, sexes, sentences and emotions."""
    rows = []
    for corpus in draw(st.sampled_from(["a", "a", "ab", "abc"])):
        labels = draw(st.sampled_from([["anger"], ["anger", "fear"], ["anger", "fear", "neutral"]]))
        for speaker in range(draw(st.integers(1, 6))):
            sex = draw(st.sampled_from(["female", "male"]))
            for sentence in range(draw(st.integers(1, 5))):
                rows += [
                    (corpus, f"{corpus}/{speaker}{corpus}", sex, f"{corpus}/{sentence}", label)
                    for label in labels
                ]
    clips = pd.DataFrame(rows, columns=["corpus", "speaker", "sex", "sentence", "label"])
    names = clips["speaker"] + clips["sentence"] + clips["label"]
    return clips.assign(clip=names, sha256="file of " + names, audio_sha256="sound of " + names)


@pytest.mark.filterwarnings("ignore:The least populated class")
@pytest.mark.parametrize("protocol", list(protocols.PROTOCOLS))
@settings(max_examples=25)
@given(
    clips=any_clips(),
    n_folds=st.integers(1, 5),
    validation_fraction=st.sampled_from([0.0, 0.1, 0.5]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_split_passes_the_leakage_check_or_is_refused(
    protocol: str, clips: pd.DataFrame, n_folds: int, validation_fraction: float, seed: int
) -> None:
    ranks = clips["speaker"].rank(method="dense").astype(int)
    partition = ranks.map(lambda rank: ["train", "test", "validation"][rank % 3])
    clips = clips.assign(session=clips["speaker"], group=clips["corpus"], partition=partition)
    names = sorted(speaker.partition("/")[2] for speaker in clips["speaker"].unique())
    split = settings_with(
        protocol=protocol,
        n_folds=n_folds,
        validation_fraction=validation_fraction,
        fixed_list="drawn",
        lists={"drawn": [" ".join(names[fold::n_folds]) for fold in range(n_folds)]},
    )
    try:
        splits = protocols.assign(clips, split, seed)
    except InputError as error:
        assert str(error).startswith("params.split")
        return
    leak.check(splits, protocol)
    shuffled = protocols.assign(clips.sample(frac=1, random_state=seed), split, seed)
    pd.testing.assert_frame_equal(shuffled.clips, splits.clips)
    splits = long_splits.rows_of(splits)
    assert all({"train", "test"} <= set(roles) for roles in splits.groupby("fold")["role"].unique())
    tested = splits.loc[splits["role"] == "test", "clip"]
    assert not tested.duplicated().any()
    if protocol == "cross_corpus":
        assert set(tested) == set(clips.loc[clips["label"].isin(splits["label"]), "clip"])
    elif protocol not in ("official", "speaker_and_text_independent") and not (
        protocol == "random" and n_folds == 1
    ):
        assert set(tested) == set(clips["clip"])
