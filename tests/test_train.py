"""train and evaluate, on features drawn from a distribution per emotion."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from stages import evaluate, train
from stages.audio.quality import measure
from stages.audio.recording import Recording, resample
from stages.base import params
from stages.base.errors import InputError
from stages.base.files import (
    CHECKPOINTS,
    DATA,
    EVALUATED,
    FEATURES,
    MANIFEST,
    METRICS,
    MODEL,
    PREDICTIONS,
    PRETRAINED,
    SPLITS,
)
from stages.base.params import Compute
from stages.compute import engine
from stages.compute.task import Task
from stages.data import shards, tables
from stages.data.splits import Splits
from stages.inference import workspace as inference_workspace
from stages.learning import dataset, trained_fold, training
from stages.learning.trained_fold import made_with
from stages.splitting import protocols
from stages.tools import predict
from tests.support import long_splits, shipped
from tests.support.manifests import manifest
from tests.support.predictions import predictions as made_up
from tests.support.workspace import RATE_HZ, Workspace, contents, pretend_edit_since_loaded

EMOTIONS = ["anger", "fear", "sadness"]
SPEAKERS = ["s1", "s2", "s3", "s4", "s5", "s6"]
N_DIMS = 4


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A folder as `featurize` and `split` leave it: 6 speakers, 3 folds, an augmented copy of each clip."""
    monkeypatch.chdir(tmp_path)
    work = Workspace(tmp_path)
    work.set(model="svm", models__svm__inputs__features=["mfcc"], features__mfcc__n_mfcc=N_DIMS)
    work.set(train__threads=1, evaluate__n_resamples=100)
    work.set(
        training__epochs=5,
        training__batch_size=8,
        training__learning_rate=0.01,
        models__ann__units=[32],
    )
    store_inputs()
    return work


STORED: dict[bytes, dict[Path, bytes]] = {}  # what `store_inputs` left, by the content of params.yaml


def store_inputs() -> None:
    """Leaves what `manifest`, `featurize` and `split` would, of 6 speakers and 3 emotions, in 3 folds."""
    content = params.PARAMS.read_bytes()
    if content not in STORED:
        make_inputs()
        files = [MANIFEST, SPLITS, *(path for path in FEATURES.rglob("*") if path.is_file())]
        STORED[content] = {path: path.read_bytes() for path in files}
    for path, stored in STORED[content].items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stored)


def make_inputs() -> None:
    rows = [
        {"corpus": "demo", "clip": f"{speaker}_{emotion}_{i}", "speaker": speaker, "sex": "female"}
        | {"sentence": str(i), "emotion": emotion, "sha256": f"{speaker}{emotion}{i}"}
        for speaker in SPEAKERS
        for emotion in EMOTIONS
        for i in range(4)
    ]
    clips = manifest(rows)
    tables.write(clips, tables.MANIFEST, MANIFEST)
    store_features(clips)
    store_splits(clips)


def store_features(clips: pd.DataFrame, seed: int = 7) -> None:
    rng = np.random.default_rng(seed)
    names = [f"{clip}{copy}" for clip in clips["clip"] for copy in ("", "#1")]
    lengths = rng.integers(3, 9, len(names))
    level = {emotion: 2.0 * i for i, emotion in enumerate(EMOTIONS)}
    emotions = clips["emotion"].repeat(2)
    mfcc = [rng.normal(level[e], 1, (n, N_DIMS)) for e, n in zip(emotions, lengths, strict=True)]
    FEATURES.mkdir(parents=True, exist_ok=True)
    np.savez(
        FEATURES / "all.npz",
        mfcc=np.concatenate(mfcc).astype(np.float32),
        n_frames=lengths,
        clips=np.array(names),
    )
    index = pd.DataFrame({"clip": names, "parent": [name.split("#")[0] for name in names]})
    index["speaker"] = clips["speaker"].repeat(2).to_numpy()
    chosen = params.read()
    index.attrs.update(shards.origin(chosen, ["mfcc"], clips), copies=shards.copies_origin(chosen, clips))
    tables.write(index.assign(shard="all.npz", n_frames=lengths), tables.FEATURES, dataset.INDEX)


