"""`ser check` finds what `select` would refuse, and writes nothing."""

from __future__ import annotations

import sys
import zipfile
from itertools import product
from pathlib import Path

import pytest

from stages.base.errors import InputError
from stages.tools import check
from tests.support.workspace import Workspace


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["check"])
    return Workspace(tmp_path)


def test_one_line_says_what_is_chosen(work: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    work.set(featurize__features=["mfcc", "rms"], models__svm__inputs__features=["mfcc"])
    check.main()
    assert capsys.readouterr().out == (
        "params.yaml is valid: svm on demo, split speaker_independent, features mfcc, rms\n"
    )
    assert [path.name for path in work.folder.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "svmm"}, r"^params\.model: no 'svmm'; did you mean 'svm'"),
        ({"models__svm__c": "abc"}, r"^params\.models\.svm\.c: 'abc' is not valid"),
        ({"compute__workers": -1}, r"^params\.compute\.workers: "),
        (
            {"featurize__features": ["rms"]},
            r"^params\.models\.svm\.inputs\.features: '\w+' is not in .*features, rms\.",
        ),
    ],
)
def test_a_mistake_is_named(work: Workspace, changes: dict[str, object], message: str) -> None:
    work.set(**changes)
    with pytest.raises(InputError, match=message):
        check.main()


@pytest.mark.parametrize("normalize", ["enrol", "cluster"])
def test_a_fold_with_one_training_speaker_is_named_before_train_deletes_the_model(
    work: Workspace, normalize: str
) -> None:
    for speaker, word, emotion in product(("OAF", "YAF"), ("back", "bar", "base"), ("angry", "sad")):
        path = work.folder / "data" / "sources" / "tess" / f"{speaker}_{word}_{emotion}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    settings = {"corpus": ["tess"], "split__protocol": "leave_one_speaker_out"}
    work.set(**settings, train__normalize="speaker")
    check.main()
    work.set(**settings, train__normalize=normalize)
    with pytest.raises(InputError, match=rf"^params\.train\.normalize: '{normalize}' .* tess/OAF\."):
        check.main()
    work.set(**settings, train__fold=2)
    with pytest.raises(InputError, match=r"^params\.train\.fold: no fold 2\."):
        check.main()


def test_a_model_that_trains_on_validation_clips_has_their_speakers_to_compare_with(work: Workspace) -> None:
    for actor, emotion, sentence in product((1, 2, 3), (3, 4, 5), (1, 2)):
        path = work.folder / f"data/sources/ravdess/03-01-{emotion:02}-01-{sentence:02}-01-{actor:02}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    settings = {"corpus": ["ravdess"], "split__n_folds": 3, "train__normalize": "enrol"}
    work.set(**settings, model="svm")
    check.main()
    work.set(**settings, model="mlp")
    with pytest.raises(InputError, match=r"^params\.train\.normalize: 'enrol' .* ravdess/0[1-3]\."):
        check.main()


def test_a_corpus_that_ingest_would_not_find_is_named(
    work: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    def notices(**changes: object) -> list[str]:
        work.set(**changes)
        check.main()
        return capsys.readouterr().out.splitlines()[1:]

    (notice,) = notices(corpus=["demo", "ravdess"])
    assert notice.startswith("notice: ravdess: not in data/sources;")
    assert notices(ingest__download=True) == []
    (notice,) = notices(corpus=["demo", "savee"])  # which nobody may download
    assert notice.startswith("notice: savee: ")
    earlier = work.folder / "data" / "downloads" / "ravdess" / "complete.json"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("damaged")
    assert len(notices(corpus=["demo", "ravdess"], ingest__download=False)) == 1
    (work.folder / "data" / "sources").mkdir(parents=True)
    with zipfile.ZipFile(work.folder / "data" / "sources" / "ravdess.zip", "w") as archive:
        archive.writestr("03-01-03-01-01-01-01.wav", b"")
    assert notices(ingest__download=False) == []


def test_the_split_is_checked_from_the_names_of_the_recordings(work: Workspace) -> None:
    place = work.folder / "data" / "sources" / "ravdess"
    place.mkdir(parents=True)
    for emotion in ("03", "05"):
        (place / f"03-01-{emotion}-01-01-01-01.wav").touch()
    work.set(corpus=["ravdess"])
    with pytest.raises(InputError, match=r"^params\.split\.protocol .*: needs two speakers"):
        check.main()


def test_the_last_line_says_what_will_be_trained_on_and_the_one_before_what_is_missing(
    work: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    place = work.folder / "data" / "sources" / "calls"
    place.mkdir(parents=True)
    rows = [(f"{who}{felt}.wav", who, felt) for who in "abc" for felt in ("joy", "Anger", "awe")]
    rows.append(("x.wav", "unknown", "awe"))
    (place / "labels.csv").write_text(
        "\n".join(
            ["path,speaker,label", *map(",".join, rows), "out.wav,a,?"]
        )  # its row is left out: not missing
    )
    for name, _, _ in rows[2:]:
        (place / name).touch()
    block = {"table": "data/sources/calls/labels.csv", "labels": {"?": None}}
    work.set(corpus=["calls"], corpora__calls=block, split__n_folds=3)
    check.main()
    assert capsys.readouterr().out.splitlines()[1:] == [
        "notice: calls: 2 files of the table are missing: ajoy.wav, aAnger.wav",
        "9 usable clips by names and tables, 3 speakers, 3 labels: anger 3, awe 3, joy 3",
    ]


def test_a_table_without_a_usable_row_is_refused_with_the_problem_and_not_with_a_file_that_was_not_read(
    work: Workspace,
) -> None:
    place = work.folder / "data" / "sources" / "calls"
    place.mkdir(parents=True)
    rows = [f"{who}{number},{who},joy" for who in "abc" for number in range(3)]
    (place / "labels.csv").write_text("\n".join(["path,speaker,label", "x.wav,,joy", *rows]))
    work.set(corpus=["calls"], corpora__calls={"table": "data/sources/calls/labels.csv"}, split__n_folds=3)
    with pytest.raises(
        InputError,
        match=r"^params\.corpus: .*'calls'.* 10 .*\(9 rows\) .*'calls/a0': unknown format: .*row 3\.$",
    ) as caught:
        check.main()
    assert not any(word in str(caught.value) for word in ("manifest", "params.split"))
