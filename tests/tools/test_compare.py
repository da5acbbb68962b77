from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from stages.base.errors import InputError
from stages.base.files import PREDICTIONS
from stages.base.params import read as read_params
from stages.evaluation import comparison
from stages.splitting import leak
from stages.tools import compare
from tests.support.predictions import of_speakers, predictions, with_seeds
from tests.support.revisions import PARAMS, ROOT, Revisions

BEFORE = of_speakers([14, 16, 13, 18, 15, 17], 20)
WORSE = of_speakers([9, 12, 8, 12, 10, 13], 20)
ALIKE = of_speakers([15, 15, 14, 17, 15, 18], 20)


@pytest.fixture
def revisions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Revisions:
    """`start` has no predictions, `before` has some, and the workspace others that are worse."""
    return of_two_models(Revisions(tmp_path), monkeypatch)


def of_two_models(made: Revisions, monkeypatch: pytest.MonkeyPatch) -> Revisions:
    monkeypatch.chdir(made.folder)
    made.commit("start")
    made.evaluate(BEFORE)
    made.commit("before")
    made.evaluate(WORSE, model="gru")
    return made


@pytest.fixture
def said(revisions: Revisions, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> object:
    """What the tool prints for its arguments."""

    def call(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["compare", *arguments])
        compare.main()
        return capsys.readouterr().out

    return call


def test_head_is_compared_with_the_workspace(said) -> None:
    output = said()
    # 93 and 64 of 120 clips
    assert output.startswith("UAR 0.775 -> 0.533, difference -0.242 [-0.2")
    verdict, who, table, remarks, emotions, speakers = output.replace("\n\n", "\0").split("\0")
    assert verdict.endswith("p = 0.031: worse")  # 2 of 2^6 swaps
    assert " ".join(who.split()) == (
        "A is HEAD (svm), B is workspace (gru). Both are tested on 120 clips of 6 speakers in 1 fold "
        "(speaker_independent)."
    )
    assert [row.split()[0] for row in table.splitlines()[2:]] == [
        *("uar", "accuracy", "macro_f1", "weighted_f1", "macro_precision", "log_loss", "brier", "ece")
    ]
    assert all(row.endswith("worse") for row in table.splitlines() if "log_loss" in row or "uar" in row)
    assert "29 clips become wrong and 0 become right" in " ".join(remarks.split())
    assert emotions.splitlines()[2].split() == ["anger", "120", "0.775", "0.533", "29", "0"]
    assert speakers.splitlines()[2].split() == ["c/03", "20", "0.900", "0.600", "6", "0"]
    assert max(map(len, output.splitlines())) <= 80


def test_two_revisions_are_compared_whatever_the_workspace(revisions: Revisions, said) -> None:
    revisions.commit("after")
    (revisions.folder / PREDICTIONS).unlink()
    verdict, *_ = said("after", "before").splitlines()
    assert verdict.startswith("UAR 0.533 -> 0.775") and verdict.endswith("p = 0.031: better")


def test_head_is_not_where_a_killed_experiment_started(revisions: Revisions) -> None:
    command = ["git", "update-ref", "refs/exps/exec/EXEC_BASELINE", "start"]  # as `dvc exp run` leaves it
    subprocess.run(command, cwd=revisions.folder, check=True)
    assert comparison.of_revisions("HEAD", "before", read_params()).metrics["uar"].a == pytest.approx(
        93 / 120
    )
    assert comparison.of_revisions("before", "HEAD", read_params()).metrics["uar"].b == pytest.approx(
        93 / 120
    )


def test_a_project_in_a_subfolder_of_its_git_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_two_models(Revisions(tmp_path, "work/project"), monkeypatch)
    found = comparison.of_revisions("before", comparison.WORKSPACE, read_params())
    assert (found.metrics["uar"].a, found.metrics["uar"].b) == pytest.approx((93 / 120, 64 / 120))
    with pytest.raises(InputError, match=r"^start: .*dvc\.lock"):
        comparison.read("start")
    assert len(comparison.read("before").predictions) == len(BEFORE)


def test_several_training_seeds_are_named_with_both_sources_of_variation(revisions: Revisions, said) -> None:
    worse = [[9, 12, 8, 12, 10, 13], [8, 11, 9, 11, 9, 12], [10, 11, 8, 13, 11, 12]]
    revisions.evaluate(with_seeds(*(of_speakers(n_right, 20) for n_right in worse)), model="gru")
    output = " ".join(said().split())
    assert "B is workspace (gru, 3 training seeds)" in output
    assert "between speakers (standard error of UAR 0.0" in output
    assert "training seeds (0.01" in output
    assert "Not that of A, which was trained with one seed" in output
    values = json.loads(said("--json"))
    assert (values["a"]["n_seeds"], values["b"]["n_seeds"]) == (1, 3)
    # 64, 60 and 65 of 120 clips
    assert values["metrics"]["uar"]["b"] == pytest.approx(63 / 120)
    spread = np.array([64, 60, 65]).std(ddof=1) / 120 / 3**0.5
    assert values["metrics"]["uar"]["seeds_error"] == pytest.approx(spread)
    assert said().startswith("UAR 0.775 -> 0.525")


def test_an_insignificant_difference_has_no_direction(revisions: Revisions, said) -> None:
    revisions.evaluate(ALIKE)
    output = " ".join(said().split())
    assert (
        ": no significant difference for these 6 speakers; smallest detectable with 80 % power 0.0" in output
    )
    assert "worse" not in output and "better" not in output


def test_equal_predictions_have_equal_recalls(revisions: Revisions, said) -> None:
    revisions.evaluate(BEFORE)
    assert "p = 1.000: no difference" in " ".join(said().split())


def test_markdown_starts_with_the_verdict_and_collapses_the_speakers(said) -> None:
    lines = said("--md").splitlines()
    assert lines[0].startswith("**UAR 0.775 -> 0.533") and lines[0].endswith(": worse**")
    folded = lines[lines.index("<details><summary>By speaker</summary>") :]
    assert sum(line.startswith("| c/") for line in folded) == 6
    assert [line for line in lines if line.startswith("| c/")] == folded[4:-2]


def test_the_confusions_of_b_are_collapsed_and_in_percent_of_the_true_label(
    revisions: Revisions, said
) -> None:
    truth, name = ["anger"] * 4 + ["fear"] * 3, "a|b <img src=x> @name"

    def of(guess: list[str]) -> pd.DataFrame:
        table = predictions(truth, guess, speaker=["c/1", "c/2", "c/3"] * 2 + ["c/1"])
        return table.rename(columns={"p_fear": f"p_{name}"}).replace({"fear": name})

    revisions.evaluate(of(truth))
    revisions.commit("named")
    revisions.evaluate(of(["anger", "anger", "anger", "fear", "fear", "neutral", "neutral"]))
    text = said("named", "--md")
    _, matrix, _ = re.split(
        r"<details><summary>Confusion matrix of B: .*</summary>|</details>", text, maxsplit=2
    )
    shown = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in matrix.split("\n")[2:-2]]
    escaped = r"a\|b &lt;img src=x&gt; @&#8203;name"
    # by hand: 1 of 4 and 2 of 3 clips are wrong; no clip is neutral
    assert [shown[0], *shown[2:]] == [
        ["true label", "anger", escaped, "neutral"],
        ["anger", "75", "25", "0"],
        [escaped, "0", "33", "67"],
    ]
    assert "<img" not in text


