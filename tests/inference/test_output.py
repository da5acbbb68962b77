"""Predictions as text, and how an interrupted output is continued."""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from stages.data import keys
from stages.inference.bundle import Prediction, Window
from stages.inference.output import FORMATS, Finished, Format, checksum, finished

HALVES = (
    Window(0.0, 2.0, True, "answered", "", {"anger": 0.9, "fear": 0.1}),
    Window(1.0, 3.0, False, "abstained", "silent: level -80.0 dBFS", {}),
)
LONG = Prediction(0.0, 3.0, True, "answered", "", {"anger": 0.9, "fear": 0.1}, HALVES)
BAD = Prediction(0.0, 0.0, False, "failed", 'not audio, or "damaged"', {})


def chosen(kind: str, timeline: bool = False, model: str = "m") -> Format:
    return FORMATS[kind](["anger", "fear"], 1, timeline, model)


def written(kind: str, timeline: bool = False) -> str:
    made = chosen(kind, timeline)
    return made.begin + made.text("a,b.wav", LONG, "") + made.between + made.text("c.wav", BAD, "") + made.end


def missing(*names: str) -> list[tuple[str, Path]]:
    """Returns recordings that are not there, so that they have no checksum."""
    return [(name, Path("missing", name)) for name in names]


def test_csv_has_a_row_per_file_or_window() -> None:
    rows = [*csv.DictReader(io.StringIO(written("csv")))]
    assert [(row["file"], row["p_anger"], row["status"]) for row in rows] == [
        ("a,b.wav", "0.900", "answered"),
        ("c.wav", "", "failed"),
    ]
    rows = [*csv.DictReader(io.StringIO(written("csv", timeline=True)))]
    assert [(row["start_s"], row["end_s"], row["speech"]) for row in rows] == [
        ("0.00", "2.00", "yes"),
        ("1.00", "3.00", "no"),
        ("0.00", "0.00", "no"),
    ]


def test_json_is_one_list_and_jsonl_a_line_per_file() -> None:
    listed = json.loads(written("json", timeline=True))
    assert [each["file"] for each in listed] == ["a,b.wav", "c.wav"]
    assert listed[0]["probabilities"] == {"anger": 0.9}  # the one most probable was asked for
    assert [window["speech"] for window in listed[0]["timeline"]] == [True, False]
    assert [json.loads(line) for line in written("jsonl", timeline=True).splitlines()] == listed


def test_a_table_names_the_file_the_answer_and_the_reason() -> None:
    lines = written("table", timeline=True).splitlines()
    assert lines[0].split() == ["a,b.wav", "0:00:00.0", "-", "0:00:02.0", "anger", "0.90"]
    assert "abstained: silent" in lines[1] and "failed: not audio" in lines[2]


@pytest.mark.parametrize(
    ("end_s", "shown"), [(59.94, "0:00:59.9"), (59.97, "0:01:00.0"), (3599.96, "1:00:00.0")]
)
def test_a_table_has_no_sixtieth_second(end_s: float, shown: str) -> None:
    text = chosen("table", timeline=True).text("a.wav", replace(LONG, end_s=end_s, timeline=()), "")
    assert text.split()[3] == shown


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("timeline", [False, True])
def test_an_interrupted_output_keeps_all_but_the_last_file(kind: str, timeline: bool) -> None:
    text, begin = written(kind, timeline), chosen(kind, timeline).begin
    first = chosen(kind, timeline).text("a,b.wav", LONG, "")
    for n in range(len(text) - len(chosen(kind, timeline).text("c.wav", BAD, "")) + 1, len(text) + 1):
        kept = finished(text[:n], chosen(kind, timeline), missing("a,b.wav", "c.wav"))
        complete = text[:n].endswith("\n") and n == len(text)
        assert kept == (Finished(begin + first, 1) if complete else Finished(begin))


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_names_with_unusual_line_breaks_are_continued(kind: str) -> None:
    names = ["a\u2028b.wav", "c\x85d.wav"]
    made = chosen(kind)
    text = made.begin + "".join(made.text(name, LONG, "") for name in names)
    assert finished(text, made, missing(*names)) == Finished(made.begin + made.text(names[0], LONG, ""), 1)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_an_output_of_other_recordings_is_not_continued(kind: str) -> None:
    for names, words in (
        (["a,b.wav"], "'c.wav', which this command does not predict"),
        (["a,b.wav", "d.wav", "c.wav"], "'c.wav', in place of 'd.wav'"),
        (["c.wav", "a,b.wav"], "'a,b.wav', in place of 'c.wav'"),
    ):
        with pytest.raises(ValueError, match=f"^it has other recordings: {words}$"):
            finished(written(kind), chosen(kind), missing(*names))


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_name_that_is_given_twice_and_a_failure_are_counted(kind: str) -> None:
    made, names = chosen(kind), ["c.wav", "c.wav", "a,b.wav", "c.wav"]
    rows = [made.text(name, BAD if name == "c.wav" else LONG, "") for name in names]
    text = made.begin + "".join(rows)
    kept = finished(text, made, missing(*names))
    assert kept == Finished(made.begin + "".join(rows[:3]), 3, 2)
    assert finished(made.begin + rows[0], made, missing(*names)) == Finished(made.begin)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("timeline", [False, True])
def test_rows_of_other_content_are_not_kept(kind: str, timeline: bool, tmp_path: Path) -> None:
    made, names = chosen(kind, timeline), ["a.wav", "b.wav", "b.wav", "c.wav", "d.wav", "e.wav"]
    recordings = [(name, tmp_path / name) for name in names]
    for name, path in recordings:
        path.write_text(name)
    rows = [made.text(name, BAD if name == "d.wav" else LONG, keys.sha256(path)) for name, path in recordings]
    text = made.begin + "".join(rows)
    assert finished(text, made, recordings) == Finished(made.begin + "".join(rows[:5]), 5, 1)
    (tmp_path / "d.wav").write_text("another")
    assert finished(text, made, recordings) == Finished(made.begin + "".join(rows[:4]), 4, 0, "d.wav")
    (tmp_path / "b.wav").unlink()
    assert finished(text, made, recordings) == Finished(made.begin + rows[0], 1, 0, "b.wav")


def test_what_cannot_be_read_has_no_checksum(tmp_path: Path) -> None:
    (tmp_path / "broken.wav").symlink_to("gone.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "folder.wav").mkdir()
    assert {checksum(path) for path in [*tmp_path.iterdir(), tmp_path / "gone.wav"]} == {""}


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_an_output_of_another_model_is_not_continued(kind: str) -> None:
    with pytest.raises(ValueError, match="another model"):
        finished(written(kind), chosen(kind, model="other"), missing("a,b.wav", "c.wav"))
    with pytest.raises(ValueError, match=r"columns|JSON|Expecting"):
        finished("year,profit\n2020,3\n", chosen(kind), missing("a,b.wav"))
