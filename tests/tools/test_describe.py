"""The block of params.yaml that is suggested for a table, read by the pipeline as it is."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.base import params
from stages.base.errors import InputError
from stages.tools import describe
from tests.support import shipped

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder data/sources/calls with a table, in an empty project."""
    monkeypatch.chdir(tmp_path)
    folder = Path("data/sources/calls")
    folder.mkdir(parents=True)
    (folder / "labels.csv").write_text("File_Name,spk,Emotion,gender\na.wav,1,hap,F\nb.wav,2,awe,M\n")
    return folder


def test_the_columns_and_labels_of_a_table_are_recognised(
    calls: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["describe", str(calls)])
    describe.main()
    printed = capsys.readouterr().out
    assert YAML(typ="safe").load(printed) == {
        "corpora": {
            "calls": {
                "table": "data/sources/calls/labels.csv",
                "columns": {"path": "File_Name", "speaker": "spk", "label": "Emotion", "sex": "gender"},
                "labels": {"hap": "happiness"},
            }
        }
    }
    assert "awe" in printed
    assert "sentence, partition" in printed


@pytest.mark.parametrize("given", ["labels.csv", "."])
def test_a_corpus_is_named_after_its_folder_from_inside_of_it(
    calls: Path, given: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(calls)
    monkeypatch.setattr("sys.argv", ["describe", given])
    describe.main()
    assert [*YAML(typ="safe").load(capsys.readouterr().out)["corpora"]] == ["calls"]


@pytest.mark.parametrize("name", ["a,b", ".hidden", "calls (2024)"])
def test_a_folder_whose_name_no_corpus_can_have(
    calls: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = calls.rename(calls.with_name(name))
    monkeypatch.setattr("sys.argv", ["describe", str(folder)])
    with pytest.raises(InputError, match=rf"{re.escape(str(folder))}: '{re.escape(name)}' .* Rename"):
        describe.main()
    assert not capsys.readouterr().out


def test_what_is_missing_is_said(calls: Path) -> None:
    read = describe.table.read(calls / "labels.csv", None).drop(columns="spk")
    _, questions = describe.suggest(calls / "labels.csv", read)
    assert any("speaker" in question and "File_Name" in question for question in questions)


def test_a_path_is_recognised_by_its_content_and_columns_in_another_language_are_named(calls: Path) -> None:
    rows = ["Anruf 1.WAV;1;wütend", "b.flac;2;traurig", "b2.mp3 ;2;traurig", "kein Ton;3;traurig"]
    (calls / "labels.csv").write_text("\n".join(["Datei;Sprecher-ID;Emotion", *rows]), encoding="utf-8")
    read = describe.table.read(calls / "labels.csv", None)
    block, questions = describe.suggest(calls / "labels.csv", read)
    assert block["columns"] == {"path": "Datei", "label": "Emotion"}
    assert questions[-1].startswith("columns not used: Sprecher-ID. Name")
    assert ", as speaker, sex, " in questions[-1]
    assert not any("not in the table" in question for question in questions)


def test_a_folder_without_a_table_is_refused(calls: Path) -> None:
    (calls / "labels.csv").unlink()
    (calls / "x.wav").touch()
    with pytest.raises(InputError, match=r"calls: has no table.*1 recordings.*x\.wav"):
        describe.find(calls)


def test_of_several_tables_the_one_with_our_columns_is_described_and_the_others_are_named(
    calls: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (calls / "a_notes.csv").write_text("note;by\nloud;me\n")
    (calls / "broken.csv").write_bytes(b"path\n\xe4.wav\n")
    monkeypatch.setattr("sys.argv", ["describe", str(calls)])
    describe.main()
    printed = capsys.readouterr().out
    assert YAML(typ="safe").load(printed)["corpora"]["calls"]["table"] == "data/sources/calls/labels.csv"
    assert "a_notes.csv, broken.csv" in printed


def test_the_block_is_added_to_params_whose_other_lines_stay(
    calls: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = shipped.text()
    Path("params.yaml").write_text(before)
    monkeypatch.setattr("sys.argv", ["describe", str(calls), "--add"])
    describe.main()
    added = YAML(typ="safe").load(capsys.readouterr().out)["corpora"]
    after = Path("params.yaml").read_text()
    lines = [line for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line[0] in "+-"]
    assert not [line for line in lines if line[0] == "-"]
    assert YAML(typ="safe").load("\n".join(line[2:] for line in lines)) == added
    assert params.read().corpus_of("calls").rows()["label"].tolist() == ["happiness", "awe"]
    with pytest.raises(InputError, match=r"params\.yaml: corpora\.calls is there already"):
        describe.main()
    assert Path("params.yaml").read_text() == after
