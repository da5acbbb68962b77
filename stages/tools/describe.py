"""Suggest a block of params.yaml for your own recordings, from a folder or a table.

    ser describe data/sources/my_calls

Prints the block, and what could not be determined. With --add, the block is put into params.yaml too.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

from stages.acquire import table
from stages.audio.recording import SUFFIXES
from stages.base.errors import InputError, parser_of, run, shown
from stages.base.files import replacing
from stages.base.params import CORPUS_NAME, PARAMS, checked
from stages.data.vocabulary import EMOTIONS

TABLES = ("db.yaml", "metadata.csv", "*.csv", "*.tsv", "*.parquet", "*.jsonl")
# Names under which tables have our columns.
NAMES = {
    "path": ("path", "file", "file_name", "filename", "wav", "audio", "audio_path", "filepath"),
    "speaker": ("speaker", "speaker_id", "spk", "spkr", "actor", "subject", "participant", "client_id"),
    "label": ("label", "emotion", "emo", "class", "category", "emotion_label"),
    "sex": ("sex", "gender"),
    "age": ("age",),
    "sentence": ("sentence", "text", "transcript", "transcription", "utterance"),
    "language": ("language", "lang", "locale"),
    "session": ("session", "session_id", "dialogue", "dialog"),
    "partition": ("partition", "split", "split_set", "set", "subset"),
    "start": ("start", "start_time", "start_s", "onset"),
    "end": ("end", "end_time", "end_s", "offset"),
}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("path", type=Path, help="a folder with recordings, or a table")
    parser.add_argument("--add", action="store_true", help="put the block into params.yaml")
    given = parser.parse_args()
    found, others = find(given.path)
    read = table.read(found, None)
    name = found.absolute().parent.name
    if not re.search(CORPUS_NAME, name):
        raise InputError(
            f"{found.parent}: {shown(name)} cannot be the name of a corpus. Rename the folder: letters, "
            "digits and _, between them also spaces, dots and hyphens."
        )
    block, open_questions = suggest(found, read)
    if others:
        open_questions.append(f"other tables there, not described: {', '.join(each.name for each in others)}")
    if given.add:
        add(name, block)
    text = io.StringIO()
    YAML().dump({"corpora": {name: block}}, text)
    print(text.getvalue(), end="")
    for question in open_questions:
        print(f"# {question}")


def add(name: str, block: dict[str, Any], path: Path = PARAMS) -> None:
    """Puts a corpus's block into params.yaml, whose other lines and comments stay.

    Raises:
        InputError: there is such a block already, or with this one params.yaml is not valid.
    """
    yaml = YAML()
    yaml.width = 1000  # long lines stay as they are
    values = yaml.load(path.read_text(encoding="utf-8"))
    if name in values["corpora"]:
        raise InputError(f"{path}: corpora.{name} is there already. Change it by hand, or rename the folder.")
    values["corpora"][name] = block
    checked(values)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        yaml.dump(values, file)


def find(path: Path) -> tuple[Path, list[Path]]:
    """Returns the table at `path`, or in that folder the one with most of our columns, and the others there.

    Raises:
        InputError: there is none.
    """
    if path.is_file():
        return path, []
    tables = list(dict.fromkeys(file for pattern in TABLES for file in sorted(path.glob(pattern))))
    if tables:
        best = max(tables, key=_n_recognised) if len(tables) > 1 else tables[0]
        return best, [each for each in tables if each != best]
    if not path.is_dir():
        raise InputError(f"{path}: missing.")
    recordings = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
    first = f", the first is {recordings[0].relative_to(path)}" if recordings else ""
    raise InputError(
        f"{path}: has no table ({', '.join(TABLES)}) and {len(recordings)} recordings{first}. Write a csv "
        "with the columns path, speaker and label."
    )


def _n_recognised(path: Path) -> int:
    """Returns how many of the required columns the table seems to have; none if it cannot be read."""
    try:
        read = table.read(path, None)
    except InputError:
        return 0
    return len(_columns(read).keys() & set(table.REQUIRED))


def _columns(read: pd.DataFrame) -> dict[str, str]:
    """Returns the table's name of each of our columns that is recognised, a path by its content too."""
    by_name = {str(column).strip().lower(): str(column) for column in read.columns}
    found = {ours: [by_name[name] for name in theirs if name in by_name] for ours, theirs in NAMES.items()}
    columns = {ours: names[0] for ours, names in found.items() if names}
    if "path" not in columns:
        for theirs in read.columns:
            is_audio = read[theirs].str.strip().str.lower().str.endswith(SUFFIXES)
            if is_audio.mean() > 0.5:
                return {"path": str(theirs), **columns}
    return columns


def suggest(path: Path, read: pd.DataFrame) -> tuple[dict[str, Any], list[str]]:
    """Returns the block for a table, and what could not be determined, a sentence each."""
    columns = _columns(read)
    missing = [ours for ours in table.REQUIRED if ours not in columns]
    listed = ", ".join(map(str, read.columns))
    questions = [f"no column looks like the {ours}; the table has {listed}" for ours in missing]
    block: dict[str, Any] = {"table": path.as_posix()}
    renamed = {ours: theirs for ours, theirs in columns.items() if ours != theirs}
    if renamed:
        block["columns"] = renamed
    if "label" in columns:
        cells = sorted({cell.strip() for cell in read[columns["label"]]} - {""})
        labels = {cell: table.SPELLINGS[cell.lower()] for cell in cells if cell.lower() in table.SPELLINGS}
        if labels:
            block["labels"] = labels
        kept = [cell for cell in cells if cell not in labels and cell.lower() not in EMOTIONS]
        if kept:
            questions.append(f"labels kept as they are: {', '.join(kept)}")
    unknown = [ours for ours in ("sex", "sentence", "partition") if ours not in columns]
    if unused := [theirs for theirs in map(str, read.columns) if theirs and theirs not in columns.values()]:
        # They may be what is not recognised, in another language, say.
        unrecognised = ", ".join(ours for ours in NAMES if ours not in columns)
        fitting = f". Name those that fit in the block's `columns`, as {unrecognised}" if unrecognised else ""
        questions.append(f"columns not used: {', '.join(unused)}{fitting}")
    elif unknown:
        questions.append(f"not in the table, so unknown: {', '.join(unknown)}")
    if path.parts[:2] != ("data", "sources"):
        questions.append("put the table and its recordings below data/sources")
    return block, questions


if __name__ == "__main__":
    run(main)
