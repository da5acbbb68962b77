from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from stages.data import tables
from stages.splitting import leak
from stages.splitting.leak import LeakError
from tests.support import long_splits


def check(rows: pd.DataFrame, protocol: str) -> None:
    leak.check(long_splits.of_rows(rows), protocol)


def splits(*rows: tuple[str, str, str, str]) -> pd.DataFrame:
    """Returns one fold: clip, role, speaker ("<corpus>/<name>") and sentence of each row."""
    table = pd.DataFrame(rows, columns=["clip", "role", "speaker", "sentence"])
    return table.assign(
        fold=0,
        corpus=table["speaker"].str.partition("/")[0],
        sha256="file of " + table["clip"],
        audio_sha256="audio of " + table["clip"],
    )


CLEAN = splits(
    ("t1", "train", "a/1", "s1"),
    ("t2", "train", "b/2", "s4"),
    ("v1", "validation", "b/3", "s2"),
    ("e1", "test", "c/4", "s3"),
    ("e2", "test", "c/4", "s3"),
)
PROTOCOLS = [
    "speaker_independent",
    "leave_one_speaker_out",
    "speaker_and_text_independent",
    "cross_corpus",
    "random",
    "fixed",
]
STRICT = [protocol for protocol in PROTOCOLS if protocol != "random"]


def planted(clip: str, **values: str) -> pd.DataFrame:
    """Returns the clean fold with changed values for one clip."""
    table = CLEAN.copy()
    for column, value in values.items():
        table.loc[table["clip"] == clip, column] = value
    return table


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_clean_split_passes(protocol: str) -> None:
    check(CLEAN, protocol)


@pytest.mark.parametrize("protocol", STRICT)
@pytest.mark.parametrize(
    ("clip", "speaker", "roles"),
    [
        ("t1", "c/4", r"test \(e1, e2\) and train \(t1\)"),
        ("v1", "c/4", r"test \(e1, e2\) and validation \(v1\)"),
        ("v1", "b/2", r"train \(t2\) and validation \(v1\)"),
    ],
)
def test_a_speaker_in_two_roles_is_rejected(protocol: str, clip: str, speaker: str, roles: str) -> None:
    with pytest.raises(
        LeakError, match=f"{protocol}, fold 0: the speaker '{speaker}' is in {roles}.*one speaker"
    ):
        check(planted(clip, speaker=speaker), protocol)


def test_random_alone_may_share_speakers() -> None:
    check(planted("t1", speaker="c/4"), "random")
    assert [protocol for protocol in PROTOCOLS if leak.leaky(protocol)] == ["random"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("column", "rule"), [("sha256", "one file in one role"), ("audio_sha256", "one recording in one role")]
)
@pytest.mark.parametrize(("first", "second"), [("t1", "e1"), ("t1", "v1"), ("v1", "e2")])
def test_the_same_recording_in_two_roles_is_rejected(
    protocol: str, column: str, rule: str, first: str, second: str
) -> None:
    same = CLEAN.loc[CLEAN["clip"] == first, column].item()
    with pytest.raises(LeakError, match=rf"the {column} '{same}' is in .*{second}.*2 rows break .*'{rule}'"):
        check(planted(second, **{column: same}), protocol)


def test_the_same_recording_twice_in_one_role_or_in_two_folds_passes() -> None:
    check(planted("e2", sha256="file of e1", audio_sha256="audio of e1"), "fixed")
    other_fold = CLEAN.assign(fold=1, role=CLEAN["role"].replace({"train": "test", "test": "train"}))
    check(pd.concat([CLEAN, other_fold], ignore_index=True), "fixed")


@pytest.mark.parametrize("clip", ["t1", "v1"])
def test_a_test_sentence_outside_test_is_rejected_when_sentences_must_differ(clip: str) -> None:
    leaking = planted(clip, sentence="s3")
    with pytest.raises(LeakError, match=r"the sentence 's3' is in test .*one sentence in one role"):
        check(leaking, "speaker_and_text_independent")
    check(leaking, "speaker_independent")


def test_a_validation_sentence_in_train_is_rejected_when_sentences_must_differ() -> None:
    with pytest.raises(LeakError, match=r"the sentence 's1' is in train \(t1\) and validation \(v1\)"):
        check(planted("v1", sentence="s1"), "speaker_and_text_independent")


@pytest.mark.parametrize("clip", ["t1", "v1"])
def test_a_test_corpus_outside_test_is_rejected_across_corpora(clip: str) -> None:
    leaking = planted(clip, corpus="c")
    with pytest.raises(LeakError, match=r"the corpus 'c' is in test .*no test corpus outside test"):
        check(leaking, "cross_corpus")
    check(leaking, "speaker_independent")


def test_with_two_speakers_or_sentences_validation_shares_with_train_but_not_with_test() -> None:
    two = splits(
        ("t1", "train", "a/1", "s1"),
        ("t2", "validation", "a/1", "s2"),
        ("e1", "test", "a/2", "s1"),
    )
    check(two, "leave_one_speaker_out")
    with pytest.raises(LeakError, match=r"the speaker 'a/2' is in test .* and validation"):
        check(two.assign(speaker=["a/1", "a/2", "a/2"]), "leave_one_speaker_out")
    check(two.assign(sentence=["s1", "s1", "s2"]), "speaker_and_text_independent")
    with pytest.raises(LeakError, match=r"the sentence 's2' is in test .* and validation"):
        check(two.assign(sentence=["s1", "s2", "s2"]), "speaker_and_text_independent")