def test_names_do_nothing_in_markdown(revisions: Revisions, said) -> None:
    name = "c/a|b <img src=x> @name `c` $5$"
    revisions.evaluate(BEFORE.assign(speaker=BEFORE["speaker"].replace("c/00", name)))
    revisions.commit("named")
    row = next(line for line in said("named", "--md").splitlines() if "src=x" in line)
    assert row.startswith(r"| c/a\|b &lt;img src=x&gt; @&#8203;name \`c\` \$5\$ |")


def test_json_is_not_rounded(said) -> None:
    values = json.loads(said("--json"))
    assert values["metrics"]["uar"]["difference"] == pytest.approx(-29 / 120)
    assert values["metrics"]["uar"]["low"] < values["metrics"]["uar"]["high"] < 0
    assert values["a"]["params"]["model"] == "svm"
    # all 29 discordant clips on one side: 2 / 2^29
    assert values["mcnemar_p_value"] == pytest.approx(2**-28)
    assert (values["n_clips"], values["n_speakers"], values["n_folds"]) == (120, 6, 1)
    assert values["speakers"][0]["speaker"] == "c/03"


def test_the_pipeline_records_what_is_read_from_its_lock() -> None:
    pipeline = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())
    assert {key.split(".")[0] for key in PARAMS} <= set(pipeline["stages"]["evaluate"]["params"])


