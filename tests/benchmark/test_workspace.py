"""A row's workspace: what it contains, what it starts from, and which data is missing."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmark.published import workspace
from benchmark.published.overlay import Experiment
from stages.base.errors import InputError
from stages.base.files import PREDICTIONS
from stages.base.params import load
from tests.support import shipped

ROOT = Path(__file__).resolve().parents[2]
SPEECH, SONG = "03-01-06-01-02-01-12.wav", "03-02-06-01-02-01-12.wav"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like the repository, with two recordings of RAVDESS."""
    for name in (
        "stages/train.py",
        "stages/learning/trained_fold.py",
        "dvc.yaml",
        ".dvcignore",
        "params.yaml",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    put(tmp_path, f"ravdess/Actor_12/{SPEECH}", f"ravdess/Actor_12/{SONG}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(project: Path, *names: str) -> None:
    """Puts files, of no sound, into data/sources."""
    for name in names:
        path = project / "data" / "sources" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def row(variant: str = "all", **changes: Any) -> Experiment:
    """Returns a row of RAVDESS under params with keys changed, underscores twice for dots."""
    values = shipped.values()
    for key, value in ({"corpus": ["ravdess"]} | changes).items():
        block = values
        *above, last = key.split("__")
        for name in above:
            block = block[name]
        block[last] = value
    return Experiment("X", variant, "as_reported", values)


def starting_from(weights: str | None) -> Experiment:
    """Returns a row of RAVDESS whose network starts from weights in data/pretrained."""
    training = shipped.values()["models"]["resnet34"]["training"] | {"init_from": weights}
    return row(model="resnet34", models__resnet34__training=training)


def files(folder: Path) -> dict[str, tuple[int, int]]:
    """Returns each file's inode and time of change, by name."""
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def leave_data(place: Path, content: str) -> None:
    """Leaves in a workspace what its stages would."""
    for name in ("raw/ravdess/a.wav", "manifest.parquet", "features/a.npz", "model/fold_00/fold.json"):
        path = place / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # as stages do, which replace files
        path.write_text(content)
    stages = {name: {"cmd": f"python -m stages.{name}"} for name in ("ingest", "featurize", "train")}
    (place / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": stages}))


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({}, []),
        ({"corpus": ["demo"]}, []),
        ({"corpus": ["crema_d"]}, ["CREMA-D"]),
        ({"corpus": ["ravdess", "savee"]}, ["SAVEE"]),
        ({"split__channels": ["speech", "song"]}, []),
    ],
)
def test_a_missing_corpus_is_named(project: Path, changes: dict[str, Any], missing: list[str]) -> None:
    assert workspace.missing(row(**changes)) == missing


def test_missing_songs_are_named(project: Path) -> None:
    (project / "data" / "sources" / "ravdess" / "Actor_12" / SONG).unlink()
    assert workspace.missing(row(split__channels=["speech", "song"])) == ["RAVDESS song"]
    put(project, "ravdess/Audio_Song_Actors_01-24.zip")  # may contain them
    assert workspace.missing(row(split__channels=["speech", "song"])) == []


def test_wrong_file_names_are_left_to_ingest(project: Path) -> None:
    put(project, "savee/recording.wav")
    assert workspace.missing(row(corpus=["savee"])) == []


def test_a_workspace_has_the_weights_that_the_row_starts_from_and_no_others(project: Path) -> None:
    for name in ("imagenet", "other"):
        (project / "data" / "pretrained" / name).mkdir(parents=True)
        (project / "data" / "pretrained" / name / "model.weights.h5").write_text(name)
    for name in ("other", "imagenet"):
        place = workspace.prepare(starting_from(name)) / "data" / "pretrained"
        assert set(files(place)) == {f"{name}/model.weights.h5"}


def test_pretraining_makes_the_weights_and_needs_its_own_corpus(project: Path) -> None:
    earlier = Experiment("X", "all", "pretrain", row(corpus=["tess"]).values)
    later = replace(starting_from(earlier.weights), pretraining=earlier)
    assert workspace.missing(later) == ["TESS"]
    put(project, "tess/OAF_back_angry.wav")
    assert workspace.missing(later) == []
    trained = workspace.folder(earlier) / "data" / "model" / "fold_00" / "model.weights.h5"
    trained.parent.mkdir(parents=True)
    trained.write_text("weights")
    place = workspace.prepare(later.run(0, None))
    assert (place / "data" / "pretrained" / earlier.weights / trained.name).read_text() == "weights"
    assert not [*(project / "data" / "pretrained").glob("*/*")]  # every training of the user's reads it


def test_predictions_of_other_settings_do_not_finish_a_run(project: Path) -> None:
    place = workspace.prepare(row(seed=7))
    (place / PREDICTIONS).parent.mkdir(parents=True, exist_ok=True)
    (place / PREDICTIONS).touch()
    workspace.prepare(row(seed=7))
    assert workspace.is_finished(row(seed=7))
    workspace.prepare(row(seed=7, models__svm__c=3.0))
    assert not workspace.is_finished(row(seed=7, models__svm__c=3.0))


def test_a_packed_corpus_is_not_missing(project: Path) -> None:
    put(project, "savee.zip")
    assert workspace.missing(row(corpus=["savee"])) == []


def test_missing_weights_are_named(project: Path) -> None:
    assert workspace.missing(starting_from("imagenet")) == ["ImageNet weights of ResNet34"]
    assert workspace.missing(starting_from("mine")) == ["mine"]
    assert workspace.missing(starting_from(None)) == []
    (project / "data" / "pretrained" / "imagenet").mkdir(parents=True)
    assert workspace.missing(starting_from("imagenet")) == []


def test_a_workspace_has_the_pipeline_its_params_and_the_corpora_of_the_row(project: Path) -> None:
    put(project, "tess/OAF_back_angry.wav")
    (project / "data" / "pretrained" / "other").mkdir(parents=True)
    (project / "stages" / "__pycache__").mkdir()
    (project / "stages" / "__pycache__" / "train.pyc").write_text("")
    place = workspace.prepare(row(seed=7))
    assert set(files(place)) == {
        ".dvc/config",
        ".dvcignore",
        f"data/sources/ravdess/Actor_12/{SONG}",
        f"data/sources/ravdess/Actor_12/{SPEECH}",
        "dvc.yaml",
        "params.yaml",
        "stages/learning/trained_fold.py",
        "stages/train.py",
    }
    assert load(place / "params.yaml")["seed"] == 7
    assert (place / "data" / "pretrained").is_dir()


def test_recordings_are_linked_and_code_is_copied(project: Path) -> None:
    place = workspace.prepare(row())
    recording, code = Path("data", "sources", "ravdess", "Actor_12", SPEECH), Path("stages", "train.py")
    assert (place / recording).samefile(project / recording)
    assert not (place / code).samefile(project / code)


def test_recordings_are_copied_where_there_are_no_links(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    place = workspace.prepare(row())
    recording = Path("data", "sources", "ravdess", "Actor_12", SPEECH)
    assert (place / recording).read_bytes() == (project / recording).read_bytes()
    before = files(place / "data")
    assert files(workspace.prepare(row()) / "data") == before


def test_preparing_again_changes_no_recording_and_no_result(project: Path) -> None:
    place = workspace.prepare(row())
    leave_data(place, "its own")
    before = files(place / "data") | files(place / ".dvc")
    workspace.prepare(row())
    after = files(place / "data") | files(place / ".dvc")
    assert {name for name in before if before[name] != after.get(name)} <= {"config"}


def test_a_workspace_follows_the_projects_changes(project: Path) -> None:
    place = workspace.prepare(row())
    (project / "data" / "sources" / "ravdess" / "Actor_12" / SONG).unlink()
    put(project, "ravdess/Actor_01/03-01-06-01-02-01-01.wav", "tess/OAF_back_angry.wav")
    (project / "stages" / "train.py").write_text("new")
    (project / "stages" / "learning" / "trained_fold.py").unlink()
    workspace.prepare(row())
    sources = place / "data" / "sources"
    assert set(files(sources)) == {
        f"ravdess/Actor_12/{SPEECH}",
        "ravdess/Actor_01/03-01-06-01-02-01-01.wav",
    }
    assert set(files(place / "stages")) == {"train.py"}
    assert (place / "stages" / "train.py").read_text() == "new"
    workspace.prepare(row(corpus=["tess"]))
    assert set(files(sources)) == {"tess/OAF_back_angry.wav"}


def test_a_symbolic_link_among_the_recordings_stays_one_for_ingest_to_reject(project: Path) -> None:
    (project / "data" / "sources" / "ravdess" / "song").symlink_to(project / "stages")
    place = workspace.prepare(row())
    assert (place / "data" / "sources" / "ravdess" / "song").is_symlink()


def test_a_new_workspace_starts_with_the_features_of_the_systems_last_row(project: Path) -> None:
    first, last = workspace.prepare(row("first")), workspace.prepare(row("last"))
    leave_data(first, "first")
    leave_data(last, "last")
    os.utime(first / "dvc.lock", (1, 1))
    place = workspace.prepare(row("new", seed=7))
    for name in ("raw/ravdess/a.wav", "manifest.parquet", "features/a.npz"):
        assert (place / "data" / name).samefile(last / "data" / name)
    assert not (place / "data" / "model").exists()
    assert load(place / "dvc.lock") == load(last / "dvc.lock")
    for name in ("dvc.lock", "params.yaml", "dvc.yaml"):  # which DVC and `prepare` overwrite
        assert not (place / name).samefile(last / name)
    assert load(last / "params.yaml")["seed"] != 7


def test_only_a_new_workspace_starts_from_another(project: Path) -> None:
    place = workspace.prepare(row("first"))
    leave_data(place, "its own")
    leave_data(workspace.prepare(row("second")), "another's")
    workspace.prepare(row("first"))
    assert (place / "data" / "manifest.parquet").read_text() == "its own"


def test_an_interrupted_start_is_repeated(project: Path) -> None:
    leave_data(workspace.prepare(row("first")), "first")
    unfinished = project / workspace.RUNS / "X" / "new-as_reported.part"
    (unfinished / "data").mkdir(parents=True)
    (unfinished / "dvc.lock").write_text("")
    place = workspace.prepare(row("new"))
    assert (place / "data" / "manifest.parquet").read_text() == "first"
    assert not unfinished.exists()


def test_a_failing_row_is_reported_with_its_workspace(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place = workspace.prepare(row())
    (place / "dvc.yaml").write_text("stages:\n  evaluate:\n    cmd: exit 3\n")
    with pytest.raises(InputError, match=r"^benchmark/published/runs/X/all-as_reported: "):
        workspace.reproduce(place)
    assert "Running stage 'evaluate'" in capfd.readouterr().out
