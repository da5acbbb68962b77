"""Files of one run among those of another: each reader refuses them, or gives what an unmixed run gives."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import soundfile

from stages import evaluate, split, train
from stages.base import params
from stages.base.errors import InputError
from stages.base.files import (
    CORPORA,
    FEATURES,
    MANIFEST,
    METRICS,
    MODEL,
    PREDICTIONS,
    RAW,
    SPLITS,
    write_json,
)
from stages.base.params import PARAMS
from stages.base.workspace import LOCK
from stages.data import keys, tables
from stages.evaluation import comparison
from stages.inference import workspace as inference_workspace
from stages.learning import dataset, trained_fold
from stages.learning.record import RECORD, TRAINED_ON
from stages.page.training_clips import TrainingClips
from stages.reporting import finished_run
from stages.reporting import robustness as shown_robustness
from stages.splitting.leak import LeakError
from stages.tools import data_page, robustness
from tests.faults.conftest import Fault, draws
from tests.faults.pipeline import rng
from tests.support import long_splits
from tests.support.workspace import RATE_HZ, Workspace, voice
from tests.test_train import N_DIMS, store_features, store_inputs

# Every two of these make different results. The first ones change the recordings, not params.yaml.
SETTINGS: list[dict[str, Any]] = [
    {},
    {"recordings": "others of the same names"},
    {"recordings": "two labels exchanged"},
    {"recordings": "one more"},
    {"seed": 21},
    {"split__n_folds": 6},
    {"split__protocol": "random"},
    {"split__protocol": "leave_one_speaker_out"},
    {"split__validation_fraction": 0.5},
    {"split__labels__merge": {"fear": "anger"}},
    {"split__labels__drop": ["fear"]},
    {"train__fold": 1},
    {"train__seed": 21},
    {"train__n_seeds": 2},
    {"train__use_augmented": False},
    {"train__normalize": "speaker"},
    {"model": "ridge"},
    {"models__svm__c": 3.0},
    {"models__svm__inputs__layout": "mean"},
    {"audio__pre_emphasis": 0.5},
    {"spectrum__n_mels": 64},
    {"evaluate__n_resamples": 200},
]
# What stages write and others read, each of which may be another run's.
PARTS = [
    *(PARAMS, RAW, MANIFEST, SPLITS, FEATURES, MODEL, PREDICTIONS, shown_robustness.FILE),
    *(METRICS / f"{name}.json" for name in ("split", "train", "test")),
]
N_MIXED = 4  # mixtures of each pair
MEAN = {"features": ["mfcc"], "layout": "mean"}


def evaluated() -> str:
    evaluate.main()
    return PREDICTIONS.read_bytes().hex() + (METRICS / "test.json").read_text()


def reported() -> str:
    run = finished_run.read(params.read())
    return json.dumps([run.split, run.train, run.test]) + run.predictions.to_csv() + run.clips.to_csv()


def carded() -> str:
    run = finished_run.read(params.read())
    return json.dumps(shown_robustness.read(run.predictions.attrs, run.params))


def degraded() -> str:
    return json.dumps(robustness.measure(params.read(), every=6))


def predicted() -> str:
    model = inference_workspace.bundle(params.read())
    if model.facts.train.normalize != "global":
        model = model.adapted(sorted(RAW.rglob("*.wav"))[:4])
    return json.dumps(model.predict(voice("new", 1), RATE_HZ).probabilities)


def scored() -> str:
    return str(inference_workspace.bundle(params.read()).facts.score)


def paged() -> str:
    clips = TrainingClips(params.read())
    return clips.rows.to_csv() + clips.lesson.to_csv()


# Each reader, what it returns without a number, and the part whose run its result has to be of: whoever asks
# for a prediction has a model, whoever asks for anything else has parameters.
READERS: dict[str, tuple[Callable[[], str], str, Path]] = {
    "report": (reported, "", PARAMS),
    "the model card's robustness": (carded, "null", PARAMS),
    "robustness": (degraded, "", PARAMS),
    "predict": (predicted, "", MODEL),
    "predict's score": (scored, "None", MODEL),
    "the page's training clips": (paged, "", PARAMS),
    "evaluate": (evaluated, "", PARAMS),  # last: it writes
}


def store_recordings(recordings: str) -> None:
    """Leaves recordings, their manifest and made-up features."""
    store_inputs()
    clips = tables.read(MANIFEST, tables.MANIFEST)
    if recordings == "two labels exchanged":
        some = clips.groupby("emotion").head(1).index[:2]
        clips.loc[some, "emotion"] = clips.loc[some[::-1], "emotion"].to_numpy()
    if recordings == "one more":
        more = clips.tail(1).assign(clip="demo/s6_sadness_9", path="demo/s6_sadness_9.wav")
        clips = pd.concat([clips, more], ignore_index=True)
    for i, (path, speaker) in enumerate(clips[["path", "speaker"]].itertuples(index=False)):
        (RAW / path).parent.mkdir(parents=True, exist_ok=True)
        others = recordings == "others of the same names"
        soundfile.write(RAW / path, voice(f"{speaker}{'x' * others}", i), RATE_HZ)
        clips.loc[i, ["sha256", "audio_sha256"]] = keys.sha256(RAW / path)
    tables.write(clips, tables.MANIFEST, MANIFEST)
    store_features(clips, seed=len(recordings))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Returns the folder of a finished run of a setting."""

    @cache
    def run(setting: int) -> Path:
        folder = tmp_path_factory.mktemp("run")
        changes = {"split__n_folds": 3} | SETTINGS[setting]
        recordings = changes.pop("recordings", "")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            work = Workspace(folder)
            work.set(model="svm", models__svm__inputs__features=["mfcc"], featurize__features=["mfcc"])
            work.set(models__ridge__inputs={**work.params["models"]["ridge"]["inputs"], **MEAN})
            work.set(features__mfcc__n_mfcc=N_DIMS, train__threads=1, evaluate__n_resamples=100)
            work.set(augment__copies=1)
            work.set(**changes)
            store_recordings(recordings)
            write_json({"demo": {}}, CORPORA)
            for stage in (split, train, evaluate):
                stage.main()
            write_json(robustness.measure(params.read(), every=6), shown_robustness.FILE)
        return folder

    return run


