"""Systems run end to end, in a copy of the repository, on clips synthesised under the corpora's names."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from ruamel.yaml import YAML

from benchmark.published import rows, workspace
from stages.base.params import load
from stages.base.workspace import alone
from tests.support.workspace import RATE_HZ

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow

SPLIT = "protocols__as_reported__split__"
FEW_FOLDS = {"protocols__speaker_independent__split__n_folds": 3}


def ravdess(folder: Path) -> list[Path]:
    """Returns files of six actors who say both sentences twice in all eight emotions."""
    spoken = product(range(1, 7), range(1, 9), (1, 2), (1, 2))
    return [folder / f"03-01-{emotion:02}-01-{s:02}-{r:02}-{actor:02}.wav" for actor, emotion, s, r in spoken]


def savee(folder: Path) -> list[Path]:
    """Returns files of the four speakers, three of each emotion."""
    codes = ("a", "d", "f", "h", "n", "sa", "su")
    return [
        folder / f"{s}_{code}{n:02}.wav" for s, code, n in product(("DC", "JE", "JK", "KL"), codes, (1, 2, 3))
    ]


def crema_d(folder: Path) -> list[Path]:
    """Returns files of twelve actors who say three sentences in all six emotions."""
    actors = [block + actor for block, actor in product((1000, 1040, 1080), (1, 2, 3, 4))]
    emotions = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
    spoken = product(actors, ("IEO", "MTI", "WSI"), emotions)
    return [folder / f"{actor}_{sentence}_{emotion}_XX.wav" for actor, sentence, emotion in spoken]


def record(project: Path, corpus: Callable[[Path], list[Path]]) -> None:
    """Synthesises a corpus into data/sources, no two clips alike."""
    folder = project / "data" / "sources" / corpus.__name__
    folder.mkdir(parents=True)
    n_before = len([*folder.parent.glob("*/*.wav")])
    for number, path in enumerate(corpus(folder), start=n_before):
        phase = 2 * np.pi * (100 + number) * np.arange(RATE_HZ // 3) / RATE_HZ
        syllables = np.where(np.sin(20 * np.pi * np.arange(len(phase)) / RATE_HZ) > 0, 1, 0.1)
        soundfile.write(path, syllables * (0.2 * np.sin(phase) + 0.1 * np.sin(15 * phase)), RATE_HZ)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the repository's files, without corpora and rows."""
    return copied(tmp_path)


@pytest.fixture(scope="module")
def ran_b1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with clips of RAVDESS and the rows of B1_svm on them, to copy."""
    folder = copied(tmp_path_factory.mktemp("ran"))
    record(folder, ravdess)
    edit(folder, "B1_svm", "ravdess")
    done = run(folder, "B1_svm")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with all three corpora, for systems to run one after the other."""
    folder = copied(tmp_path_factory.mktemp("recorded"))
    for corpus in (crema_d, ravdess, savee):
        record(folder, corpus)
    return folder


def copied(folder: Path) -> Path:
    """Copies the repository's files, without corpora and rows, and returns the folder."""
    parts = ["stages", "benchmark", "data", "dvc.yaml", "params.yaml", ".dvcignore", ".dvc"]
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *parts]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in listed:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    shutil.rmtree(folder / "benchmark" / "published" / "rows", ignore_errors=True)
    return folder


def edit(project: Path, name: str, keep: str, **changes: Any) -> None:
    """Keeps one variant and one seed of a system and sets keys of its file, underscores twice for dots."""
    path = project / "benchmark" / "published" / "systems" / f"{name}.yaml"
    values = load(path)
    values["variants"] = {keep: values["variants"][keep]}
    for key, value in ({"n_seeds": 1} | changes).items():
        block = values
        *above, last = key.split("__")
        for part in above:
            block = block[part]
        block[last] = value
    YAML().dump(values, path)


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmark.published.system", *arguments],
        cwd=project, env=os.environ | {"PYTHONPATH": ""}, capture_output=True, text=True,
    )  # fmt: skip


def result(project: Path, name: str) -> list[dict[str, str]]:
    return rows.read(project / "benchmark" / "published" / "rows" / f"{name}.csv")


def scores(project: Path, name: str) -> list[dict[str, str]]:
    """Returns the rows without what is measured in seconds."""
    return [{k: v for k, v in row.items() if "second" not in k} for row in result(project, name)]