@pytest.mark.parametrize(
    ("clip", "speaker", "shared"),
    [
        ("v1", "b/3", False),
        ("v1", "b/2", True),
        ("t1", "b/3", True),
        ("t1", "c/4", False),
        ("v1", "c/4", False),
    ],
)
def test_what_training_and_validation_share_is_found(clip: str, speaker: str, shared: bool) -> None:
    splits = long_splits.of_rows(planted(clip, speaker=speaker))
    assert leak.trains_and_validates(splits, "speaker") == shared


def test_a_leak_in_a_later_fold_is_found() -> None:
    leaking = planted("t1", speaker="b/3")  # who trains and validates in the second fold only
    first = leaking.assign(role=["train", "train", "train", "test", "test"])
    with pytest.raises(
        LeakError, match=r"fold 1: the speaker 'b/3' is in train \(t1\) and validation \(v1\)"
    ):
        check(pd.concat([first, leaking.assign(fold=1)], ignore_index=True), "fixed")


@pytest.mark.parametrize(("n_clips", "more"), [(3, ""), (4, " and 1 more"), (9, " and 6 more")])
def test_an_error_names_three_clips_and_counts_the_rest(n_clips: int, more: str) -> None:
    rows = [(f"clip{i}", "train" if i < n_clips else "test", "a/1", "s") for i in range(n_clips + 1)]
    others = [("v", "validation", "a/2", "s"), ("e", "test", "a/3", "s")]
    reason = rf"train \(clip0, clip1, clip2{more}\)\. {n_clips + 1} rows break the rule"
    with pytest.raises(LeakError, match=reason):
        check(splits(*rows, *others), "fixed")


ROWS = pd.DataFrame(
    [("t1", "t1", "train"), ("t1#1", "t1", "train"), ("v1", "v1", "validation"), ("e1", "e1", "test")],
    columns=["clip", "parent", "role"],
)


def with_row(*row: str) -> pd.DataFrame:
    return pd.concat([ROWS, pd.DataFrame([row], columns=ROWS.columns)], ignore_index=True)


def test_copies_of_training_clips_pass() -> None:
    leak.check_training(ROWS)


@pytest.mark.parametrize("role", ["validation", "test"])
@pytest.mark.parametrize("parent", ["t1", "v1", "e1"])
def test_a_copy_outside_train_is_rejected(role: str, parent: str) -> None:
    with pytest.raises(LeakError, match=f"copy in {role} break the rule 'augmented copies are for training"):
        leak.check_training(with_row("copy", parent, role))


@pytest.mark.parametrize("parent", ["v1", "e1", "absent", "t1#1"])
def test_a_copy_whose_parent_does_not_train_is_refused(parent: str) -> None:
    with pytest.raises(LeakError, match=r"^train: copy in train .*rule 'a copy needs its parent in train'"):
        leak.check_training(with_row("copy", parent, "train"))


def recordings(*clips: str) -> pd.DataFrame:
    """Returns a table of schema TRAINED_ON; `a1` is the first recording of speaker a, `x=a1` is the same."""
    rows = [(clip, clip.split("=")[0][0], clip.split("=")[-1]) for clip in clips]
    return pd.DataFrame(rows, columns=list(tables.TRAINED_ON.columns))


@pytest.mark.parametrize(
    ("before", "test", "own", "broken"),
    [
        (["a1", "b1"], ["c1"], ["d1"], None),
        (["a1", "b1"], ["b2"], ["d1"], "b2.* 1 clips .*rule 'no pretraining on test speakers'"),
        (["a1", "b1"], ["c1=b1"], ["d1"], "c1=b1.* 1 clips .*rule 'no pretraining on test recordings'"),
        (["a1", "b1"], ["b2"], ["b3"], None),  # `random`: the fold itself trains on its test speakers
        (["a1", "b1"], ["b2"], ["b3", "d1"], None),
        (["a1", "b1"], ["b1"], ["b3"], "b1.* 1 clips .*rule 'no pretraining on test recordings'"),
        (["a1=b1"], ["b1"], ["b3"], "b1.* 1 clips .*rule 'no pretraining on test recordings'"),
        ([], ["a1"], ["b1"], None),
    ],
)
def test_pretrained_weights_must_not_know_the_test_data(
    before: list[str], test: list[str], own: list[str], broken: str | None
) -> None:
    tables_of = [recordings(*clips) for clips in (before, test, own)]
    if broken is None:
        leak.check_pretrained(*tables_of, Path("trained_on.parquet"))
    else:
        with pytest.raises(LeakError, match=rf"trained_on\.parquet: .*{broken}"):
            leak.check_pretrained(*tables_of, Path("trained_on.parquet"))


TESTED = pd.DataFrame({"clip": ["a", "b"], "speaker": ["s1", "s2"], "audio_sha256": ["x", "y"]})


@pytest.mark.parametrize("protocol", ["random", "speaker_independent"])
def test_a_model_is_never_tested_on_a_recording_it_was_trained_on(protocol: str) -> None:
    trained_on = pd.DataFrame({"clip": ["c", "d"], "speaker": ["s3", "s3"], "audio_sha256": ["z", "y"]})
    with pytest.raises(LeakError, match=r"^model: .* b\. .*'no test recording in training'"):
        leak.check_model(trained_on, TESTED, protocol, Path("model"))
    leak.check_model(trained_on.head(1), TESTED, protocol, Path("model"))


def test_a_model_is_tested_on_a_speaker_it_was_trained_on_only_if_the_protocol_leaks() -> None:
    trained_on = pd.DataFrame({"clip": ["c"], "speaker": ["s1"], "audio_sha256": ["z"]})
    leak.check_model(trained_on, TESTED, "random", Path("model"))
    with pytest.raises(LeakError, match=r"^model: .* a\. .*'no test speaker in training'"):
        leak.check_model(trained_on, TESTED, "speaker_independent", Path("model"))
