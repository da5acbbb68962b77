from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.base.errors import InputError
from stages.tools import comment
from tests.support.predictions import of_speakers
from tests.support.revisions import ROOT, Revisions, git

BEFORE = of_speakers([14, 16, 13, 18, 15, 17], 20)
WORSE = of_speakers([9, 12, 8, 12, 10, 13], 20)
WORKFLOW = YAML(typ="safe", pure=True).load(ROOT / ".github" / "workflows" / "comment.yml")
# A pipeline of one stage, which takes its predictions from beside it and a number from their bytes.
PIPELINE = {
    "evaluate": {
        "cmd": "python stage.py",
        "deps": ["prepared.parquet", "stage.py"],
        "params": ["model", "split.protocol", "train.normalize"],
        "outs": ["data/predictions.parquet"],
        "metrics": [{"metrics/test.json": {"cache": False}}],
    }
}
STAGE = """
import json, pathlib, shutil
for folder in ("data", "metrics"):
    pathlib.Path(folder).mkdir(exist_ok=True)
shutil.copy("prepared.parquet", "data/predictions.parquet")
checksum = sum(pathlib.Path("prepared.parquet").read_bytes())
pathlib.Path("metrics/test.json").write_text(json.dumps({"checksum": checksum}))
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands find this environment's Python and this project's stages."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def revisions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Revisions:
    monkeypatch.chdir(tmp_path)
    return Revisions(tmp_path)


def printed(*arguments: str) -> str:
    command = [sys.executable, "-m", "stages.tools.comment", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_verdict_comes_first_and_the_metrics_are_collapsed() -> None:
    said = comment.comment("main", "**UAR 1 -> 0: worse**", "| model |", "| uar |")
    assert said.startswith("### Results against main\n\n**UAR 1 -> 0: worse**\n")
    assert (
        said.index("| model |") < said.index("<details>") < said.index("| uar |") < said.index("</details>")
    )


@pytest.mark.slow
def test_incomparable_revisions_are_reported_with_their_parameters(revisions: Revisions) -> None:
    revisions.commit("main-before")
    revisions.evaluate(BEFORE)
    params = revisions.folder / "params.yaml"
    params.write_text(params.read_text().replace("seed: 20", "seed: 21"))
    said = printed("main-before")
    assert re.search(r"\*\*Not compared\.\*\* main-before: .*dvc\.lock.*evaluate", said)
    # every parameter is shown if no stage says which it reads
    row = next(line for line in said.splitlines() if line.startswith("| params.yaml | seed "))
    assert [cell.strip() for cell in row.split("|")[3:5]] == ["20", "21"]
    assert "<details><summary>Main metrics that changed</summary>\n\nNo change.\n\n</details>" in said


def test_a_parameter_shows_its_text_and_does_nothing_else(revisions: Revisions) -> None:
    revisions.commit("main-before")
    revisions.evaluate(BEFORE)
    params = revisions.folder / "params.yaml"
    params.write_text(params.read_text() + "\nnote: 'a|b <img src=x> @name `c`'\n")
    row = next(line for line in printed("main-before").splitlines() if "| note |" in line)
    assert row == r"| params.yaml | note | None | a\|b &lt;img src=x&gt; @&#8203;name \`c\` |"


@pytest.mark.parametrize("base", ["nope", "--help", "--md"])
def test_a_base_that_does_not_exist(revisions: Revisions, base: str) -> None:
    revisions.commit("start")
    place = f"`dvc params diff {base}`: unknown Git revision '{base}'. Give a branch"
    with pytest.raises(InputError, match=f"^{re.escape(place)}"):
        comment.diff("params", base)


def test_an_empty_base(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["comment", ""])
    with pytest.raises(InputError, match=r"^comment: the revision is empty"):
        comment.main()


@pytest.mark.slow
@pytest.mark.parametrize("subfolder", [".", "work/project"])
def test_the_comment_on_a_change_after_its_base_was_reproduced(
    subfolder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revisions = Revisions(tmp_path, subfolder)
    folder = revisions.folder
    monkeypatch.chdir(folder)
    (folder / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "base", folder / ".ci")
    (folder / "Makefile").write_text("repro:\n\tdvc repro\n")
    (folder / "stage.py").write_text(STAGE)
    (folder / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    with (folder / "dvc.yaml").open("w") as file:
        YAML().dump({"stages": PIPELINE}, file)
    BEFORE.to_parquet(folder / "prepared.parquet", index=False)
    revisions.commit("unrun")

    WORSE.to_parquet(folder / "prepared.parquet", index=False)
    params = folder / "params.yaml"
    params.write_text(params.read_text().replace("\nmodel: svm", "\nmodel: gru"))
    revisions.commit("change")
    subprocess.run([folder / ".ci" / "base", "unrun"], check=True)
    subprocess.run(["dvc", "repro"], check=True)

    said = printed("base")
    assert said.startswith("### Results against base\n\n**UAR 0.775 -> 0.533, ")
    assert "p = 0.031: worse**" in said
    assert "A is base (svm), B is workspace (gru)." in said
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in said.splitlines()]
    assert ["params.yaml", "model", "svm", "gru"] in cells
    (changed,) = [row for row in cells if row[:2] == ["metrics/test.json", "checksum"]]
    assert changed[2] != changed[3]
    assert [row[0] for row in cells if row and row[0].startswith("c/")] == [
        *("c/03", "c/00", "c/02", "c/04", "c/01", "c/05")
    ]
    # the base was made beside the workspace, which is as it was
    assert git(folder, "log", "-1", "--format=%s", "base") == "Reproduce unrun"
    assert len(git(folder, "worktree", "list").splitlines()) == 1
    assert git(folder, "rev-parse", "HEAD") == git(folder, "rev-parse", "change")


def post(folder: Path, **changes: str) -> tuple[list[str], str]:
    """Runs the workflow's last step with a `gh` that records its calls; returns them and the comment's text.

    Args:
        changes: of the variables NUMBER (what `gh` finds as the pull request), POSTED (as earlier comments)
            and CONCLUSION (of the run that compared).
    """
    *_, step = WORKFLOW["jobs"]["comment"]["steps"]
    gh = folder / "gh"
    gh.write_text(
        """#!/bin/sh
