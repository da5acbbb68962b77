"""The whole pipeline under DVC, in a copy of the repository, on a smaller `demo` corpus."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import pandas as pd
import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
STAGES = ["ingest", "manifest", "split", "augment", "featurize", "train", "evaluate", "report"]
ALL_STAGES = ["select", *STAGES]  # select checks and computes nothing
yaml = YAML()
T = TypeVar("T")

pytestmark = pytest.mark.slow


def run(folder: Path, *command: str) -> str:
    """Returns what the command printed, and fails when it does."""
    environment = with_this_python()
    # Not a pipe: the workers of `dvc queue start` keep it open, and reading it would wait for them.
    with tempfile.TemporaryFile("w+") as printed:
        done = subprocess.run(command, cwd=folder, env=environment, stdout=printed, stderr=subprocess.STDOUT)
        printed.seek(0)
        output = printed.read()
    assert done.returncode == 0, f"{' '.join(command)}\n{output}"
    return output


def with_this_python() -> dict[str, str]:
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def ran(output: str) -> list[str]:
    """Returns the stages whose command DVC ran, in order."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage '")]


def edit(folder: Path, **changes: object) -> None:
    """Sets keys of params.yaml, written with double underscores for dots."""
    path = folder / "params.yaml"
    params = yaml.load(path)
    for key, value in changes.items():
        block = params
        *above, last = key.split("__")
        for name in above:
            block = block[name]
        assert last in block, key
        block[last] = value
    yaml.dump(params, path)


def clone(folder: Path) -> Path:
    """Returns a repository of its own with this one's files as they are, and a small corpus."""
    listed = run(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    for name in listed:
        if (ROOT / name).is_file() and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    edit(folder, corpora__demo__n_speakers=6, split__n_folds=3)
    run(folder, "git", "init", "-q")
    run(folder, "git", "config", "user.email", "test@example.org")
    run(folder, "git", "config", "user.name", "test")
    commit(folder)
    return folder


def commit(folder: Path) -> None:
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "-q", "-m", "state")


def files(place: Path) -> list[Path]:
    """Returns the file, or the files below a folder."""
    return [path for path in (place, *sorted(place.rglob("*"))) if path.is_file()]


def md5(file: Path) -> str:
    return hashlib.md5(file.read_bytes()).hexdigest()


