"""An edit of what a running stage depends on makes it fail, with the name; sweeping removes what is dead."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.base import files
from stages.base import params as parameters
from stages.base.files import MANIFEST, MODEL, SPLITS
from stages.data import tables
from stages.learning import dataset, trained_fold
from stages.splitting import protocols
from tests.faults import pipeline
from tests.faults.conftest import Fault, draws
from tests.faults.pipeline import Started, Undisturbed, before, check_resumes, rng, small
from tests.support.workspace import ROOT, Workspace
from tests.test_pipeline import STAGES
from tests.test_train import store_inputs

yaml = YAML(typ="safe", pure=True)
PARAM = {"split": ("split", "n_folds", 4), "train": ("train", "seed", 21)}
DATA = {"split": MANIFEST, "train": dataset.INDEX}
OUTPUT = {"split": SPLITS, "train": MODEL}
KINDS = ("params.yaml", "code", "data")


class Project:
    """A folder, the current one, with the code, the parameters and what a stage needs."""

    def __init__(self, folder: Path, stage: str) -> None:
        self.folder, self.stage = folder, stage

    def start(self) -> Started:
        return Started(self.folder, sys.executable, "-m", f"stages.{self.stage}")

    def run(self) -> None:
        started = self.start()
        said = started.end()
        assert started.process.returncode == 0, said

    def made(self) -> dict[str, bytes]:
        """Returns what the stage has written."""
        top = OUTPUT[self.stage]
        return {path.as_posix(): path.read_bytes() for path in (top, *top.rglob("*")) if path.is_file()}

    def last_written_at(self) -> float:
        return max(Path(name).stat().st_mtime for name in self.made())

    def edit(self, kind: str) -> tuple[Path, str]:
        """Edits what the stage depends on and returns the file, and the name that the stage should give."""
        if kind == "params.yaml":
            path, (block, key, value) = Path("params.yaml"), PARAM[self.stage]
            values = yaml.load(path)
            values[block][key] = value
            with files.replacing(path) as temporary:
                YAML().dump(values, temporary)
            return path, f"params.{block}"
        path = Path("stages/splitting/protocols.py") if kind == "code" else DATA[self.stage]
        content = path.read_bytes()
        with files.replacing(path) as temporary:
            temporary.write_bytes(content + (b"\n# edited\n" if kind == "code" else b""))
        return path, path.as_posix()

    def made_with_present_params(self) -> bool:
        """Returns whether what the stage left was made with params.yaml as it is now."""
        now = parameters.read()
        if self.stage == "split":
            return bool(tables.read(SPLITS, tables.SPLITS).attrs["made_with"] == protocols.made_with(now))
        trained_fold.read_records(now)  # raises if not
        return True


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, float, dict[str, bytes]]]:
    """By stage: a folder in which it has run, the seconds that it took, and what it wrote."""
    found = {}
    for stage in OUTPUT:
        folder = tmp_path_factory.mktemp(stage)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            shutil.copytree(ROOT / "stages", "stages", ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copy(ROOT / "dvc.yaml", folder)
            work = Workspace(folder)
            work.set(model="svm", models__svm__inputs__features=["mfcc"], train__threads=1, train__fold=0)
            work.set(split__n_folds=3)
            store_inputs()
            project = Project(folder, stage)
            project.run()
            started = time.monotonic()
            project.run()
            found[stage] = folder, time.monotonic() - started, project.made()
    return found


@pytest.mark.parametrize("number", draws(sample=0, slow=4, campaign=24))
def test_an_edit_at_a_random_moment(
    fault: Fault,
    finished: dict[str, tuple[Path, float, dict[str, bytes]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    draw = rng("edit", number)
    kind, stage = KINDS[number % 3], list(OUTPUT)[number // 3 % 2]
    source, seconds, made = finished[stage]
    folder = shutil.copytree(source, tmp_path / "run")
    monkeypatch.chdir(folder)
    project = Project(folder, stage)
    before = {path: path.read_bytes() for path in map(Path, ("params.yaml", "stages/splitting/protocols.py"))}
    share = draw.random()
    while True:
        started = project.start()
        is_running = started.is_running_after(share * seconds)
        path, name = project.edit(kind)
        edited_at = path.stat().st_mtime  # it takes a while to write
        said = started.end()
        if started.process.returncode or (is_running and project.last_written_at() > edited_at):
            break
        # After all was written and checked: what DVC then records, no stage can know.
        for path, content in before.items():
            path.write_bytes(content)
        time.sleep(1.1)  # of code edited just before, a stage says so
        share /= 2
    with fault(f"edit of {kind} while a stage runs"):
        if started.process.returncode:
            assert re.search(rf"^error: {re.escape(name)}.*{stage}", said, re.MULTILINE), said
        else:  # the edit came before the stage had read anything; of data, it was another copy of the same
            assert kind != "code"
            assert kind == "data" or project.made_with_present_params()
        for path, content in before.items():
            path.write_bytes(content)
        time.sleep(1.1)
        project.run()
        assert project.made() == made


EDITS: list[dict[str, object]] = [
    {"split__protocol": "leave_one_speaker_out"},
    {"train__seed": 21},
    {"training__epochs": 7},
    {"evaluate__n_resamples": 200},
    {"audio__level_db": -23.0},
    {},  # a comment in a module that split, train and evaluate import
]


def make_edit(folder: Path, number: int) -> None:
    """Edits params.yaml, or a module, at once as editors do."""
    if EDITS[number]:
        twin = folder / "edited"
        twin.mkdir()
        shutil.copy(folder / "params.yaml", twin)
        pipeline.edit(twin, **EDITS[number])
        (twin / "params.yaml").replace(folder / "params.yaml")
        twin.rmdir()
    else:
        with (folder / "stages" / "splitting" / "leak.py").open("a") as module:
            module.write("# edited\n")


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Undisturbed]:
    """The pipeline run undisturbed after each edit of EDITS."""

    @cache
    def run(number: int) -> Undisturbed:
        folder = tmp_path_factory.mktemp("edited") / "run"
        shutil.copytree(small(tmp_path_factory).folder, folder, symlinks=True)
        make_edit(folder, number)
        pipeline.run(folder, "dvc", "repro")
        pipeline.commit(folder)
        return Undisturbed(folder)

    return run


@pytest.mark.parametrize("number", draws(sample=0, slow=0, campaign=24))
def test_an_edit_while_dvc_repro_runs(
    fault: Fault,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    edited: Callable[[int], Undisturbed],
    number: int,
) -> None:
    """The next `dvc repro` makes what is missing, or says what else to run.

    DVC reads params.yaml again after a stage has ended, so it records an edit in between as the stage's. The
    next stage notices.
    """
    draw = rng("repro", number)
    undisturbed, after = small(tmp_path_factory), edited(number % len(EDITS))
    first = draw.choice(["split", "featurize", "train", "evaluate"])
    seconds = sum(undisturbed.seconds[stage] for stage in STAGES[STAGES.index(first) :])
    share = draw.random()
    while True:
        folder = before(first, undisturbed, False, tmp_path / f"{share:.6f}")
        started = Started(folder, "dvc", "repro")
        if started.is_running_after(1 + share * seconds):
            break
        started.end()
        share /= 2
    with fault("edit while dvc repro runs"):
        make_edit(folder, number % len(EDITS))
        started.end()
        try:
            pipeline.run(folder, "dvc", "repro")
        except AssertionError as refused:
            stage = re.search(r"^ *error: .* run `dvc repro (\w+)`, with `-sf`", str(refused), re.MULTILINE)
            assert stage, refused
            pipeline.run(folder, "dvc", "repro", "-sf", stage[1])
            pipeline.run(folder, "dvc", "repro")
        pipeline.run(folder, "git", "commit", "-qam", "edit")  # Git has the metrics, too
        check_resumes(folder, after)


@pytest.mark.parametrize("number", range(60))
def test_only_what_dead_processes_of_this_machine_left_is_removed(
    fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Temporary files and folders of running and of dead processes, here and elsewhere, new and abandoned."""
    monkeypatch.chdir(tmp_path)
    draw = rng("sweep", number)
    dead = 2**22 + 1 + draw.randrange(1000)  # larger than any process id on Linux
    kept, removed = set(), set()
    for top in (files.DATA, files.METRICS):
        top.mkdir()
        for i in range(draw.randint(1, 8)):
            here, alive = draw.random() < 0.5, draw.random() < 0.5
            age_days = draw.choice([0.0, 0.5, 2.0]) * files.ABANDONED_DAYS
            host = files._host() if here else "elsewhere"
            path = top / f".{i}.{host}-{os.getppid() if alive else dead}.part"
            if draw.random() < 0.5:
                path.mkdir()
                (path / "half.wav").touch()
            else:
                path.touch()
            os.utime(path, 2 * (time.time() - age_days * 86_400,))
            gone = not alive if here else age_days > files.ABANDONED_DAYS
            (removed if gone else kept).add(path)
        (top / "finished.json").touch()
        kept.add(top / "finished.json")
    with fault("temporary files of killed stages, and of others"):
        files.sweep()
        found = {path for top in (files.DATA, files.METRICS) for path in top.iterdir()}
        assert found == kept