def stages(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Returns the stages that DVC ran, in order."""
    return [line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage '")]


def test_seeds_are_rows_of_more_and_more_trainings(ran_b1: Path, tmp_path: Path) -> None:
    project = shutil.copytree(ran_b1, tmp_path / "project", symlinks=True)
    assert [row["n_seeds"] for row in result(project, "B1_svm")] == ["1", "1"]
    edit(project, "B1_svm", "ravdess", n_seeds=2)
    done = run(project, "B1_svm")
    assert done.returncode == 0, done.stderr
    assert "B1_svm ravdess, seed 1 of 2, about 0:00:" in done.stdout  # of the second alone
    assert "B1_svm ravdess, seed 2 of 2, about 0:00:" in done.stdout
    assert stages(done).count("train") == 2  # the first seed is there already
    reported, new = result(project, "B1_svm")
    assert [row["n_seeds"] for row in (reported, new)] == ["2", "2"]
    assert all(float(row["accuracy_std"]) >= 0 for row in (reported, new))
    runs = project / "benchmark" / "published" / "runs" / "B1_svm"
    splits = [(runs / f"ravdess-as_reported-{seed}" / "data" / "splits.parquet") for seed in (20, 21)]
    assert splits[0].read_bytes() != splits[1].read_bytes()
    edit(project, "B1_svm", "ravdess", n_seeds=1)  # as in the middle of a run that has done one seed so far
    done = run(project, "B1_svm")
    assert done.returncode == 0, done.stderr
    assert [row["n_seeds"] for row in result(project, "B1_svm")] == ["2", "2"]


@pytest.mark.parametrize(
    ("deleted", "said"),
    [("*-06.wav", "5 of the 6 speakers"), ("03-01-??-01-02-02-*.wav", "144 of the 192 clips")],
)
def test_a_corpus_with_less_data_leaves_the_rows_as_measured(
    ran_b1: Path, tmp_path: Path, deleted: str, said: str
) -> None:
    project = shutil.copytree(ran_b1, tmp_path / "project", symlinks=True)
    before = result(project, "B1_svm")
    for path in (project / "data" / "sources" / "ravdess").glob(deleted):
        path.unlink()
    done = run(project, "B1_svm")
    assert done.returncode == 0, done.stderr
    assert f"B1_svm ravdess: data/sources has {said}" in done.stdout
    assert "train" not in stages(done)
    assert result(project, "B1_svm") == before


def test_a_system_runs_when_its_corpus_is_there_and_only_what_changed_runs_again(project: Path) -> None:
    absent = run(project, "B1_svm")
    assert absent.returncode == 0, absent.stderr
    found = result(project, "B1_svm")
    needs = {
        "ravdess_savee": "not run here: needs RAVDESS and SAVEE",
        "ravdess": "not run here: needs RAVDESS",
    }
    assert [row["status"] for row in found] == [needs[row["variant"]] for row in found]
    assert all(
        row[column] == "" for row in found for column in ("accuracy", "uar", "n_clips", "train_seconds")
    )
    assert not (project / workspace.RUNS).exists()

    record(project, ravdess)
    edit(project, "B1_svm", "ravdess_savee")
    assert run(project, "B1_svm").returncode == 0
    assert {row["status"] for row in result(project, "B1_svm")} == {"not run here: needs SAVEE"}

    record(project, savee)
    done = run(project, "B1_svm")
    assert done.returncode == 0, done.stdout + done.stderr
    reported, new = result(project, "B1_svm")
    assert (reported["status"], reported["leaky"], new["leaky"]) == ("run", "True", "False")
    assert (reported["reported_accuracy"], new["reported_accuracy"]) == ("0.517", "")
    assert (reported["n_clips"], new["n_clips"], new["n_speakers"]) == ("14", "276", "10")
    assert (reported["n_folds"], new["n_folds"], new["n_seeds"]) == ("1", "6", "1")
    assert reported["n_train"] == new["n_train"]
    assert float(new["lost"]) == pytest.approx(float(reported["accuracy"]) - float(new["accuracy"]), abs=1e-3)
    assert (
        0
        <= float(reported["accuracy_low"])
        <= float(reported["accuracy"])
        <= float(reported["accuracy_high"])
        <= 1
    )
    assert float(reported["train_seconds"]) > 0
    ran = stages(done)
    # for the number of clips, then a run of each protocol
    assert ran == [
        *("select", "ingest", "manifest"),
        *("select", "split", "augment", "featurize", "train", "evaluate"),
        *("select", "split", "train", "evaluate"),
    ]

    again = run(project, "B1_svm")
    assert "Running stage" not in again.stdout
    assert result(project, "B1_svm") == [reported, new]

    edit(project, "B1_svm", "ravdess_savee", params__models__svm__c=3.0)
    assert stages(run(project, "B1_svm")) == ["select", *["select", "train", "evaluate"] * 2]


def test_a_failing_row_leaves_the_earlier_rows_and_is_reported_with_its_workspace(
    ran_b1: Path, tmp_path: Path
) -> None:
    project = shutil.copytree(ran_b1, tmp_path / "project", symlinks=True)
    before = (project / "benchmark" / "published" / "rows" / "B1_svm.csv").read_bytes()
    edit(project, "B1_svm", "ravdess", params__featurize={"features": ["logmel"]})
    failed = run(project, "B1_svm")
    assert failed.returncode == 1
    place = "benchmark/published/runs/B1_svm/ravdess-clips"
    assert f"error: B1_svm ravdess: {place}: " in failed.stderr
    assert failed.stderr.splitlines()[-1].startswith("error: B1_svm ravdess: failed")
    assert (project / "benchmark" / "published" / "rows" / "B1_svm.csv").read_bytes() == before
    assert sorted(path.name for path in (project / "benchmark" / "published" / "rows").iterdir()) == [
        "B1_svm.csv"
    ]
    both = run(project, "B1_svm", "C1_cnn")  # the second one runs all the same, as far as it can
    assert both.returncode == 1
    assert both.stderr.splitlines()[-1].startswith("error: B1_svm ravdess: failed")
    assert {row["status"] for row in result(project, "C1_cnn")} == {"not run here: needs TESS"}


def test_a_failing_variant_leaves_the_others_and_those_compared_with_it_fail_too(project: Path) -> None:
    record(project, ravdess)
    edit(project, "B1_svm", "ravdess")
    path = project / "benchmark" / "published" / "systems" / "B1_svm.yaml"
    values = load(path)
    last = values["variants"]["ravdess"]
    broken = last | {"params": last["params"] | {"models": {"svm": {"inputs": {"features": ["byol_s"]}}}}}
    compared = last | {"against": "broken"}
    values["variants"] = {"broken": broken, "compared": compared, "ravdess": last}
    YAML().dump(values, path)
    done = run(project, "B1_svm")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: B1_svm broken, B1_svm compared: failed")
    assert "error: B1_svm compared: is compared with broken" in done.stderr
    found = {row["variant"]: row["status"] for row in result(project, "B1_svm")}
    assert found == {"broken": rows.NOT_YET, "compared": rows.NOT_YET, "ravdess": "run"}


def test_a_variant_is_not_trained_if_what_it_is_compared_with_keeps_its_rows(
    ran_b1: Path, tmp_path: Path
) -> None:
    project = shutil.copytree(ran_b1, tmp_path / "project", symlinks=True)
    before = result(project, "B1_svm")
    path = project / "benchmark" / "published" / "systems" / "B1_svm.yaml"
    values = load(path)
    values["variants"]["compared"] = values["variants"]["ravdess"] | {"role": "further", "against": "ravdess"}
    YAML().dump(values, path)
    for recording in (project / "data" / "sources" / "ravdess").glob("*-06.wav"):
        recording.unlink()
    done = run(project, "B1_svm")
    assert done.returncode == 1
    assert "error: B1_svm compared: is compared with ravdess" in done.stderr
    assert "train" not in stages(done)
    assert result(project, "B1_svm")[:2] == before


def test_a_system_is_run_by_one_process_at_a_time(ran_b1: Path) -> None:
    with alone(ran_b1 / workspace.RUNS / "B1_svm"):
        done = run(ran_b1, "B1_svm")
    assert done.returncode == 1
    assert f"error: B1_svm: {workspace.RUNS / 'B1_svm'}: another run" in done.stderr
    assert str(os.getpid()) in done.stderr


def test_a_killed_run_resumes(ran_b1: Path, tmp_path: Path) -> None:
    project = shutil.copytree(ran_b1, tmp_path / "project", symlinks=True)
    shutil.rmtree(project / "benchmark" / "published" / "rows")
    edit(project, "B1_svm", "ravdess", params__models__svm__c=3.0)
    command = [sys.executable, "-m", "benchmark.published.system", "B1_svm"]
    process = subprocess.Popen(
        command, cwd=project, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    n_trained = 0
    for line in process.stdout:  # of the second protocol
        if line.startswith("Running stage 'train'") and (n_trained := n_trained + 1) == 2:
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert result(project, "B1_svm") == []
    done = run(project, "B1_svm")
    assert done.returncode == 0, done.stderr
    assert stages(done) == ["train", "evaluate"]
    assert [row["status"] for row in result(project, "B1_svm")] == ["run", "run"]


def test_a_run_killed_within_an_epoch_continues_after_the_last_whole_epoch(
    ran_b1: Path, tmp_path: Path
) -> None:
    project = shutil.copytree(ran_b1, tmp_path / "project", symlinks=True)
    changes = {"params__models__cnn1d__training__epochs": 8, f"{SPLIT}validation_fraction": 0.1}
    edit(project, "E1_cnn1d", "ravdess", **changes, **FEW_FOLDS)
    command = [sys.executable, "-m", "benchmark.published.system", "E1_cnn1d"]
    process = subprocess.Popen(
        command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    runs = project / "benchmark" / "published" / "runs" / "E1_cnn1d"
    curve = runs / "ravdess-as_reported-20" / "metrics" / "history.csv"
    heading_and_epochs = 1 + 3
    while process.poll() is None and not (
        curve.is_file() and len(curve.read_text().splitlines()) >= heading_and_epochs
    ):
        time.sleep(0.02)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = run(project, "E1_cnn1d")
    assert done.returncode == 0, done.stderr
    kept = re.findall(r"fold_00 continues after epoch (\d)", done.stdout)
    assert len(kept) == 1
    assert 3 <= int(kept[0]) < 8  # that an uninterrupted one ends with the same weights is tested of `train`
    assert [row["status"] for row in result(project, "E1_cnn1d")] == ["run", "run"]


@pytest.mark.faults
def test_two_systems_running_side_by_side_give_the_same_rows_as_alone(
    project: Path, tmp_path_factory: Any
) -> None:
    record(project, ravdess)
    names = ("B1_svm", "D1_mlp")
    edit(project, "B1_svm", "ravdess")
    edit(project, "D1_mlp", "speech", params__models__mlp__epochs=20)
    alone = shutil.copytree(project, tmp_path_factory.mktemp("alone") / "project")
    command = [sys.executable, "-m", "benchmark.published.system"]
    both = [subprocess.Popen([*command, name], cwd=project, stdout=subprocess.DEVNULL) for name in names]
    assert [process.wait() for process in both] == [0, 0]
    for name in names:
        assert run(alone, name).returncode == 0
        assert scores(project, name) == scores(alone, name)


SHORT = {
    "A1_cnn1d": "cnn1d",
    "A2_lstm": "lstm",
    "E1_cnn1d": "cnn1d",
    "E2_cnn2d": "cnn2d",
    "E3_cnn2d": "cnn2d",
}
# The synthesised clips are shorter than what the pools divide by.
FEWER_STEPS = {"cnn2d": {"params__models__cnn2d__inputs__frames_per_step": 1}}
SHORTER = {
    "B2_bilstm": "lstm",
    "B3_resnet34": "resnet34",
    "B4_resnet34": "resnet34",
    "B5_resnet34": "resnet34",
}


def nightly_but(*names: str, systems: dict[str, str]) -> list[Any]:
    """Returns systems as parameters: what the others exercise beyond `names` is their numbers alone."""
    return [name if name in names else pytest.param(name, marks=pytest.mark.faults) for name in systems]


@pytest.mark.parametrize("name", nightly_but("A2_lstm", systems=SHORT))
def test_a_row_of_crema_d_runs_on_clips_of_its_names(recorded: Path, name: str) -> None:
    training = {f"params__models__{SHORT[name]}__training__epochs": 1}
    edit(recorded, name, "crema_d", **training, **FEW_FOLDS, **FEWER_STEPS.get(SHORT[name], {}))
    check_runs(recorded, name, n_clips=216, n_speakers=12)


@pytest.mark.faults
def test_systems_run_on_all_clips_of_a_corpus(project: Path, corpora: Path) -> None:
    names = pd.read_csv(corpora / "crema_d_metadata" / "AudioWAV.sha256.csv")["filename"]

    def crema_d(folder: Path) -> list[Path]:
        return [folder / name for name in names]

    record(project, crema_d)
    quick = {name: model for name, model in SHORT.items() if model != "cnn2d"}
    for name, model in quick.items():
        edit(project, name, "crema_d", **{f"params__models__{model}__training__epochs": 1})
    done = run(project, *quick, "--corpus", "crema_d")
    assert done.returncode == 0, done.stdout + done.stderr
    for name in quick:
        for row in result(project, name):
            assert (row["status"], row["n_speakers"]) == ("run", "91")
        assert 7400 < int(row["n_clips"]) <= 7442


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--corpus", "savee"], ["data/sources/savee"]),
        (["A1_cnn1d", "--corpus", "tess"], ["data/sources/tess"]),  # which a variant starts from
        (["--corpus", "crema"], ["--corpus", "'crema'", "crema_d"]),
    ],
)
def test_a_corpus_that_is_not_there_is_an_error(project: Path, arguments: list[str], said: list[str]) -> None:
    done = run(project, *arguments)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert all(each in done.stderr.splitlines()[-1] for each in said)


@pytest.mark.parametrize("name", nightly_but("B5_resnet34", systems=SHORTER))
def test_a_row_of_savee_runs_on_clips_of_its_names(recorded: Path, name: str) -> None:
    block = f"params__models__{SHORTER[name]}__training__"
    changes: dict[str, Any] = {f"{block}epochs": 1} | FEW_FOLDS
    if "resnet" in name:  # on the smallest images that it takes
        changes |= {f"{block}init_from": None, f"{block}resizing": [{"from_epoch": 0, "pixels": 32}]}
    if name == "B5_resnet34":
        sizes = [{"from_epoch": 0, "pixels": 32}, {"from_epoch": 1, "pixels": 40}]
        changes |= {f"{block}epochs": 2, f"{block}resizing": sizes}
    edit(recorded, name, "ravdess_savee", **changes)
    check_runs(recorded, name, n_clips=276, n_speakers=10)


@pytest.mark.faults
def test_b4_starts_from_a_converted_preset(recorded: Path) -> None:
    """With random weights in place of ImageNet's, in the form in which they are published."""
    keras_hub = pytest.importorskip("keras_hub", reason="needs KerasHub: pip install -e '.[pretrained]'")
    keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=[3, 4, 6, 3],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
    ).save_to_preset(str(recorded / "preset"))
    convert = [sys.executable, "-m", "stages.tools.convert", "preset", "imagenet"]
    subprocess.run(convert, cwd=recorded, env=os.environ | {"PYTHONPATH": ""}, check=True)
    block = "params__models__resnet34__training__"
    small = {f"{block}epochs": 1, f"{block}resizing": [{"from_epoch": 0, "pixels": 32}]}
    edit(recorded, "B4_resnet34", "ravdess", **small, **FEW_FOLDS)
    check_runs(recorded, "B4_resnet34", n_clips=192, n_speakers=6)
    run_of = recorded / workspace.RUNS / "B4_resnet34" / "ravdess-as_reported-20"
    assert load(run_of / "params.yaml")["models"]["resnet34"]["training"]["init_from"] == "imagenet"
    assert (run_of / "data" / "pretrained" / "imagenet" / "fold.json").is_file()