@contextmanager
def started(folder: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """Yields the command, in a process group of its own, all of which is killed at the end."""
    process = subprocess.Popen(command, cwd=folder, env=with_this_python(), start_new_session=True)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def until(process: subprocess.Popen[bytes], seen: Callable[[], T], within_s: float = 600) -> T:
    """Returns what is seen, once it is not empty; fails if the process ends before."""
    ends = time.monotonic() + within_s
    while not (found := seen()):
        assert process.poll() is None, "ended before"
        assert time.monotonic() < ends, "too slow"
        time.sleep(0.02)
    return found


def epochs(folder: Path) -> list[tuple[str, str]]:
    """Returns fold and epoch of each row of metrics/history.csv."""
    try:
        text = (folder / "metrics" / "history.csv").read_text()
    except FileNotFoundError:  # DVC removes it before the stage starts
        return []
    return [(row["fold"], row["epoch"]) for row in csv.DictReader(io.StringIO(text))]


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = clone(tmp_path_factory.mktemp("clone"))
    order = ran(run(folder, "dvc", "repro"))
    # DVC draws which of two stages that do not need each other comes first.
    assert sorted(order) == sorted(ALL_STAGES)
    assert order[:3] + order[-3:] == ALL_STAGES[:3] + ALL_STAGES[-3:]
    commit(folder)
    return folder


def test_a_second_repro_runs_nothing(reproduced: Path) -> None:
    assert ran(run(reproduced, "dvc", "repro")) == []


def test_another_model_trains_and_evaluates_only_and_the_first_comes_back_from_the_cache(
    reproduced: Path,
) -> None:
    assert ran(run(reproduced, "dvc", "exp", "run", "-S", "model=ann", "-S", "training.epochs=2")) == [
        "select",
        "train",
        "evaluate",
        "report",
    ]
    changes = json.loads(run(reproduced, "dvc", "metrics", "diff", "--json"))
    assert list(changes) == ["metrics/scores.json"]
    plots = json.loads(run(reproduced, "dvc", "plots", "diff", "--json").splitlines()[-1])["data"]
    seen = {name: {rev for plot in found for rev in plot["revisions"]} for name, found in plots.items()}
    both = {"HEAD", "workspace"}
    assert seen["metrics/confusion.csv"] == seen["metrics/reliability.csv"] == both
    assert seen["metrics/figures/speakers.svg"] == both
    assert seen["Loss"] == seen["metrics/history.csv"] == {"workspace"}  # svm has no epochs
    run(reproduced, "git", "checkout", "params.yaml")
    assert ran(run(reproduced, "dvc", "repro")) == []
    assert json.loads(run(reproduced, "dvc", "metrics", "diff", "--json")) == {}


def test_a_parameter_of_an_unselected_model_reruns_select_alone(reproduced: Path) -> None:
    edit(reproduced, models__gru__dropout=0.5)
    try:
        assert ran(run(reproduced, "dvc", "repro")) == ["select"]
    finally:
        run(reproduced, "git", "checkout", "params.yaml")


def test_a_new_split_extracts_nothing(reproduced: Path) -> None:
    output = run(reproduced, "dvc", "exp", "run", "-S", "split.protocol=random")
    assert ran(output) == ["select", "split", "train", "evaluate", "report"]
    assert json.loads((reproduced / "metrics" / "test.json").read_text())["leaky"]
    run(reproduced, "git", "checkout", "params.yaml", "dvc.lock", "metrics")
    run(reproduced, "dvc", "checkout")


def test_dvc_yaml_lists_the_parameters_a_stage_reads_and_no_others(reproduced: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(reproduced, tmp_path / "copy")
    edit(folder, compute__workers=1)  # another process's reads would go unnoticed
    for name in ("augmented", "features"):
        shutil.rmtree(folder / "data" / name)
    stages = yaml.load(folder / "dvc.yaml")["stages"]
    model = yaml.load(folder / "params.yaml")["model"]
    run(folder, sys.executable, "-m", "tests.support.reads", "reads.json", *ALL_STAGES)
    assert set(ALL_STAGES) == set(stages)
    for stage, read in json.loads((folder / "reads.json").read_text()).items():
        listed = [name.replace("${model}", model) for name in stages[stage]["params"]]
        unlisted = {name for name in read if not any(f"{name}.".startswith(f"{key}.") for key in listed)}
        assert all(name.startswith("compute.") for name in unlisted), (
            f"dvc.yaml: stage {stage} reads {unlisted}, whose change reruns nothing"
        )
        unread = {key for key in listed if not any(f"{name}.".startswith(f"{key}.") for name in read)}
        unread -= {"training"}  # read for networks only
        unread -= {"ingest"}  # its limits are read where an archive is opened, and demo has none
        unread -= {"manifest"}  # its limits are read where recordings are decoded, in a process of their own
        unread -= {"predict"} if stage == "report" else set()  # read where metrics/robustness.json is there
        if stage == "select":
            unread -= {"seed", "split"}  # read where the chosen corpora are in data/sources
            unread -= {"predict", "evaluate", "report"}  # checked whenever params.yaml is read
        assert not unread, f"dvc.yaml: stage {stage} reruns for {unread}, which it does not read"


def test_leak_inflation_is_measured_and_nothing_else_changes(reproduced: Path) -> None:
    said = run(reproduced, sys.executable, "-m", "stages.tools.leak_inflation")
    found = json.loads((reproduced / "metrics" / "leak_inflation.json").read_text())
    inflation = found["random"]["uar"] - found["speaker_independent"]["uar"]
    assert found["leak_inflation"]["uar"] == pytest.approx(inflation)
    assert f"| **leak inflation**  | {inflation:.3f} (" in said
    changed = run(reproduced, "git", "status", "--porcelain").split("\n")
    assert sorted(filter(None, changed)) == [
        "?? metrics/leak_inflation.json",
        "?? metrics/leak_inflation.png",
    ]
    assert ran(run(reproduced, "dvc", "repro")) == []
    run(reproduced, "git", "clean", "--force", "--quiet", "metrics")


def test_a_misspelt_model_is_reported_by_select_with_the_closest_name(reproduced: Path) -> None:
    edit(reproduced, model="grru")
    try:
        with pytest.raises(AssertionError, match=r"params\.model: .*'grru'.*'gru'"):
            run(reproduced, "dvc", "repro")
    finally:
        run(reproduced, "git", "checkout", "params.yaml")
        run(reproduced, "dvc", "checkout")


def test_no_pushed_output_holds_a_recording(reproduced: Path) -> None:
    stages = yaml.load(reproduced / "dvc.yaml")["stages"].values()
    outs = [out for stage in stages for key in ("outs", "metrics", "plots") for out in stage.get(key, [])]
    settings = {
        name: more for out in outs for name, more in ({out: {}} if isinstance(out, str) else out).items()
    }
    assert b"data:audio" in (reproduced / "metrics" / "report.html").read_bytes()
    pushed = [reproduced / name for name, more in settings.items() if more.get("push", True)]
    files = [file for place in pushed for file in (place, *place.rglob("*")) if file.is_file()]
    assert len(files) > 20
    for file in files:
        assert file.suffix not in (".wav", ".flac"), file
        assert b"data:audio" not in file.read_bytes(), file


def test_a_colleague_gets_everything_but_audio(reproduced: Path, tmp_path: Path) -> None:
    """What docs/sharing.md says, with a folder as remote."""
    remote, colleague = tmp_path / "remote", tmp_path / "colleague"
    ours = shutil.copytree(reproduced, tmp_path / "ours", symlinks=True)
    run(ours, "dvc", "remote", "add", "--default", "storage", str(remote))
    run(ours, "dvc", "push")
    commit(ours)
    audio = [ours / "data" / "raw", ours / "data" / "augmented", ours / "metrics" / "report.html"]
    kept_back = {md5(file) for place in audio for file in files(place)}
    pushed = files(remote)
    assert len(pushed) > 20
    assert len(kept_back) > 20
    assert not kept_back & {md5(file) for file in pushed}
    for file in pushed:
        content = file.read_bytes()
        assert not content.startswith((b"RIFF", b"fLaC")), file
        assert b"data:audio" not in content, file

    run(tmp_path, "git", "clone", "--quiet", str(ours), str(colleague))
    run(colleague, "dvc", "pull", "--allow-missing")
    for name in ("data/features", "data/splits.parquet", "data/model", "data/predictions.parquet"):
        got = {file.relative_to(colleague): md5(file) for file in files(colleague / name)}
        assert got == {file.relative_to(ours): md5(file) for file in files(ours / name)}
        assert got, name
    assert [place for place in audio if files(colleague / place.relative_to(ours))] == []
    assert ran(run(colleague, "dvc", "repro", "--allow-missing")) == []
    said = run(colleague, "dvc", "exp", "run", "--allow-missing", "-S", "model=dummy", "evaluate")
    assert ran(said) == ["select", "train", "evaluate"]


def test_a_colleague_without_the_sources_trains_on_the_features(reproduced: Path, tmp_path: Path) -> None:
    """What docs/sharing.md says of recordings that only their owner has in data/sources."""
    ours, colleague = tmp_path / "ours", tmp_path / "colleague"
    shutil.copytree(reproduced, ours, symlinks=True)
    sources = ours / "data" / "sources" / "calls"
    sources.mkdir()
    clips = pd.read_parquet(ours / "data" / "manifest.parquet")
    for path in clips["path"]:
        shutil.copy(ours / "data" / "raw" / path, sources / Path(path).name)
    names = [Path(path).name for path in clips["path"]]
    table = pd.DataFrame({"path": names, "speaker": clips["speaker"], "label": clips["emotion"]})
    table.to_csv(sources / "labels.csv", index=False)
    edit(ours, corpus=["calls"], corpora={"calls": {"table": "data/sources/calls/labels.csv", "columns": {}}})
    edit(ours, model="dummy", augment__copies=0)
    run(ours, "dvc", "repro")
    run(ours, "dvc", "remote", "add", "--default", "storage", str(tmp_path / "remote"))
    run(ours, "dvc", "push")
    commit(ours)

    run(tmp_path, "git", "clone", "--quiet", str(ours), str(colleague))
    run(colleague, "dvc", "pull", "--allow-missing")
    assert "no difference" in run(colleague, sys.executable, "-m", "stages.tools.compare")
    run(colleague, "dvc", "freeze", "select", "ingest")
    assert ran(run(colleague, "dvc", "repro", "--allow-missing")) == []
    said = run(colleague, "dvc", "exp", "run", "--allow-missing", "-S", "model=svm", "evaluate")
    assert ran(said) == ["train", "evaluate"]
    assert "UAR" in run(colleague, sys.executable, "-m", "stages.tools.compare")


def test_plots_follow_a_training(reproduced: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(reproduced, tmp_path / "copy", symlinks=True)
    signalled = folder / ".dvc" / "tmp" / "exps" / "run" / "DVCLIVE_STEP_COMPLETED"
    signalled.unlink(missing_ok=True)
    edit(folder, model="gru", models__gru__units=[8], models__gru__dense=[8], compute__workers=1)
    edit(folder, training__epochs=40, training__patience_epochs=40)
    with started(folder, "dvc", "repro", "train") as process:
        first = until(process, lambda: epochs(folder))
        until(process, lambda: len(epochs(folder)) > len(first))
        step = json.loads(until(process, lambda: signalled.is_file() and signalled.read_text()))
        assert 0 <= step["step"] < 40
        os.killpg(process.pid, signal.SIGSTOP)  # so that it does not end before the plots are made
        finished = epochs(folder)
        plots = json.loads(run(folder, "dvc", "plots", "show", "--json").splitlines()[-1])["data"]
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGCONT)
        assert process.wait(600) == 0
    (plot,) = plots["metrics/history.csv"]
    shown = [(row["fold"], row["epoch"]) for row in plot["content"]["data"]["values"]]
    assert sorted(shown) == sorted(finished)
    assert len(epochs(folder)) > len(finished)


def test_a_wrong_value_costs_no_result(reproduced: Path) -> None:
    edit(reproduced, models__svm__c=-1.0)
    try:
        with pytest.raises(AssertionError, match=r"params\.models\.svm\.c: "):
            run(reproduced, "dvc", "repro")
        for kept in ("data/model", "data/predictions.parquet", "metrics/history.csv", "metrics/report.html"):
            assert (reproduced / kept).exists(), kept
    finally:
        run(reproduced, "git", "checkout", "params.yaml")
        run(reproduced, "dvc", "checkout")


def test_from_scratch_in_another_folder_every_hash_is_the_same(reproduced: Path, tmp_path: Path) -> None:
    other = clone(tmp_path)
    edit(other, compute__workers=1)
    run(other, "dvc", "repro")
    here, there = (yaml.load(folder / "dvc.lock")["stages"] for folder in (reproduced, other))
    assert sorted(here) == sorted(there)
    for stage in ALL_STAGES:
        assert here[stage] == there[stage], stage


def test_queued_experiments_run_in_folders_of_their_own(reproduced: Path) -> None:
    run(reproduced, "dvc", "exp", "run", "--queue", "-S", "model=dummy,mlp")
    run(reproduced, "dvc", "exp", "run", "--run-all", "--jobs", "2")
    rows = csv.DictReader(io.StringIO(run(reproduced, "dvc", "exp", "show", "--csv")))
    models = {row["model"]: row for row in rows if row["State"] == "Success"}
    assert {"dummy", "mlp"} <= set(models)
    assert float(models["mlp"]["uar"]) > float(models["dummy"]["uar"])


def test_one_more_speaker_computes_that_speakers_shards_alone(tmp_path: Path, corpora: Path) -> None:
    folder = clone(tmp_path)
    edit(folder, corpus=["ravdess"], augment__copies=0)
    source = folder / "data" / "sources" / "ravdess"
    for actor in ("Actor_01", "Actor_02"):
        shutil.copytree(corpora / "ravdess" / actor, source / actor)
    run(folder, "dvc", "repro", "featurize")
    before = {path.name for path in (folder / "data" / "features").iterdir()}
    shutil.copytree(corpora / "ravdess" / "Actor_03", source / "Actor_03")
    said = run(folder, "dvc", "repro", "featurize")
    assert "featurize: 3 shards, 2 kept, 1 computed (ravdess_03_000: 60 clips)" in said
    assert before < {path.name for path in (folder / "data" / "features").iterdir()}