def store_splits(clips: pd.DataFrame) -> None:
    group = clips["speaker"].map({name: i // 2 for i, name in enumerate(sorted(set(clips["speaker"])))})
    folds = []
    for fold in range(3):
        role = np.select([group == fold, group == (fold + 1) % 3], ["test", "validation"], "train")
        folds.append(clips.assign(fold=fold, role=role, label=clips["emotion"]))
    splits = pd.concat(folds, ignore_index=True).assign(audio_sha256=lambda table: table["sha256"])
    splits = splits[long_splits.COLUMNS]
    splits.attrs["made_with"] = protocols.made_with(params.read())
    splits.attrs["made_from"] = protocols.made_from(clips, params.read())
    long_splits.write(splits)


def model_bytes() -> dict[str, bytes]:
    return {
        f"{folder.name}/{name}": content
        for folder in sorted(MODEL.iterdir())
        for name, content in contents(folder).items()
    }


def test_every_fold_is_trained_and_measured(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    workspace.set(model="ann")
    train.main()
    evaluate.main()
    assert "chance 0.333, on 72 clips of 6 speakers\n" in capsys.readouterr().out
    assert [folder.name for folder in sorted(MODEL.iterdir())] == ["fold_00", "fold_01", "fold_02"]
    predictions = tables.read(PREDICTIONS, tables.PREDICTIONS)
    assert set(predictions["role"]) == {"test"}
    assert predictions["clip"].is_unique
    assert len(predictions) == len(SPEAKERS) * len(EMOTIONS) * 4  # no augmented copy among them
    measured = json.loads((METRICS / "test.json").read_text())
    assert measured["uar"] > 0.8
    assert measured["uar_low"] < measured["uar"] < measured["uar_high"]
    assert measured["leaky"] is False
    history = pd.read_csv(METRICS / "history.csv")
    assert list(history.groupby("fold").size()) == [5, 5, 5]
    assert (METRICS / "confusion.csv").read_text().startswith("actual,predicted\n")
    assert not CHECKPOINTS.exists() or not list(CHECKPOINTS.iterdir())


@pytest.mark.parametrize("model", ["ann", "svm"])
def test_training_never_reads_a_test_label(workspace: Workspace, model: str) -> None:
    workspace.set(train__fold=0, model=model)
    train.main()
    before = model_bytes()
    splits = Splits.read()
    clips, test = splits.clips, splits.clips["clip"].isin(splits.fold(0, "test")["clip"])
    clips.loc[test, "label"] = np.random.default_rng(0).permutation(clips.loc[test, "label"].tolist())
    splits.write()
    train.main()
    record = "fold_00/fold.json"  # names the file of the splits by its hash, which covers the test labels
    after = model_bytes()
    first, second = (json.loads(files.pop(record)) for files in (before, after))
    assert after == before
    assert first.pop("made_from") != second.pop("made_from")
    assert second == first


@pytest.mark.parametrize(
    "model", ["ann", "svm", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mlp", "dummy"))]
)
def test_trained_twice_the_bytes_are_the_same(workspace: Workspace, model: str) -> None:
    workspace.set(model=model, train__fold=1)
    workspace.set(**{f"models__{model}__inputs__features": ["mfcc"]})
    train.main()
    before = model_bytes()
    train.main()
    assert model_bytes() == before


@pytest.mark.parametrize("model", ["svm", pytest.param("ann", marks=pytest.mark.slow)])
def test_folds_that_are_trained_at_once_have_the_same_bytes(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], model: str
) -> None:
    workspace.set(model=model)
    train.main()
    one_by_one, history = model_bytes(), (METRICS / "history.csv").read_bytes()
    capsys.readouterr()
    workspace.set(compute__workers=3)
    train.main()
    assert model_bytes() == one_by_one
    assert (METRICS / "history.csv").read_bytes() == history
    # by this process, whose output DVC and notebooks show
    assert capsys.readouterr().out.count(f"train: {model} fold_0") == 3


@pytest.mark.parametrize(
    ("workers", "threads", "at_once"), [(1, 1, 1), (2, 1, 2), (8, 1, 3), (4, 2, 2), (2, 4, 1)]
)
def test_so_many_folds_are_trained_at_once_as_their_threads_fit(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, workers: int, threads: int, at_once: int
) -> None:
    asked = []

    def run(tasks: Iterable[Task], compute: Compute, stage: str, processes: int, here: bool) -> list[str]:
        asked.append(processes)
        assert here  # an SVM's folds are short
        return [task.make() for task in tasks]

    monkeypatch.setattr(engine, "run", run)
    workspace.set(compute__workers=workers, train__threads=threads)
    train.main()
    assert asked == [at_once]


def test_every_fold_is_trained_with_each_seed(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace.set(model="mlp", models__mlp__inputs__features=["mfcc"], models__mlp__epochs=3)
    train.main()
    evaluate.main()
    of_fold = json.loads((DATA / "timing.json").read_text())["fold_00"]
    assert of_fold["seconds_per_epoch"] == pytest.approx(of_fold["seconds"] / 3)
    alone, first = model_bytes(), tables.read(PREDICTIONS, tables.PREDICTIONS)
    workspace.set(train__n_seeds=3)
    with pytest.raises(InputError, match=r"^params\.train\.n_seeds: 3, .* 1\."):
        evaluate.main()
    train.main()
    evaluate.main()
    assert "standard deviation over 3 seeds 0." in capsys.readouterr().out
    several, predictions = model_bytes(), tables.read(PREDICTIONS, tables.PREDICTIONS)
    names = {name.split("/")[0] for name in several}
    assert names == {f"fold_0{fold}{seed}" for fold in range(3) for seed in ("", "_seed_21", "_seed_22")}
    # the first seed's models are those of one seed alone, and all others are different
    weights = [several[name] for name in several if name.endswith("model.skops")]
    assert len(set(weights)) == 9
    for name in alone:
        if not name.endswith("fold.json"):
            assert several[name] == alone[name]
    pd.testing.assert_frame_equal(predictions[predictions["seed"] == 20].reset_index(drop=True), first)
    assert predictions.groupby("seed").size().to_dict() == {20: 72, 21: 72, 22: 72}
    measured = json.loads((METRICS / "test.json").read_text())
    assert (measured["n_clips"], measured["n_folds"], measured["seeds"]["n"]) == (72, 3, 3)
    assert measured["seeds"]["uar_mean"] == pytest.approx(measured["uar"])
    summary = json.loads((METRICS / "train.json").read_text())
    assert (summary["n_folds"], summary["n_seeds"]) == (3, 3)
    assert pd.read_csv(METRICS / "history.csv").empty
    shutil.rmtree(MODEL / "fold_01_seed_21")
    with pytest.raises(InputError, match=r"^data/model: .*fold_01_seed_21"):
        evaluate.main()


def test_a_model_in_training_has_no_scores(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC would show those of the model before beside its settings."""
    train.main()
    evaluate.main()
    assert all(path.is_file() for path in EVALUATED)
    workspace.set(models__svm__c=0.5)
    seen: list[Path] = []
    real = training.train_fold

    def watched(*args: Any) -> str:
        seen.extend(METRICS.iterdir())
        return real(*args)

    monkeypatch.setattr(training, "train_fold", watched)
    train.main()
    assert seen and not set(seen) & set(EVALUATED)


def interrupted_after_fold_0(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Returns the files of an undisturbed run, after an interrupted one that finished fold 0 alone."""
    train.main()
    undisturbed = model_bytes()
    real = training.train_fold

    def interrupted(*args: Any) -> str:
        if str(args[-2]).endswith("fold_01"):
            raise KeyboardInterrupt
        return real(*args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "train_fold", interrupted)
        train.main()
    return undisturbed


def test_an_interrupted_run_keeps_its_finished_folds_and_ends_as_an_undisturbed_one(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    undisturbed = interrupted_after_fold_0(monkeypatch)
    capsys.readouterr()
    train.main()
    said = capsys.readouterr().out
    assert "fold_00" not in said
    assert "fold_01" in said
    assert model_bytes() == undisturbed


@pytest.mark.parametrize(("model", "expected"), [("svm", "training"), ("ann", "validation")])
def test_train_says_what_its_validation_scores_are_of(
    workspace: Workspace, model: str, expected: str
) -> None:
    workspace.set(model=model, train__fold=0)
    train.main()
    assert json.loads((METRICS / "train.json").read_text())["validated_on"] == expected


def test_a_finished_run_of_one_fold_keeps_the_interrupted_work_on_the_others(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    undisturbed = interrupted_after_fold_0(monkeypatch)
    workspace.set(train__fold=2)
    train.main()
    workspace.set(train__fold="all")
    capsys.readouterr()
    train.main()
    assert "fold_00" not in capsys.readouterr().out
    assert model_bytes() == undisturbed
    assert not list(CHECKPOINTS.iterdir())


def test_all_folds_can_follow_the_interrupted_work_on_one(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(training, "finish", lambda *args: None)  # leaves the work as a kill would
        workspace.set(train__fold=0)
        train.main()
    workspace.set(train__fold="all")
    train.main()
    assert len({name.split("/")[0] for name in model_bytes()}) == 3


def test_a_changed_parameter_does_not_resume_another_runs_checkpoint(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training, "finish", lambda *args: None)  # leaves the work as a kill would
    train.main()
    workspace.set(models__svm__c=2.0)
    capsys.readouterr()
    train.main()
    assert "fold_00" in capsys.readouterr().out


def test_augmented_copies_train_only_when_asked(workspace: Workspace) -> None:
    counts = []
    for use in (True, False):
        workspace.set(train__use_augmented=use, train__fold=0)
        train.main()
        counts.append(json.loads((METRICS / "train.json").read_text()))
    assert [count["n_train"] for count in counts] == [48, 48]  # svm trains on the validation speakers too
    assert [count["n_train_copies"] for count in counts] == [48, 0]


def test_speaker_normalisation_is_reported(workspace: Workspace) -> None:
    workspace.set(train__normalize="speaker", train__fold=0)
    train.main()
    evaluate.main()
    assert json.loads((METRICS / "test.json").read_text())["statistics"] == "speaker"


def test_initial_weights_trained_on_test_speakers_are_rejected(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace.set(model="ann", train__fold=0)
    train.main()
    shutil.copytree(MODEL / "fold_00", PRETRAINED / "others")
    workspace.set(training__init_from="others")
    train.main()
    recordings = tables.read(MODEL / "fold_00" / "trained_on.parquet", tables.TRAINED_ON)
    splits = long_splits.read()
    own = splits[(splits["fold"] == 0) & (splits["role"] != "test")]
    assert recordings["clip"].to_list() == sorted(own["clip"])
    workspace.set(train__fold=1)
    with pytest.raises(InputError, match=r"others/trained_on\.parquet: .*demo/s3_.*24 clips"):
        train.main()


def test_initial_weights_without_their_recordings_are_rejected(workspace: Workspace) -> None:
    workspace.set(model="ann", train__fold=0)
    train.main()
    shutil.copytree(MODEL / "fold_00", PRETRAINED / "others")
    (PRETRAINED / "others" / "trained_on.parquet").unlink()
    workspace.set(training__init_from="others")
    with pytest.raises(InputError, match=r"data/pretrained/others/trained_on\.parquet: missing"):
        train.main()


@pytest.mark.parametrize(
    "file", ["model.weights.h5", pytest.param("trained_on.parquet", marks=pytest.mark.slow)]
)
def test_initial_weights_beside_files_of_another_fold_are_rejected(workspace: Workspace, file: str) -> None:
    workspace.set(model="ann", training__epochs=1)
    train.main()
    others = PRETRAINED / "others"
    shutil.copytree(MODEL / "fold_00", others)
    shutil.copy(MODEL / "fold_01" / file, others)
    workspace.set(training__init_from="others", train__fold=0 if file == "model.weights.h5" else 1)
    with pytest.raises(InputError, match=rf"^{others / file}: .*fold\.json"):
        train.main()
    record = json.loads((others / "fold.json").read_text())
    del record["sha256"]  # as of weights that were published without
    (others / "fold.json").write_text(json.dumps(record))
    train.main()


def test_listeners_are_judged_on_the_same_clips(workspace: Workspace) -> None:
    clips = tables.read(MANIFEST, tables.MANIFEST)
    clips["listeners"] = clips["emotion"].where(clips["emotion"] != "fear", "anger+fear")
    tables.write(clips, tables.MANIFEST, MANIFEST)
    store_splits(clips)
    workspace.set(train__fold=0)
    train.main()
    evaluate.main()
    measured = json.loads((METRICS / "test.json").read_text())
    assert measured["human_uar"] == pytest.approx(2 / 3)  # every tie is an error
    assert measured["human_n_clips"] == 24


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train__fold": 3}, r"params\.train\.fold: no fold 3\. Choose from all, 0 to 2"),
        (
            {"models__svm__inputs__layout": "image"},
            r"params\.models\.svm\.inputs\.layout: no 'image'\. Choose from flat, mean",
        ),
        (
            {"models__svm__inputs__features": ["mfccs"]},
            r"params\.models\.svm\.inputs\.features: no 'mfccs'; did you mean 'mfcc'\?",
        ),
        ({"models__svm__inputs__features": ["zcr"]}, r"'?zcr'?.*params\.featurize\.features"),
        ({"models__svm__c": 0.0}, r"params\.models\.svm\.c: 0\.0"),
    ],
)
def test_a_mistake_is_named_and_leaves_no_model(
    workspace: Workspace, changes: dict[str, object], message: str
) -> None:
    workspace.set(**changes)
    with pytest.raises(InputError, match=message):
        train.main()
    assert not MODEL.exists()


def test_clips_without_features_are_never_left_out_silently(workspace: Workspace) -> None:
    train.main()
    index = tables.read(dataset.INDEX, tables.FEATURES)
    tables.write(index[index["clip"] != "demo/s1_fear_2"], tables.FEATURES, dataset.INDEX)
    with pytest.raises(InputError, match=r"index\.parquet.* 1 clips .*'demo/s1_fear_2'"):
        train.main()
    with pytest.raises(InputError, match=r"^data/features/index\.parquet: "):
        evaluate.main()


def test_features_of_other_settings_are_refused(workspace: Workspace) -> None:
    """As with a stage that `dvc freeze` keeps from running."""
    workspace.set(features__mfcc__n_mfcc=13)
    with pytest.raises(InputError, match=r"params\.features\.mfcc\.n_mfcc: 13, but .*index\.parquet .* 4\."):
        train.main()
    assert not MODEL.exists()


def test_evaluate_without_a_model_says_what_makes_one(workspace: Workspace) -> None:
    with pytest.raises(InputError, match=r"data/model: .*`dvc repro train`"):
        evaluate.main()


def test_timing_is_not_part_of_the_model(workspace: Workspace) -> None:
    workspace.set(train__fold=0)
    train.main()
    assert json.loads((DATA / "timing.json").read_text())["fold_00"]["seconds"] > 0
    assert not any("timing" in name for name in model_bytes())


def test_evaluate_refuses_a_model_of_another_kind(workspace: Workspace) -> None:
    workspace.set(train__fold=0)
    train.main()
    workspace.set(model="mlp")
    with pytest.raises(InputError, match=r"params\.model: 'mlp'.*'svm'"):
        evaluate.main()


def test_predict_names_an_emotion_for_a_recording(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train.main()
    soundfile.write(tmp_path / "a.wav", syllables(0.5), RATE_HZ)
    monkeypatch.setattr("sys.argv", ["predict", "a.wav", "a.wav"])
    capsys.readouterr()
    predict.main()
    table = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert list(table.columns) == [
        *("file", "start_s", "end_s", "speech", "emotion", "p_anger", "p_fear", "p_sadness"),
        *("status", "reason", "model", "sha256"),
    ]
    assert table.filter(regex="^p_").sum(axis=1).tolist() == pytest.approx([1, 1], abs=2e-3)
    assert table["emotion"].isin(EMOTIONS).all()


def test_another_training_has_another_name_in_the_rows(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "a.wav", syllables(0.5), RATE_HZ)
    monkeypatch.setattr("sys.argv", ["predict", "a.wav", "--output", "out.csv"])
    workspace.set(train__fold=0)
    names = []
    for seed in (7, 7, 8):
        store_features(tables.read(MANIFEST, tables.MANIFEST), seed)
        train.main()
        Path("out.csv").unlink(missing_ok=True)
        predict.main()
        names.append(pd.read_csv("out.csv")["model"].item())
    assert names[0] == names[1] != names[2]


def test_predict_answers_the_good_files_and_gives_each_other_one_a_reason(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace.set(train__fold=0, predict__sure=0.0)
    train.main()
    speech = syllables(1.0)
    soundfile.write("good.wav", speech, RATE_HZ)
    soundfile.write("silent.wav", np.zeros(RATE_HZ), RATE_HZ)
    Path("text.wav").write_text("no sound")
    os.mkfifo("pipe.wav")
    names = ["good.wav", "silent.wav", "text.wav", "pipe.wav"]
    monkeypatch.setattr("sys.argv", ["predict", *names])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        predict.main()
    assert ended.value.code == 1
    printed = capsys.readouterr()
    assert "demo (synthetic" in printed.err
    table = pd.read_csv(io.StringIO(printed.out), index_col="file")
    assert list(table.index) == names
    assert table["status"].to_dict() == {
        "good.wav": "answered",
        "silent.wav": "abstained",
        "text.wav": "failed",
        "pipe.wav": "failed",
    }
    assert table["reason"].str.split(":").str[0].to_dict() == {
        "good.wav": np.nan,
        "silent.wav": "silent",
        "text.wav": "not audio or damaged",
        "pipe.wav": "unreadable",
    }
    assert table["emotion"].notna().tolist() == (table["status"] == "answered").tolist()


def syllables(seconds: float) -> np.ndarray:
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    buzz = sum(np.sin(2 * np.pi * k * 150 * time_s) / k for k in range(1, 50))
    return 0.15 * np.sin(2 * np.pi * time_s) ** 2 * buzz


def test_predict_warns_of_or_refuses_what_is_unlike_the_training_clips(workspace: Workspace) -> None:
    workspace.set(train__fold=0, predict__sure=0.0)
    table = tables.read(MANIFEST, tables.MANIFEST)
    of_speech = asdict(measure(Recording(np.float32(syllables(1.0)), RATE_HZ, 1)))
    measured = {name: of_speech[name] for name in ("duration_s", "level_dbfs", "active_s", "bandwidth_hz")}
    tables.write(tables.typed(table.assign(**measured), tables.MANIFEST), tables.MANIFEST, MANIFEST)
    train.main()
    soundfile.write("like.wav", syllables(1.0), RATE_HZ)
    soundfile.write("quiet.wav", 0.03 * syllables(1.0), RATE_HZ)
    soundfile.write("telephone.wav", resample(Recording(np.float32(syllables(1.0)), RATE_HZ, 1), 8000), 8000)
    soundfile.write("short.wav", syllables(0.5), RATE_HZ)
    files = [Path(name) for name in ("like.wav", "quiet.wav", "telephone.wav", "short.wav")]
    predicted = [*inference_workspace.bundle(params.read()).predict_files(files)]
    assert [each.status for each in predicted] == ["answered", "warned", "warned", "warned"]
    assert "level -" in predicted[1].reason
    assert "nothing above 3" in predicted[2].reason
    assert predicted[3].reason == "unlike the training data: 0.5 s long, training clips are 1.0 to 1.0 s"
    assert [sum(each.probabilities.values()) for each in predicted] == pytest.approx([1] * 4)
    workspace.set(predict__unlike="abstain")
    predicted = [*inference_workspace.bundle(params.read()).predict_files(files)]
    assert [each.emotion for each in predicted][1:] == ["", "", ""]
    assert predicted[0].emotion in EMOTIONS


def test_the_whole_of_a_long_clip_is_scored(workspace: Workspace) -> None:
    workspace.set(
        model="ann",
        train__fold=0,
        models__ann__inputs={
            "features": ["mfcc"],
            "layout": "flat",
            "duration_s": 0.08,
            "frames_per_step": 1,
        },
    )
    train.main()
    (trained,) = trained_fold.trained(params.read())
    rng = np.random.default_rng(7)
    n_steps = trained.preparation.preprocessor.n_steps
    first, second = (rng.normal(size=(n_steps, N_DIMS)).astype(np.float32) for _ in range(2))
    rows = pd.DataFrame({"clip": ["a", "b"]})
    together = trained.probabilities([np.concatenate([first, second]), first], rows)
    each = trained.probabilities([first, second], rows)
    np.testing.assert_allclose(together.iloc[0], each.mean(), atol=1e-6)
    np.testing.assert_allclose(together.iloc[1], each.iloc[0], atol=1e-6)


@pytest.mark.parametrize(
    ("trained_with", "changes", "message"),
    [
        ({"audio__pre_emphasis": 0.97}, {"audio__pre_emphasis": 0.0}, r"audio\.pre_emphasis: 0\.0, .* 0\.97"),
        ({}, {"spectrum__hop_length": 128}, r"spectrum\.hop_length: 128, .* 256"),
        ({}, {"spectrum__top_db": 60.0}, r"spectrum\.top_db: 60\.0, .* 80\.0"),
        ({}, {"features__mfcc__n_mfcc": 13}, r"features\.mfcc\.n_mfcc: 13, .* 4"),
        (
            {},
            {"models__svm__inputs__features": ["zcr", "mfcc"]},
            r"models\.svm\.inputs\.features: \['zcr', 'mfcc'\], .* \['mfcc'\]",
        ),
        ({}, {"models__svm__inputs__layout": "mean"}, r"models\.svm\.inputs\.layout: 'mean', .* 'stats'"),
    ],
)
def test_predict_refuses_other_settings_than_the_models(
    workspace: Workspace, trained_with: dict[str, object], changes: dict[str, object], message: str
) -> None:
    workspace.set(train__fold=0, **trained_with)
    store_features(tables.read(MANIFEST, tables.MANIFEST))
    train.main()
    workspace.set(**changes)
    with pytest.raises(InputError, match=rf"^params\.{message}\. .* `dvc repro train`"):
        inference_workspace.bundle(params.read())


def test_predict_refuses_another_operating_point_than_the_models(workspace: Workspace) -> None:
    workspace.set(features__mfcc__n_mfcc=N_DIMS, train__normalize="speaker", train__fold=0)
    train.main()
    workspace.set(train__normalize="global")
    with pytest.raises(InputError, match=r"^params\.train\.normalize: 'global', .*'speaker'"):
        inference_workspace.bundle(params.read())


def test_every_value_of_a_networks_block_has_a_key(workspace: Workspace) -> None:
    chosen = params.read().model_copy(update={"model": "cnn1d"})
    noted = made_with(chosen)
    assert noted["models.cnn1d.convolutions.1.filters"] == 128
    assert noted["models.cnn1d.inputs.features"] == ["mfcc", "zcr", "rms"]
    assert noted["models.cnn1d.training.plateau.factor"] == 0.5
    assert noted["features.zcr"] == {}
    assert "features.chroma" not in noted
    assert json.loads(json.dumps(noted)) == noted


def test_pooled_clips_are_the_same_numbers_as_pooled_in_each_fold(workspace: Workspace) -> None:
    inputs = params.read().config("models", "svm", "params.model").inputs
    splits, index = dataset.read_training_splits(), tables.read(dataset.INDEX, tables.FEATURES)
    path = dataset.store_pooled(inputs, dataset.seen(splits, [1]), index, True, CHECKPOINTS)
    assert path is not None
    rows = dataset.training_rows(splits.fold(1, *dataset.SEEN), index, use_augmented=True)
    np.testing.assert_array_equal(
        np.concatenate(dataset.read_pooled(rows, path)),
        np.concatenate(dataset.load_pooled(rows, inputs, "global")),
    )


def test_clips_are_pooled_once_for_all_folds(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    pooled = []
    real = dataset.pool
    monkeypatch.setattr(dataset, "pool", lambda *args: pooled.append(1) or real(*args))
    train.main()
    assert len(pooled) == 2 * len(SPEAKERS) * len(EMOTIONS) * 4  # every clip and its copy, for 3 folds


@pytest.mark.parametrize("model", ["ann", "cnn1d", "cnn2d", "cnn_lstm", "gru", "lstm", "resnet34"])
def test_shared_training_settings_reach_every_network(workspace: Workspace, model: str) -> None:
    changed: dict[str, object] = {
        "epochs": 3,
        "learning_rate": 0.5,
        "batch_size": 7,
        "patience_epochs": 2,
        "monitor": "loss",
        "optimizer": "sgd",
        "class_weights": "balanced",
        "init_from": "others",
    }
    workspace.set(**{f"training__{key}": value for key, value in changed.items()})
    config = params.read().config("models", model, "params.model")
    assert config.training.model_dump() | changed == config.training.model_dump()


def test_a_models_own_training_settings_override_the_shared_ones(workspace: Workspace) -> None:
    before = params.read().block("models", "gru")
    workspace.set(training__clip_norm=9.0, training__epochs=3)
    assert params.read().block("models", "gru")["training"]["clip_norm"] == 1.0
    assert params.read().block("models", "gru") == before | {"training": before["training"] | {"epochs": 3}}
    assert "training" not in params.read().block("models", "svm")


def test_the_curve_of_enrolled_clips_is_stated_as_the_scores_of_the_protocol() -> None:
    right = ["anger", "anger", "anger", "fear", "anger", "fear"]
    tested = made_up(right, [*right[:4], "fear", "anger"], speaker=list("abcdef"), corpus=list("xxxxyy"))
    given = shipped.read()
    for protocol, uar in (("speaker_independent", (3 / 4 + 1 / 2) / 2), ("cross_corpus", 1 / 2)):
        chosen = given.model_copy(update={"split": given.split.model_copy(update={"protocol": protocol})})
        curve = evaluate.enrolment([{0: tested, 8: tested}], chosen)
        assert curve["clips"].tolist() == [0, 8]
        assert curve["uar"].tolist() == pytest.approx([uar, uar])


def test_no_fold_is_trained_by_code_that_was_edited_since_it_was_loaded(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_edit_since_loaded("stages/learning/training.py", monkeypatch)
    with pytest.raises(InputError, match=r"^stages/learning/training\.py: changed"):
        train.main()
    assert not [*CHECKPOINTS.rglob("fold.json")]