def test_a_variant_starts_from_weights_that_are_trained_before_it(recorded: Path) -> None:
    variant = "variants__ravdess_after_tess__"
    changes = {
        "params__models__cnn1d__training__epochs": 1,
        f"{variant}against": None,
        f"{variant}pretrain__corpus": ["savee"],
        f"{variant}pretrain__split__test_fraction": 0.2,
        f"{variant}pretrain__split__validation_fraction": 0.2,
        f"{SPLIT}validation_fraction": 0.2,
    }
    edit(recorded, "A1_cnn1d", "ravdess_after_tess", **changes, **FEW_FOLDS)
    check_runs(recorded, "A1_cnn1d", n_clips=144, n_speakers=6)
    earlier_run = recorded / "benchmark" / "published" / "runs" / "A1_cnn1d" / "ravdess_after_tess-pretrain"
    earlier = pd.read_parquet(earlier_run / "data" / "model" / "fold_00" / "trained_on.parquet")
    assert set(earlier["clip"].str.partition("/")[0]) == {"savee"}
    runs = recorded / "benchmark" / "published" / "runs" / "A1_cnn1d"
    for place in runs.glob("ravdess_after_tess-*-20"):
        trained = pd.read_parquet(place / "data" / "model" / "fold_00" / "trained_on.parquet")
        assert set(earlier["clip"]) < set(trained["clip"])
    assert stages(run(recorded, "A1_cnn1d")) == []


def check_runs(project: Path, name: str, n_clips: int, n_speakers: int) -> None:
    """Runs a system and checks that its rows are of the clips they say they are of."""
    done = run(project, name)
    assert done.returncode == 0, done.stdout + done.stderr
    reported, new = result(project, name)
    assert [row["status"] for row in (reported, new)] == ["run", "run"]
    assert [row["leaky"] for row in (reported, new)] == ["True", "False"]
    assert reported["n_train"] == new["n_train"]
    assert new["n_folds"] == new["of_folds"] == "3"
    for row in (reported, new):
        assert 0 < int(row["n_clips"]) <= n_clips
        assert 0 < int(row["n_speakers"]) <= n_speakers
        assert int(row["n_parameters"]) > 0
        assert 0 <= float(row["accuracy"]) <= 1
        assert float(row["seconds_per_epoch"]) > 0
