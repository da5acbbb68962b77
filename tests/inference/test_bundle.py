"""A bundle answers as the workspace's model does, and refuses what is damaged or foreign."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from stages.audio import extractor
from stages.audio.recording import load
from stages.base import params
from stages.base.errors import InputError
from stages.base.workspace import alone
from stages.data.keys import sha256
from stages.export import card as model_card
from stages.features import keras_hub
from stages.inference import bundle, chosen, facts, workspace
from stages.inference.bundle import Bundle
from stages.learning import trained_fold
from tests.faults import trained
from tests.test_train import N_DIMS, RATE_HZ, syllables

pytest.importorskip("tf2onnx", reason="needs the extra `export`")
ROOT = Path(__file__).resolve().parents[2]


def make(folder: Path, model: str, **changes: Any) -> Path:
    """Trains `model` in `folder`, the current one, and returns its bundle."""
    trained.leave(folder, model, features__mfcc__n_mfcc=N_DIMS, **changes)
    from stages.export import folder as written

    written.write(params.read(), Path("bundle"))
    return folder / "bundle"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a trained svm and its bundle."""
    folder = tmp_path_factory.mktemp("run")
    before = Path.cwd()
    os.chdir(folder)
    try:
        make(folder, "svm")
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def here(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it as the current folder."""
    shutil.copytree(run, tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def model(here: Path) -> Bundle:
    return bundle.load("bundle")


NETWORKS = [pytest.param(name, marks=pytest.mark.slow) for name in ("ann", "cnn1d", "gru")]


CHANGES: dict[str, dict[str, Any]] = {
    "gru": {"models__gru__units": [4], "models__gru__dense": [4]},
    "ridge": {
        "models__ridge__pooling": {
            "streams": [{"name": "mfcc", "feature": "mfcc", "columns": N_DIMS, "frames": 1}],
            "blocks": [
                {
                    "streams": ["mfcc"],
                    "basis": "principal",
                    "n_components": 2,
                    "lags_frames": [0, 1],
                    "difference_frames": 0,
                    "weight": 1.0,
                }
            ],
        }
    },
}


@pytest.mark.parametrize("name", ["svm", pytest.param("mlp", marks=pytest.mark.slow), "ridge", *NETWORKS])
def test_a_bundle_answers_as_the_workspaces_model(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = make(tmp_path, name, **CHANGES.get(name, {}))
    samples = [syllables(seconds).astype(np.float32) for seconds in (0.2, 1.0, 2.3)]
    expected, found = workspace.bundle(params.read()), bundle.load(made)
    for clip in samples:
        of_workspace, of_bundle = (each.predict(clip, RATE_HZ) for each in (expected, found))
        assert of_bundle.probabilities == pytest.approx(of_workspace.probabilities, abs=1e-5)
        assert of_bundle.status == of_workspace.status
    assert len({clip.predict(samples[1], RATE_HZ).emotion for clip in (expected, found)}) == 1


@pytest.mark.parametrize(
    ("name", "normalize"),
    [
        ("svm", "speaker"),
        ("svm", "cluster"),
        pytest.param("svm", "corpus", marks=pytest.mark.slow),
        pytest.param("svm", "enrol", marks=pytest.mark.slow),
        pytest.param("cnn1d", "speaker", marks=pytest.mark.slow),
    ],
)
def test_recordings_are_standardised_by_others_as_test_clips_are(
    name: str, normalize: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = bundle.load(make(tmp_path, name, train__normalize=normalize, train__clusters=2))
    files = [Path(f"{number}.wav") for number in range(4)]
    for number, file in enumerate(files):
        hiss = np.random.default_rng(number).normal(0, 0.002 * number, RATE_HZ)
        soundfile.write(file, syllables(1.0) + hiss, RATE_HZ, "FLOAT")
    rows = pd.DataFrame({"clip": map(str, files), "speaker": "x", "corpus": "x", "role": "test"})
    (fold,) = trained_fold.trained(params.read())
    extract = extractor.extractor(params.read(), ["mfcc"], "params.featurize.features")
    expected = fold.probabilities([extract(load(file, RATE_HZ))["mfcc"] for file in files], rows).to_numpy()
    if normalize == "enrol":  # the other three
        found = [next(model.adapted(sorted({*files} - {file})).predict_files([file])) for file in files]
    else:
        found = [*model.adapted(files).predict_files(files)]
    np.testing.assert_allclose([[*each.probabilities.values()] for each in found], expected, atol=1e-5)
    with pytest.raises(InputError, match=f"trained with train.normalize '{normalize}'"):
        model.predict(syllables(1.0), RATE_HZ)
    assert f"statistics '{model.facts.statistics}'" in model.facts.notice()


def test_without_arguments_the_model_is_that_of_the_workspace(here: Path, model: Bundle) -> None:
    clip = syllables(1.0).astype(np.float32)
    found = chosen.model().predict(clip, RATE_HZ).probabilities
    assert found == pytest.approx(model.predict(clip, RATE_HZ).probabilities, abs=1e-5)


def test_statistics_are_of_usable_recordings_and_only_of_models_that_use_them(
    model: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write("speech.wav", syllables(1.0), RATE_HZ)
    soundfile.write("silent.wav", np.zeros(RATE_HZ), RATE_HZ)
    with pytest.raises(InputError, match="normalize 'global'"):
        model.adapted([Path("speech.wav")])
    train = model.facts.train.model_copy(update={"normalize": "speaker"})
    model.facts = model.facts.model_copy(update={"train": train})
    with pytest.raises(InputError, match=r"none of the 1 recordings .*silent\.wav: silent"):
        model.adapted([Path("silent.wav")])
    adapted = model.adapted([Path("silent.wav"), Path("speech.wav")])
    assert [reason.split(":")[0] for reason in adapted.left_out] == ["silent.wav"]


def test_it_says_what_it_learnt_from(model: Bundle) -> None:
    assert model.facts.trained_on["demo"].startswith("demo")
    assert model.facts.synthetic == ["demo"]
    assert model.facts.score is not None
    assert f"UAR {model.facts.score.uar:.2f} [" in model.facts.notice()
    card = Path("bundle/CARD.md").read_text()
    assert "synthetic" in card and model.facts.score.protocol in card


@pytest.mark.parametrize(
    ("normalize", "of_speaker"), [("speaker", True), ("enrol", True), ("cluster", False)]
)
def test_the_card_says_how_to_give_the_statistics(model: Bundle, normalize: str, of_speaker: bool) -> None:
    train = model.facts.train.model_copy(update={"normalize": normalize})
    card = model_card.text(model.facts.model_copy(update={"train": train}))
    assert ("--speaker-from" in card) == of_speaker
    assert ("a batch of recordings" in card) != of_speaker


def test_labels_are_shown_in_the_card_and_do_nothing(model: Bundle) -> None:
    shown = model_card.text(model.facts.model_copy(update={"classes": ["<b>", "a|b", "anger"]}))
    assert "&lt;b&gt;, a\\|b, anger" in shown


def test_features_keep_their_order(model: Bundle, tmp_path: Path) -> None:
    features: dict[str, dict[str, Any]] = {"zcr": {}, "mfcc": {"n_mfcc": N_DIMS}, "chroma": {}}
    facts.write(model.facts.model_copy(update={"features": features, "sha256": {}}), tmp_path)
    assert list(json.loads((tmp_path / facts.FILE).read_text())["features"]) == ["zcr", "mfcc", "chroma"]


def test_a_score_of_another_model_is_left_out(here: Path) -> None:
    Path("data/predictions.parquet").unlink()
    assert workspace.bundle(params.read()).facts.score is None


def test_samples_of_any_kind_are_the_same_recording(model: Bundle) -> None:
    clip = syllables(1.0).astype(np.float32)
    expected = model.predict(clip, RATE_HZ).probabilities
    assert model.predict(np.stack([clip, clip], axis=1), RATE_HZ).probabilities == pytest.approx(expected)
    as_integers = (clip * 2**15).round().astype(np.int16)
    assert model.predict(as_integers, RATE_HZ).probabilities == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(
    ("samples", "rate_hz", "message"),
    [
        (np.zeros((2, 2, 2)), RATE_HZ, r"^samples: shape \(2, 2, 2\)"),
        (np.zeros(0), RATE_HZ, "^samples: empty"),
        (np.full(RATE_HZ, np.nan), RATE_HZ, "^samples: not finite"),
        (np.zeros(RATE_HZ), 3, "^samples: impossible header: 3 Hz"),
        (np.zeros(RATE_HZ, np.int32), RATE_HZ, "^samples: type int32"),
    ],
)
def test_samples_that_are_no_recording_are_refused(
    model: Bundle, samples: np.ndarray, rate_hz: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        model.predict(samples, rate_hz)


def test_a_long_recording_has_a_timeline(model: Bundle) -> None:
    model.window_s, model.whole_s = 1.0, 2.0
    speech, silence = syllables(3.0), np.zeros(4 * RATE_HZ)
    predicted = model.predict(np.concatenate([silence, speech, silence]).astype(np.float32), RATE_HZ)
    assert [window.start_s for window in predicted.timeline][:3] == [0.0, 0.5, 1.0]
    assert predicted.timeline[-1].end_s == predicted.end_s == 11.0
    with_speech = [window for window in predicted.timeline if window.speech]
    assert all(3.0 <= window.start_s < 7.0 for window in with_speech)
    assert all(not window.probabilities for window in predicted.timeline if not window.speech)
    mean = np.mean([[*window.probabilities.values()] for window in with_speech], axis=0)
    assert [*predicted.probabilities.values()] == pytest.approx(mean.tolist())


def test_the_reason_of_a_warning_is_one_of_the_windows_that_were_warned_about(model: Bundle) -> None:
    sure = {name: float(name == model.classes[0]) for name in model.classes}
    reasons = ["too loud", "too narrow", "too long", "", ""]
    timeline = [
        bundle.Window(start_s, start_s + 1, True, "warned" if reason else "answered", reason, sure)
        for start_s, reason in enumerate(reasons)
    ]
    whole = model._summary(timeline)
    assert (whole.status, whole.reason) == ("warned", "too loud")
    whole = model._summary(timeline[2:])
    assert (whole.status, whole.reason) == ("answered", "")


def test_an_answer_below_the_threshold_is_unsure(here: Path) -> None:
    text = json.loads(Path("bundle/bundle.json").read_text())
    for threshold, status in ((0.0, "answered"), (1.0, "unsure")):
        Path("bundle/bundle.json").write_text(
            json.dumps(text | {"sure_above": threshold, "predict": text["predict"] | {"unlike": "answer"}})
        )
        predicted = bundle.load("bundle").predict(syllables(1.0).astype(np.float32), RATE_HZ)
        assert predicted.status == status
        assert predicted.emotion in predicted.probabilities


def test_files_are_answered_in_order_and_a_bad_one_costs_a_row(model: Bundle) -> None:
    model.window_s, model.whole_s = 1.0, 2.0
    soundfile.write("good.wav", syllables(1.0), RATE_HZ)
    soundfile.write("long.wav", np.tile(syllables(1.0), 90), RATE_HZ)
    Path("text.wav").write_text("no sound")
    whole = Path("long.wav").read_bytes()
    Path("cut.wav").write_bytes(whole[: len(whole) // 2])
    paths = [Path(name) for name in ("text.wav", "good.wav", "cut.wav", "long.wav", "good.wav")]
    found = [*model.predict_files(paths)]
    assert [each.status == "failed" for each in found] == [True, False, True, False, False]
    assert found[2].reason.startswith("truncated")
    assert found[1] == found[4]
    assert len(found[3].timeline) > 64


def damage_text(**changes: Any) -> Callable[[], None]:
    def damage() -> None:
        path = Path("bundle") / facts.FILE
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return damage


def pass_off(name: str, content: bytes) -> Callable[[], None]:
    """Replaces a file of the bundle and corrects its checksum, as an attacker would."""

    def damage() -> None:
        path = Path("bundle") / facts.FILE
        (path.parent / name).write_bytes(content)
        text = json.loads(path.read_text())
        text["sha256"][name] = sha256(path.parent / name)
        path.write_text(json.dumps(text))

    return damage


DAMAGE: dict[str, tuple[Callable[[], object], str]] = {
    "no folder": (lambda: shutil.rmtree("bundle"), r"bundle\.json: No such file.*not a bundle"),
    "no JSON": (lambda: Path("bundle/bundle.json").write_text("{"), r"bundle\.json: not readable JSON"),
    "a list": (lambda: Path("bundle/bundle.json").write_text("[]"), r"bundle\.json: \[\] is not valid"),
    "another version": (damage_text(format=99), r"bundle\.json: format 99, .* reads 4"),
    "an unknown key": (damage_text(run="rm"), r"bundle\.json\.run: unknown key"),
    "a strange feature": (damage_text(features={"os": {}}), r"features: no 'os'"),
    "a feature without its file": (damage_text(features={"byol_s": {}}), r"bundle\.json\.features\.byol_s"),
    "no checksums": (damage_text(sha256={}), r"no checksum of 'fold_00/probabilities\.onnx'"),
    "a file elsewhere": (damage_text(sha256={"../x": "0" * 64}), r"sha256"),
    "a changed file": (
        lambda: Path("bundle/fold_00/probabilities.onnx").write_bytes(b"x"),
        r"probabilities\.onnx: missing, or not the file",
    ),
    "an added file": (
        lambda: Path("bundle/fold_00/extra.onnx").write_bytes(b"x"),
        r"^bundle/fold_00/extra\.onnx: not listed in bundle/bundle\.json",
    ),
    "an added folder": (lambda: Path("bundle/fold_01").mkdir(), r"^bundle/fold_01: not listed"),
    "a model that is none": (
        pass_off("fold_00/probabilities.onnx", b"\x80\x04cos\nsystem\n(S'touch hacked'\ntR."),
        r"probabilities\.onnx: not a model that ONNX Runtime loads",
    ),
    "a pickled preprocessor": (
        pass_off("fold_00/preprocessor.npz", b"\x80\x04cos\nsystem\n(S'touch hacked'\ntR."),
        r"preprocessor\.npz: not a preprocessor",
    ),
    "too many classes": (damage_text(classes=["a", "b"]), r"probabilities\.onnx: does not return 2"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_or_foreign_bundle_is_refused_and_runs_no_code(here: Path, kind: str) -> None:
    damage, message = DAMAGE[kind]
    damage()
    with pytest.raises(InputError, match=message):
        bundle.load("bundle")
    assert not Path("hacked").exists()


@pytest.mark.parametrize("name", [".DS_Store", "fold_00/Thumbs.db"])
def test_a_bundle_that_a_file_manager_has_shown_can_be_used(here: Path, name: str) -> None:
    Path("bundle", name).write_bytes(b"x")
    assert bundle.load("bundle").classes


def test_a_pooled_model_needs_a_checksum_of_its_pooling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = make(tmp_path, "ridge", **CHANGES["ridge"]) / facts.FILE
    written = json.loads(path.read_text())
    del written["sha256"]["fold_00/pooling.npz"]
    path.write_text(json.dumps(written))
    with pytest.raises(InputError, match=r"no checksum of 'fold_00/pooling\.npz'"):
        bundle.load("bundle")


def test_a_folder_that_is_no_bundle_is_not_replaced(here: Path) -> None:
    from stages.export import folder as written

    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"^mine: exists and is not a bundle"):
        written.write(params.read(), Path("mine"))
    assert Path("mine/thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("text", ['{"name": "x"}', '{"format": 4}', "[]", "{"])
def test_a_folder_with_another_bundle_json_is_not_replaced(here: Path, text: str) -> None:
    from stages.export import folder as written

    Path("mine").mkdir()
    (Path("mine") / facts.FILE).write_text(text)
    Path("mine/thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"^mine: exists and is not a bundle"):
        written.write(params.read(), Path("mine"))
    assert Path("mine/thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("name", ["thesis.txt", "fold_00/thesis.txt", "mine/thesis.txt"])
def test_a_bundle_with_a_file_of_its_users_is_not_replaced(here: Path, name: str) -> None:
    from stages.export import folder as written

    path = Path("bundle", name)
    path.parent.mkdir(exist_ok=True)
    path.write_text("years of work")
    foreign = Path("bundle/mine") if name.startswith("mine") else path
    with pytest.raises(InputError, match=rf"^{foreign}: not a file of the bundle bundle"):
        written.write(params.read(), Path("bundle"))
    assert path.read_text() == "years of work"


def test_a_bundle_of_another_version_is_replaced(here: Path) -> None:
    from stages.export import folder as written

    damage_text(format=3)()
    written.write(params.read(), Path("bundle"))
    assert bundle.load("bundle")


def test_one_process_at_a_time_writes_a_bundle(here: Path) -> None:
    from stages.export import folder as written

    before = Path("bundle/bundle.json").stat().st_ino
    with alone(Path(".bundle.unfinished")), pytest.raises(InputError, match="another run is working there"):
        written.write(params.read(), Path("bundle"))
    assert Path("bundle/bundle.json").stat().st_ino == before
    written.write(params.read(), Path("bundle"))
    assert bundle.load("bundle") and not Path(".bundle.unfinished").exists()


@pytest.mark.parametrize("fault", ["a missing file", "another file", "interrupted"])
def test_a_bundle_is_replaced_as_a_whole_or_not_at_all(
    here: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.export import folder as written

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in Path("bundle").rglob("*") if path.is_file()}

    before, of_workspace = files(), workspace.facts

    def with_an_encoder(*given: Any) -> Any:
        made = of_workspace(*given)
        block = {"model": "encoder.onnx", "sha256": "0" * 64}
        return made.model_copy(update={"features": made.features | {"onnx": block}})

    def stop(_: Any) -> str:
        raise KeyboardInterrupt

    if fault == "another file":
        Path("encoder.onnx").write_bytes(b"another")
    if fault == "interrupted":
        monkeypatch.setattr(model_card, "text", stop)
    else:
        monkeypatch.setattr(workspace, "facts", with_an_encoder)
    error = KeyboardInterrupt if fault == "interrupted" else InputError
    with pytest.raises(error, match=None if fault == "interrupted" else r"onnx.*encoder\.onnx"):
        written.write(params.read(), Path("bundle"))
    assert files() == before
    assert sorted(path.name for path in Path.cwd().glob("*bundle*")) == ["bundle"]


@pytest.mark.parametrize("n_moves", [0, 1, 2, 3])  # the old one on trial, back, and for good; the new one
@pytest.mark.parametrize("error", [OSError(errno.EBUSY, "busy"), KeyboardInterrupt()])
def test_a_bundle_that_cannot_be_exchanged_is_kept(
    here: Path, n_moves: int, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.export import folder as written

    rename, calls = Path.rename, []

    def refuse(path: Path, target: Path) -> Path:
        calls.append(path)
        if len(calls) == 1 + n_moves:
            raise error
        return rename(path, target)

    before = Path("bundle/bundle.json").stat().st_ino
    on_trial = isinstance(error, OSError) and n_moves < 2
    with monkeypatch.context() as patch, pytest.raises(InputError if on_trial else type(error)):
        patch.setattr(Path, "rename", refuse)
        written.write(params.read(), Path("bundle"))
    assert Path("bundle/bundle.json").stat().st_ino == before
    assert bundle.load("bundle") and not Path(".bundle.unfinished").exists()


def test_a_bundle_that_a_killed_process_had_moved_is_restored(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.export import folder as written

    before = Path("bundle/bundle.json").read_bytes()
    Path(".bundle.unfinished").mkdir()
    Path("bundle").rename(".bundle.unfinished/old")
    monkeypatch.setattr(trained_fold, "trained", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        written.write(params.read(), Path("bundle"))
    assert Path("bundle/bundle.json").read_bytes() == before


def test_a_mounted_folder_is_refused_before_anything_is_written(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.export import folder as written

    def busy(path: Path, target: Path) -> Path:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(Path, "rename", busy)
    monkeypatch.setattr(trained_fold, "trained", lambda _: pytest.fail("the model was loaded"))
    there = sorted(Path.cwd().iterdir())
    for out in (Path("bundle"), Path("link")):
        if out.name == "link":
            out.symlink_to("bundle")
            there = sorted(Path.cwd().iterdir())
        with pytest.raises(InputError, match=rf"^{out}: "):
            written.write(params.read(), out)
        assert sorted(Path.cwd().iterdir()) == there
    assert bundle.load("bundle")


def test_what_a_feature_needs_is_copied_and_found_in_the_bundle(tmp_path: Path, model: Bundle) -> None:
    from stages.export import folder as written

    preset = tmp_path / "whisper"
    preset.mkdir()
    for name in keras_hub.FILES:
        (preset / name).write_text(name)
    (tmp_path / "encoder.onnx").write_text("encoder")
    blocks = {"onnx": {"model": str(tmp_path / "encoder.onnx")}, "keras_hub": {"preset": str(preset)}}
    blocks |= {"byol_s": {"weights": str(tmp_path / "encoder.onnx")}, "mfcc": {"n_mfcc": 4}}
    copied = {name: written._with_files(name, block, tmp_path / "made") for name, block in blocks.items()}
    moved = (tmp_path / "made").rename(tmp_path / "moved")
    found = facts.located(model.facts.model_copy(update={"features": copied}), moved).features
    assert (
        Path(found["onnx"]["model"]).read_text() == Path(found["byol_s"]["weights"]).read_text() == "encoder"
    )
    assert [Path(found["keras_hub"]["preset"], name).read_text() for name in keras_hub.FILES] == [
        *keras_hub.FILES
    ]
    assert all(str(moved) in str(found[name]) for name in ("onnx", "keras_hub", "byol_s"))
    assert found["mfcc"] == {"n_mfcc": 4}


def test_using_a_bundle_imports_no_heavy_package(here: Path) -> None:
    heavy = ["dvc", "tensorflow", "keras", "librosa", "sklearn", "skops", "pandas", "pyarrow"]
    script = (
        "import sys, numpy as np; from stages.inference import bundle, stream;"
        "bundle.load('bundle').predict(np.random.default_rng(0).normal(0, 0.1, 16000), 16000);"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


RUNTIME = ("numpy", "scipy", "soundfile", "soxr", "pydantic", "onnxruntime", "psutil", "ruamel.yaml", "tqdm")


# Each push runs the other tests of bundles on each Python, so these environments are left to the night.
@pytest.mark.slow
@pytest.mark.parametrize(
    "python",
    [
        sys.executable,
        *(pytest.param(name, marks=pytest.mark.faults) for name in ("python3.13", "python3.12")),
    ],
)
def test_a_bundle_works_without_the_repository_and_its_heavy_packages(here: Path, python: str) -> None:
    found = shutil.which(python)
    # pyenv leaves commands of versions that are not switched on, which only say so.
    if found is None or subprocess.run([found, "--version"], capture_output=True).returncode:
        pytest.skip(f"{python} is not here")
    subprocess.run([found, "-m", "venv", "venv"], check=True)
    pip = [
        str(Path("venv/bin/python").absolute()),
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
    ]
    subprocess.run([*pip, *RUNTIME], check=True)
    shutil.copytree(ROOT / "stages", "source/stages", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):  # a build leaves files beside them
        shutil.copy(ROOT / name, "source")
    subprocess.run([*pip, "--no-deps", "./source"], check=True)
    soundfile.write("a.wav", syllables(1.0), RATE_HZ)
    command = ["-m", "stages.tools.predict", "--bundle", "bundle", "--format", "jsonl", "a.wav"]
    done = subprocess.run(
        [Path("venv/bin/python").absolute(), *command],
        capture_output=True,
        text=True,
        check=True,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    )
    expected = bundle.load("bundle").predict_files([Path("a.wav")])
    assert json.loads(done.stdout)["emotion"] == next(expected).emotion