case "$*" in
*--paginate*) printf "%s" "$POSTED" ;;
*--jq*) printf "%s" "$NUMBER"; echo "$*" >> looked ;;
*) echo "$*" >> calls ;;
esac
"""
    )
    gh.chmod(0o755)
    environment = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "REPOSITORY": "o/r"}
    environment |= {"HEAD": "fork:branch", "SHA": "abc", "CONCLUSION": "success", "RUN": "https://run/1"}
    environment |= {"NUMBER": "7", "POSTED": ""} | changes
    command = ["bash", "-eo", "pipefail", "-c", step["run"]]
    subprocess.run(command, cwd=folder, env=os.environ | environment, check=True)
    assert "head=fork:branch" in (folder / "looked").read_text()
    calls, body = folder / "calls", folder / "body.md"
    return (
        calls.read_text().splitlines() if calls.exists() else [],
        body.read_text() if body.exists() else "",
    )


@pytest.mark.parametrize("posted", ["", "41", "41\n42"])
def test_the_workflow_posts_one_comment_and_updates_it(posted: str, tmp_path: Path) -> None:
    (tmp_path / "comment.md").write_text("### Results")
    calls, body = post(tmp_path, POSTED=posted)
    place = "--method PATCH repos/o/r/issues/comments/41" if posted else "repos/o/r/issues/7/comments"
    assert calls == [f"api --silent {place} --field body=@body.md"]
    marker, *text = body.splitlines()
    assert text == ["### Results", "Of commit abc."]
    *_, step = WORKFLOW["jobs"]["comment"]["steps"]
    assert f'startswith("{marker}")' in step["run"]


def test_a_failed_comparison_replaces_the_earlier_comment(tmp_path: Path) -> None:
    (tmp_path / "comment.md").write_text("### Results of a run that failed later")
    calls, body = post(tmp_path, POSTED="41", CONCLUSION="failure")
    assert calls == ["api --silent --method PATCH repos/o/r/issues/comments/41 --field body=@body.md"]
    assert "abc" in body and "https://run/1" in body
    assert "### Results" not in body


def test_a_run_that_left_no_comment_is_reported_as_failed(tmp_path: Path) -> None:
    assert "https://run/1" in post(tmp_path)[1]


def test_nothing_is_posted_where_the_pull_request_moved_on(tmp_path: Path) -> None:
    (tmp_path / "comment.md").write_text("### Results")
    assert post(tmp_path, NUMBER="")[0] == []


def test_a_comment_is_cut_to_what_github_accepts(tmp_path: Path) -> None:
    (tmp_path / "comment.md").write_text("a" + "ä" * 70_000)
    assert 60_000 < len(post(tmp_path)[1]) < 65_536


def test_only_a_run_that_compared_or_failed_is_reported() -> None:
    """A newcomer's run that waits for approval completes as `action_required`."""
    condition = WORKFLOW["jobs"]["comment"]["if"]
    (reported,) = re.findall(
        r"contains\(fromJSON\('(.+?)'\), github.event.workflow_run.conclusion\)", condition
    )
    assert json.loads(reported) == ["success", "failure", "timed_out"]


def test_the_job_that_may_write_runs_no_code_of_the_pull_request() -> None:
    (job,) = WORKFLOW["jobs"].values()
    assert WORKFLOW["permissions"] == {}
    assert list(WORKFLOW["on"]) == ["workflow_run"]
    assert job["permissions"] == {"actions": "read", "pull-requests": "write"}
    assert [step["uses"].partition("@")[0] for step in job["steps"] if "uses" in step] == [
        "actions/download-artifact"
    ]
    # What others choose, such as a branch's name, reaches the shell as variables only.
    assert not any("${{" in step.get("run", "") for step in job["steps"])


def test_the_job_that_runs_the_code_may_only_read() -> None:
    workflow = YAML(typ="safe", pure=True).load(ROOT / ".github" / "workflows" / "pull-request.yml")
    assert list(workflow["on"]) == ["pull_request"]
    assert workflow["permissions"] == {}
    assert [job["permissions"] for job in workflow["jobs"].values()] == [{"contents": "read"}]
    assert "secrets." not in str(workflow)
    assert WORKFLOW["on"]["workflow_run"]["workflows"] == [workflow["name"]]