@pytest.fixture(scope="module")
def unmixed(
    finished: Callable[[int], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[int, str], str]:
    """Returns a reader's result in the finished run of a setting."""

    @cache
    def run(setting: int, reader: str) -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(shutil.copytree(finished(setting), tmp_path_factory.mktemp("unmixed") / "run"))
            return READERS[reader][0]()

    return run


@pytest.fixture(autouse=True)
def one_condition(monkeypatch: pytest.MonkeyPatch) -> None:
    clean = {robustness.CLEAN: robustness.CONDITIONS[robustness.CLEAN]}
    monkeypatch.setattr(robustness, "CONDITIONS", clean)


@pytest.mark.parametrize("number", draws(sample=1, slow=6, campaign=2 * len(SETTINGS)))
def test_mixed_runs_give_no_wrong_number(
    fault: Fault,
    finished: Callable[[int], Path],
    unmixed: Callable[[int, str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    """Each setting against random others, each time with random files exchanged."""
    draw = rng("stale", number)
    ours = number % len(SETTINGS)
    theirs = draw.choice([setting for setting in range(len(SETTINGS)) if setting != ours])
    differing = [part for part in PARTS if not same(finished(ours) / part, finished(theirs) / part)]
    for i in range(N_MIXED):
        folder = shutil.copytree(finished(ours), tmp_path / str(i))
        monkeypatch.chdir(folder)
        n_parts = draw.choice([1, len(differing) - 1, draw.randint(1, len(differing))])
        exchanged = draw.sample(differing, max(1, n_parts))
        for part in exchanged:
            put(finished(theirs) / part, folder / part)
        for reader, (read, nothing, of) in READERS.items():
            before = written(folder)
            with fault(f"{reader} reads mixed runs"):
                try:
                    result = read()
                except InputError:
                    assert written(folder) == before
                    continue
                right = unmixed(theirs if of in exchanged else ours, reader)
                names = [part.as_posix() for part in exchanged]
                assert result in (nothing, right), (SETTINGS[ours], SETTINGS[theirs], names)


@pytest.mark.parametrize("number", draws(sample=1, slow=6, campaign=2 * len(SETTINGS)))
def test_runs_are_compared_only_on_the_same_recordings(
    fault: Fault, finished: Callable[[int], Path], number: int
) -> None:
    """Then the comparison shows what each run's own metrics say."""
    draw = rng("compare", number)
    a = number % len(SETTINGS)
    b = draw.choice([setting for setting in range(len(SETTINGS)) if setting != a])
    sides = [revision(finished(setting)) for setting in (a, b)]
    with fault("compare of runs with other settings"):
        try:
            compared = comparison.compare(*sides, n_resamples=50, seed=20)
        except InputError:
            described = [side.predictions[["fold", "clip", "audio_sha256", "label"]] for side in sides]
            shown = [table.drop_duplicates().sort_values(["fold", "clip"]).to_csv() for table in described]
            protocols = {side.params["split.protocol"] for side in sides}
            assert shown[0] != shown[1] or len(protocols) == 2
            return
        uar = compared.metrics["uar"]
        for setting, found in ((a, uar.a), (b, uar.b)):
            measured = json.loads((finished(setting) / METRICS / "test.json").read_text())
            assert found == pytest.approx(measured["uar"])


def revision(folder: Path) -> comparison.Revision:
    """Returns what `comparison.read` would, without Git."""
    predictions = tables.read(folder / PREDICTIONS, tables.PREDICTIONS)
    values = params.load(folder / PARAMS)
    return comparison.Revision(folder.name, predictions, keys.leaves({"split": values["split"]}))


def put(source: Path, target: Path) -> None:
    """Replaces a file or folder by a copy of another one."""
    if target.is_dir():
        shutil.rmtree(target)
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)


def written(folder: Path) -> dict[str, bytes]:
    """Returns the files that readers might write."""
    tops = [folder / METRICS, folder / MODEL, folder / PREDICTIONS]
    paths = [path for top in tops for path in (top, *top.rglob("*")) if path.is_file()]
    return {str(path): path.read_bytes() for path in paths}


def same(path: Path, other: Path) -> bool:
    """Returns whether two files or folders have the same content."""
    if path.is_file():
        return path.read_bytes() == other.read_bytes()
    names = [{file.relative_to(top) for file in top.rglob("*")} for top in (path, other)]
    return names[0] == names[1] and all(
        same(path / name, other / name) for name in names[0] if (path / name).is_file()
    )


@pytest.fixture
def run(finished: Callable[[int], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run, in the current folder."""
    shutil.copytree(finished(0), tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("column", ["speaker", "audio_sha256"])
def test_a_model_that_was_trained_on_what_it_tests_gives_no_score(run: Path, column: str) -> None:
    """Even where all hashes agree."""
    test = long_splits.read().query("fold == 1 and role == 'test'").iloc[0]
    fold = MODEL / "fold_01"
    trained_on = tables.read(fold / TRAINED_ON, tables.TRAINED_ON)
    trained_on.loc[0, column] = test[column]
    tables.write(trained_on, tables.TRAINED_ON, fold / TRAINED_ON)
    record = json.loads((fold / RECORD).read_text())
    record["sha256"][TRAINED_ON] = keys.sha256(fold / TRAINED_ON)
    write_json(record, fold / RECORD)
    with pytest.raises(LeakError, match=r"^data/model/fold_01/trained_on\.parquet: "):
        evaluate.main()


@pytest.mark.parametrize("reader", ["evaluate", "predict", "report"])
def test_a_model_of_other_code_or_libraries_is_refused(
    run: Path, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = {
        "evaluate": evaluate.main,
        "predict": lambda: inference_workspace.bundle(params.read()),
        "report": lambda: finished_run.read(params.read()),
    }[reader]
    made_by = trained_fold.made_by(params.read())
    files = ("learning/preprocessing.py", "models/svm.py", "audio/spectrum.py", "features/mfcc.py")
    for key in (*files, "scikit-learn"):
        monkeypatch.setattr(trained_fold, "made_by", lambda _, key=key: made_by | {key: "other"})
        place = f"stages/{key}" if key in files else key
        with pytest.raises(InputError, match=rf"^{place}: 'other', .*{made_by[key]}"):
            read()


@pytest.mark.parametrize(("column", "value"), [("audio_sha256", "another"), ("emotion", "sadness")])
def test_a_new_manifest_with_old_results_is_refused(run: Path, column: str, value: str) -> None:
    manifest = tables.read(MANIFEST, tables.MANIFEST)
    manifest.loc[0, column] = value
    tables.write(manifest, tables.MANIFEST, MANIFEST)
    for read in (evaluated, reported, degraded, paged):
        with pytest.raises(InputError, match=r"^data/splits\.parquet: .*`dvc repro split`"):
            read()


@pytest.mark.parametrize("reader", [train.main, evaluate.main, paged])
def test_features_of_other_code_are_refused(run: Path, reader: Callable[[], Any]) -> None:
    """As after `dvc repro --single-item`: featurize has not run since."""
    index = tables.read(dataset.INDEX, tables.FEATURES)
    index.attrs["made_by"]["audio/spectrum.py"] = "other"
    tables.write(index, tables.FEATURES, dataset.INDEX)
    if reader is not train.main:  # a model trained on these
        pass_off_input(dataset.INDEX)
    with pytest.raises(
        InputError, match=r"^stages/audio/spectrum\.py: .*index\.parquet .*'other'.*featurize`"
    ):
        reader()


def test_features_of_other_recordings_are_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = tables.read(MANIFEST, tables.MANIFEST)
    manifest.loc[0, "audio_sha256"] = "another recording of the same name"
    tables.write(manifest, tables.MANIFEST, MANIFEST)
    split.main()
    monkeypatch.setattr(data_page.workspace, "reproduce", lambda *_, **__: None)
    monkeypatch.setattr("sys.argv", ["data_page"])
    for read in (train.main, data_page.main):
        with pytest.raises(InputError, match=r"^data/features/index\.parquet: .*`dvc repro featurize`"):
            read()
    assert not data_page.PAGE.exists()


NOISE = {"probability": 1.0, "snr_db": [1.0, 2.0]}


@pytest.mark.parametrize("reader", [train.main, evaluate.main, reported, predicted, paged])
@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"augment__copies": 2}, r"augment\.copies: 2, .* 1\."),
        ({"augment__copies": 0}, r"augment\.copies: 0, .* 1\."),
        ({"augment__chain": ["gain"]}, r"augment\.chain: \['gain'\], "),
        ({"augmentations__noise": NOISE}, r"augmentations\.noise\.probability: 1\.0, "),
    ],
)
def test_copies_of_other_settings_are_refused(
    run: Path, reader: Callable[[], Any], changes: dict[str, Any], key: str
) -> None:
    """As after `dvc freeze augment featurize`."""
    change_params(**changes)
    with pytest.raises(InputError, match=rf"^params\.{key}"):
        reader()


@pytest.mark.parametrize("unused", [{"train__use_augmented": False}, {"augment__copies": 0}])
def test_settings_of_copies_that_nobody_uses_are_not_compared(run: Path, unused: dict[str, Any]) -> None:
    change_params(**unused)
    shutil.rmtree("data/features")
    store_features(tables.read(MANIFEST, tables.MANIFEST))
    train.main()
    change_params(augment__chain=["gain"], augmentations__noise=NOISE)
    for reader in (train.main, evaluate.main, predicted, paged):
        reader()


@pytest.mark.parametrize(
    ("key", "match"),
    [("made_by", r"^stages/augmentations/noise\.py: .*'other'"), ("made_from", r"index\.parquet: ")],
)
def test_copies_of_other_code_or_recordings_are_refused(run: Path, key: str, match: str) -> None:
    index = tables.read(dataset.INDEX, tables.FEATURES)
    other = {"made_by": index.attrs["copies"]["made_by"] | {"augmentations/noise.py": "other"}}
    index.attrs["copies"][key] = other.get(key, "other")
    tables.write(index, tables.FEATURES, dataset.INDEX)
    with pytest.raises(InputError, match=rf"{match}.*`dvc repro featurize`"):
        train.main()


def test_another_recording_in_the_place_of_a_tested_one_is_not_degraded(run: Path) -> None:
    path = RAW / "demo" / "s1_anger_0.wav"
    soundfile.write(path, voice("other", 1), RATE_HZ)
    with pytest.raises(InputError, match=rf"^{path}: "):
        degraded()


def test_predictions_that_were_edited_are_not_reported(run: Path) -> None:
    """As by `dvc repro --single-item report`, which does not run evaluate."""
    predictions = tables.read(PREDICTIONS, tables.PREDICTIONS)
    uar = json.loads((METRICS / "test.json").read_text())["uar"]
    classes = [f"p_{name}" for name in ("anger", "fear", "sadness")]
    right = predictions["predicted"] == predictions["label"]
    edited = predictions[classes].where(~right, predictions[classes].to_numpy()[:, [1, 2, 0]])
    predictions[classes] = edited
    predictions["predicted"] = tables.most_probable(edited)
    tables.write(predictions, tables.PREDICTIONS, PREDICTIONS)
    with pytest.raises(InputError, match=rf"^{PREDICTIONS}: .*{METRICS / 'test.json'}.* {uar:.6g}\b"):
        reported()


@pytest.mark.parametrize("protocol", ["random", "leave_one_speaker_out"])
def test_a_score_is_never_that_of_another_protocol(run: Path, protocol: str) -> None:
    """The model is of its settings still, and predicts; only its score is not known."""
    assert "UAR" in scored()
    change_params(split__protocol=protocol)
    assert predicted()
    assert scored() == "None"


def test_a_score_is_never_of_other_clips(run: Path) -> None:
    """Before and after `dvc repro split` of another manifest."""
    assert "UAR" in scored()
    manifest = tables.read(MANIFEST, tables.MANIFEST)
    manifest.loc[0, "problem"] = "too long"
    tables.write(manifest, tables.MANIFEST, MANIFEST)
    assert scored() == "None"
    split.main()
    assert predicted()
    assert scored() == "None"


@pytest.mark.parametrize(
    ("changes", "is_tested"),
    [
        ({}, True),
        ({"corpora__emodb": {"labels": {}}}, True),
        ({"predict__sure": 0.9}, True),
        ({"manifest__longest_s": 2.0}, False),
        ({"corpora__demo__n_speakers": 8}, False),
    ],
)
def test_a_score_is_never_of_other_settings_of_the_recordings(
    run: Path, changes: dict[str, Any], is_tested: bool
) -> None:
    values = params.load(PARAMS)
    listed = {"manifest": ["manifest"], "ingest": ["corpora"]}
    stages = {
        name: {"params": {PARAMS.name: {key: values[key] for key in own}}} for name, own in listed.items()
    }
    write_json({"stages": stages}, LOCK)
    change_params(**changes)
    assert predicted()
    assert ("UAR" in scored()) == is_tested


@pytest.mark.parametrize("content", ["", "stages:\n", "stages: {manifest: {}}\n", "<<<<<<< HEAD\n"])
def test_a_lock_that_records_no_settings_gives_no_score(run: Path, content: str) -> None:
    LOCK.write_text(content)
    assert predicted()
    assert scored() == "None"


def test_intervals_of_another_number_of_resamples_are_refused(run: Path) -> None:
    change_params(evaluate__n_resamples=200)
    assert scored() == "None"
    with pytest.raises(InputError, match=r"^params\.evaluate\.n_resamples: 200, .* 100\..*evaluate`"):
        reported()


@pytest.mark.parametrize("name", ["test.json", "enrolment.csv", "train.json", "history.csv", "split.json"])
def test_metrics_of_another_run_are_refused(run: Path, name: str) -> None:
    """Even where they differ in what nothing else says: an interval, a learning curve."""
    path = METRICS / name
    if path.suffix == ".json":
        values = json.loads(path.read_text())
        edited = values | ({"uar_low": 0.1} if "uar_low" in values else {"sha256": {"other": ""}})
        path.write_text(json.dumps(edited))
    else:
        path.write_text(path.read_text() + f"{','.join('0' * len(path.read_text().split(',')))}\n")
    with pytest.raises(InputError, match=rf"^metrics/({name}|history\.csv): "):
        reported()


def change_params(**changes: Any) -> None:
    values = json.loads(PARAMS.read_text())
    work = Workspace(Path())
    work.params = values
    work.set(**changes)


def pass_off_input(path: Path) -> None:
    """Makes each fold's record say that it was trained with a file as it is now."""
    for record in MODEL.glob(f"*/{RECORD}"):
        values = json.loads(record.read_text())
        values["made_from"][path.as_posix()] = keys.sha256(path)
        write_json(values, record)


def test_new_features_with_an_old_model_are_refused(run: Path) -> None:
    manifest = tables.read(MANIFEST, tables.MANIFEST)
    shutil.rmtree("data/features")
    store_features(pd.concat([manifest, manifest.tail(1).assign(clip="demo/new")]))
    with pytest.raises(InputError, match=r"^data/features/index\.parquet: .*`dvc repro train`"):
        evaluate.main()