def test_caveats_are_beside_the_names(revisions: Revisions, said) -> None:
    revisions.evaluate(BEFORE, split__protocol="random", train__normalize="speaker")
    revisions.commit("normalised")
    revisions.evaluate(WORSE, split__protocol="random")
    output = " ".join(said("normalised").split())
    assert leak.leaky("random")
    assert "A is normalised (svm, statistics of test clips: speaker), B is workspace (svm)." in output
    assert "(random, test speakers are in the training data)" in output
    revisions.evaluate(BEFORE, split__protocol="cross_corpus")
    revisions.commit("crossed")
    assert "(cross_corpus, all corpora's clips together)" in " ".join(said("crossed").split())


def test_failing_if_worse_asks_for_the_whole_interval(revisions: Revisions, said) -> None:
    high = json.loads(said("--json"))["metrics"]["uar"]["high"]
    with pytest.raises(InputError, match=r"^UAR is worse by more than 0\.01: -0\.242 \[-0\.2"):
        said("--fail-if-worse", "0.01")
    assert said("--fail-if-worse", f"{-high + 0.001}")
    revisions.evaluate(ALIKE)
    assert said("--fail-if-worse", "0")
    for wrong in ("-1", "nan", "much"):
        with pytest.raises(SystemExit, match="2"):
            said("--fail-if-worse", wrong)


@pytest.mark.parametrize("wrong", ["-1", "1", "nan", "much"])
def test_a_wrong_margin_is_a_sentence(wrong: str) -> None:
    words = rf"^'{wrong}' is not possible\. Give a number from 0 to below 1\.$"
    with pytest.raises(argparse.ArgumentTypeError, match=words):
        compare.margin(wrong)


def test_a_revision_that_does_not_exist(said) -> None:
    with pytest.raises(InputError, match=r"^nope: unknown Git revision 'nope'\. Give a branch"):
        said("nope")


@pytest.mark.parametrize("revision", ["before^{tree}", "before:dvc.lock"])
def test_a_revision_that_is_not_a_commit(said, revision: str) -> None:
    with pytest.raises(InputError, match=rf"^{re.escape(revision)}: not a commit"):
        said(revision)


def test_a_revision_before_the_pipeline(said) -> None:
    with pytest.raises(InputError, match=r"^start: .*dvc\.lock.*`evaluate`.*`dvc repro`"):
        said("start")


def test_a_revision_whose_predictions_are_not_in_the_cache(revisions: Revisions, said) -> None:
    revisions.evaluate(ALIKE).unlink()
    revisions.commit("elsewhere")
    message = (
        r"^elsewhere: data/predictions\.parquet .*`dvc fetch --all-commits data/predictions\.parquet`.*"
        r"`make base BASE=elsewhere`.*`base`\.$"
    )
    with pytest.raises(InputError, match=message):
        said("elsewhere", "before")
    (revisions.folder / PREDICTIONS).unlink()
    with pytest.raises(
        InputError, match=r"^workspace: .* `dvc pull data/predictions.parquet` or `dvc repro`"
    ):
        said("before")


