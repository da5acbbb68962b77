"""Predictions as text: a table for people, csv, json or jsonl for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from stages.audio import quality
from stages.base.errors import shown
from stages.data import keys
from stages.inference.bundle import Prediction, Window

COLUMNS = ("file", "start_s", "end_s", "speech", "emotion")
N_REASON = 80  # characters of a reason in a table


class Format:
    """Writes the predictions of files, one after the other.

    Attributes:
        begin, end: what comes before the first and after the last file.
        between: what comes between two files.
    """

    begin = between = end = ""

    def __init__(self, classes: list[str], top: int, timeline: bool, model: str) -> None:
        """Takes the emotions, how many to show of them, whether to show each window, and the model's name.

        Only `Table` and `Json` leave out emotions: the columns of a csv file are those of all.
        """
        self.classes, self.top, self.timeline, self.model = classes, top, timeline, model

    def text(self, file: str, prediction: Prediction, sha256: str) -> str:
        """Returns what is written about a file, in whole lines.

        Args:
            sha256: of its content, as `checksum` returns it.
        """
        raise NotImplementedError

    def windows(self, prediction: Prediction) -> list[Window]:
        """Returns what has a row: the recording, or its windows."""
        return [*prediction.timeline] if self.timeline and prediction.timeline else [prediction]


class Csv(Format):
    """A row per file or window, with the probability of every emotion."""

    @property
    def begin(self) -> str:  # type: ignore[override]
        """The header."""
        names = (f"p_{emotion}" for emotion in self.classes)
        return _line([*COLUMNS, *names, "status", "reason", "model", "sha256"])

    def text(self, file: str, prediction: Prediction, sha256: str) -> str:
        """Returns the rows of a file."""
        return "".join(self._row(file, window, sha256) for window in self.windows(prediction))

    def _row(self, file: str, window: Window, sha256: str) -> str:
        probabilities = [
            f"{p:.3f}" if (p := window.probabilities.get(name)) is not None else "" for name in self.classes
        ]
        start = [file, f"{window.start_s:.2f}", f"{window.end_s:.2f}", "yes" if window.speech else "no"]
        end = [window.status, window.reason, self.model, sha256]
        return _line([*start, window.emotion, *probabilities, *end])


class JsonLines(Format):
    """An object per file, on one line."""

    def text(self, file: str, prediction: Prediction, sha256: str) -> str:
        """Returns the object of a file."""
        found = {"file": file, **self._object(prediction), "model": self.model, "sha256": sha256}
        if self.timeline:
            found["timeline"] = [self._object(window) for window in prediction.timeline]
        return json.dumps(found, ensure_ascii=False) + "\n"

    def _object(self, window: Window) -> dict[str, Any]:
        return {
            "start_s": round(window.start_s, 3),
            "end_s": round(window.end_s, 3),
            "speech": window.speech,
            "emotion": window.emotion,
            "probabilities": {name: round(p, 4) for name, p in window.top(self.top)},
            "status": window.status,
            "reason": window.reason,
        }


class Json(JsonLines):
    """A list of those objects."""

    begin, between, end = "[\n", ",", "]\n"


class Table(Format):
    """A line per file or window, for people."""

    def text(self, file: str, prediction: Prediction, sha256: str) -> str:
        """Returns the lines of a file, without its checksum."""
        lines = []
        for window in self.windows(prediction):
            place = f"  {_clock(window.start_s)} - {_clock(window.end_s)}" if self.timeline else ""
            answer = ", ".join(f"{name} {p:.2f}" for name, p in window.top(self.top)) or "-"
            sure = f"  {window.status}: {window.reason[:N_REASON]}" if window.reason else ""
            lines.append(f"{file}{place}  {answer}{sure}\n")
        return "".join(lines)


FORMATS: dict[str, type[Format]] = {"table": Table, "csv": Csv, "json": Json, "jsonl": JsonLines}
RESUMABLE = ("csv", "jsonl")


@dataclass(frozen=True)
class Finished:
    """What an interrupted output already has.

    Attributes:
        text: of the header and of the recordings to keep, the first ones.
        n_done: how many recordings they are.
        n_failed: how many of them failed.
        changed: the first recording whose content is no longer that of its rows; "" if there is none.
    """

    text: str
    n_done: int = 0
    n_failed: int = 0
    changed: str = ""


def checksum(path: Path) -> str:
    """Returns the SHA-256 of a recording, "" if it cannot be read."""
    if quality.why_unreadable(path):
        return ""
    try:
        return keys.sha256(path)
    except OSError:  # removed since, or the disk fails
        return ""


def finished(text: str, chosen: Format, recordings: list[tuple[str, Path]]) -> Finished:
    """Returns what an interrupted output has of the recordings, whose content is compared.

    The last recording may be incomplete, so it is left out, to be predicted again; so is the first one whose
    content has changed, and what follows it.

    Args:
        recordings: name and path of those to predict, in their order; the output has the first ones.

    Raises:
        ValueError: the text is of another format, other columns, another model, or other recordings.
    """
    if not text.startswith(chosen.begin):
        raise ValueError("other columns")
    body = text[len(chosen.begin) :]
    rows = [*_rows(body[: body.rfind("\n") + 1], isinstance(chosen, Csv))]
    if any(row.model != chosen.model for row in rows):
        raise ValueError("another model, other settings, or other recordings for the statistics")
    # A recording may have several rows, and a name may be given twice in a row: such stay together.
    there = [(file, [*of_file]) for file, of_file in groupby(rows, key=lambda row: row.file)]
    expected = [(name, [path for _, path in same]) for name, same in groupby(recordings, key=lambda r: r[0])]
    for number, (file, _) in enumerate(there):
        name = expected[number][0] if number < len(expected) else None
        if file != name:
            instead = (
                f"in place of {shown(name)}" if name is not None else "which this command does not predict"
            )
            raise ValueError(f"it has other recordings: {shown(file)}, {instead}")
    kept, n_done, n_failed, changed = chosen.begin, 0, 0, ""
    for (file, of_file), (_, paths) in zip(there[:-1], expected, strict=False):
        if {row.sha256 for row in of_file} != {checksum(path) for path in paths}:
            changed = file
            break
        kept += "".join(row.text for row in of_file)
        n_done += len(paths)
        n_failed += sum(row.failed for row in of_file)
    return Finished(kept, n_done, n_failed, changed)


class _Row(NamedTuple):
    """What an output says in a row, and the row itself."""

    file: str
    model: str
    sha256: str
    failed: bool
    text: str


def _rows(body: str, is_csv: bool) -> Iterator[_Row]:
    """Yields the rows of an output."""
    if is_csv:
        for row in csv.reader(io.StringIO(body)):
            yield _Row(row[0], row[-2], row[-1], row[-4] == "failed", _line(row))
        return
    for line in body.split("\n")[:-1]:  # not splitlines: a file name may have other breaks
        found = json.loads(line)
        failed = found["status"] == "failed"
        yield _Row(found["file"], found["model"], found["sha256"], failed, f"{line}\n")


def _line(values: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(values)
    return out.getvalue()


def _clock(seconds: float) -> str:
    minutes, left = divmod(round(seconds, 1), 60)
    return f"{int(minutes // 60)}:{int(minutes % 60):02d}:{left:04.1f}"