def test_predictions_that_the_lock_does_not_record_are_refused(revisions: Revisions, said) -> None:
    ALIKE.to_parquet(revisions.folder / PREDICTIONS, index=False)
    with pytest.raises(InputError, match=r"^workspace: data/predictions\.parquet .*dvc\.lock"):
        said()


def test_invalid_predictions_are_refused(revisions: Revisions, said) -> None:
    revisions.evaluate(BEFORE[:0])
    with pytest.raises(InputError, match=r"^workspace: data/predictions\.parquet is empty\..*evaluate"):
        said()
    (revisions.folder / PREDICTIONS).write_bytes(b"")
    with pytest.raises(InputError, match=r"^workspace: data/predictions.parquet: "):
        said()
    revisions.evaluate(BEFORE.drop(columns="sex"))
    with pytest.raises(InputError, match=r"^workspace: data/predictions.parquet: .*sex"):
        said()


def test_a_workspace_of_other_parameters_is_refused(revisions: Revisions, said) -> None:
    path = revisions.folder / "dvc.yaml"
    pipeline = YAML().load(path)
    pipeline["stages"]["evaluate"]["params"] = ["seed"]
    YAML().dump(pipeline, path)
    values = read_params()
    revisions.evaluate(WORSE, seed=values.seed)
    assert "worse" in said()
    revisions.evaluate(WORSE, seed=values.seed + 1)
    with pytest.raises(InputError, match=r"^workspace: .*seed .*evaluate.* Run `dvc repro`"):
        said()
    assert "difference" in said("before", "HEAD")


@pytest.fixture
def listing(revisions: Revisions) -> Revisions:
    """As `revisions`, of a pipeline whose ingest and evaluate have parameters; `select` has all others."""
    path = revisions.folder / "dvc.yaml"
    pipeline = YAML().load(path)
    pipeline["stages"]["evaluate"]["params"] = ["model", "models.${model}"]
    for name, listed in {"ingest": ["corpora", "corpus"], "select": ["predict", "report"]}.items():
        pipeline["stages"][name] = {"cmd": "true", "params": listed}
    YAML().dump(pipeline, path)
    values = YAML(typ="safe").load(revisions.folder / "params.yaml")
    revisions.evaluate(WORSE, model="svm", models__svm=values["models"]["svm"])
    path = revisions.folder / "dvc.lock"
    lock = YAML().load(path)
    for name in ("ingest", "select"):
        own = {key: values[key] for key in pipeline["stages"][name]["params"]}
        lock["stages"][name] = {"cmd": "true", "params": {"params.yaml": own}}
    YAML().dump(lock, path)
    revisions.commit("after")
    return revisions


def edit(path: Path, key: str, value: object) -> None:
    """Sets a dotted key of a YAML file, or deletes it if `value` is None."""
    values = block = YAML().load(path)
    *above, last = key.split(".")
    for name in above:
        block = block[name]
    if value is None:
        del block[last]
    else:
        block[last] = value
    YAML().dump(values, path)


@pytest.mark.parametrize(
    ("file", "key", "value", "message"),
    [
        ("params.yaml", "model", "mlp", r"params\.model is 'mlp', but its dvc\.lock records 'svm' for `eva"),
        ("params.yaml", "models.svm.c", 3.0, r"params\.models\.svm\.c is 3\.0, .* 10\.0 for `evaluate`"),
        ("params.yaml", "models.svm.c", None, r"params\.models\.svm\.c is nothing, .* 10\.0 for `evaluate`"),
        ("params.yaml", "corpora.demo.n_speakers", 8, r"params\.corpora\.demo\..* is 8, .* 24 for `ingest`"),
        ("dvc.lock", "stages.ingest", None, r"params\.corpora\.demo\..*, but .* nothing for `ingest`"),
    ],
)
def test_a_revision_of_other_parameters_is_refused(
    listing: Revisions, said, file: str, key: str, value: object, message: str
) -> None:
    edit(listing.folder / file, key, value)
    listing.commit("edited")
    way_out = r"Run `dvc repro` there and commit dvc\.lock, or compare another revision\.$"
    with pytest.raises(InputError, match=rf"^edited: {message}.*{way_out}"):
        said("after", "edited")


def test_parameters_that_determine_no_predictions_are_no_others(listing: Revisions, said) -> None:
    path = listing.folder / "params.yaml"
    for key in ("compute.workers", "report.n_audio", "predict.sure", "models.mlp.alpha"):
        edit(path, key, 1)
    edit(path, "corpora.mine", {"table": "mine.csv"})
    listing.commit("edited")
    assert "difference" in said("after", "edited")


def test_a_clone_without_the_sources_is_compared_and_other_sources_are_refused(
    revisions: Revisions, said
) -> None:
    path = revisions.folder / "dvc.yaml"
    pipeline = YAML().load(path)
    pipeline["stages"]["evaluate"]["deps"] = ["data/sources"]
    YAML().dump(pipeline, path)
    sources = revisions.folder / "data" / "sources"
    sources.mkdir()
    for name in ("README.md", ".gitignore"):
        (sources / name).touch()
    assert "worse" in said()
    (sources / "calls").mkdir()
    (sources / "calls" / "labels.csv").touch()
    with pytest.raises(InputError, match=r"^workspace: data/sources has changed .* Run `dvc repro`"):
        said()


def test_missing_predictions_and_a_broken_lock_have_their_own_messages(revisions: Revisions, said) -> None:
    (revisions.folder / PREDICTIONS).unlink()
    with pytest.raises(InputError, match=r"^workspace: data/predictions\.parquet.*`dvc checkout`"):
        said()
    lock = revisions.folder / "dvc.lock"
    for content in ("<<<<<<< HEAD\n" + lock.read_text(), "", "stages:\n", "a\n"):
        lock.write_text(content)
        with pytest.raises(InputError, match=r"^workspace: dvc\.lock"):
            said()


def test_a_branch_called_workspace_is_not_the_workspace(revisions: Revisions, said) -> None:
    subprocess.run(["git", "branch", "workspace", "before"], cwd=revisions.folder, check=True)
    assert said().startswith("UAR 0.775 -> 0.533")


def test_an_empty_revision_is_refused(said) -> None:
    with pytest.raises(InputError, match="empty"):
        said("")


@pytest.mark.parametrize(
    ("table", "protocol", "message"),
    [
        (WORSE, "random", "^HEAD was split by speaker_independent and workspace by random"),
        (WORSE[:100], "speaker_independent", "^HEAD and workspace were not tested on the same clips"),
        (
            WORSE.assign(fold=1),
            "speaker_independent",
            "^HEAD and workspace were not tested on the same folds",
        ),
    ],
)
def test_revisions_that_cannot_be_compared(
    table: pd.DataFrame, protocol: str, message: str, revisions: Revisions, said
) -> None:
    revisions.evaluate(table, split__protocol=protocol)
    with pytest.raises(InputError, match=message):
        said()


def test_one_speaker_gets_no_interval(revisions: Revisions, said) -> None:
    revisions.evaluate(predictions(["anger"] * 2, ["anger", "fear"]))
    revisions.commit("alone")
    revisions.evaluate(predictions(["anger"] * 2, ["fear", "fear"]))
    with pytest.raises(InputError, match="only test speaker"):
        said("alone")


def test_a_mistake_is_one_line_and_exit_code_1(revisions: Revisions) -> None:
    command = [sys.executable, "-m", "stages.tools.compare", "nope"]
    done = subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: nope: unknown Git revision 'nope'. {comparison.CHOICES}\n"
