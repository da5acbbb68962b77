"""Corpora described by a table: a row per recording or segment, read, checked and written in one form.

Text tables (csv, tsv) may be UTF-8 or UTF-16, with any line ends; parquet, JSON lines (jsonl), an audformat
database (`db.yaml`) and a folder of EmoBox's folds are read the same way.
"""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from stages.acquire.source_file import is_text
from stages.audio.recording import SUFFIXES
from stages.base.errors import InputError, extra, first_of, listed, one_line, shown, unknown
from stages.data.vocabulary import CHANNELS, EMOTIONS, LABEL, UNKNOWN

REQUIRED = ("path", "speaker", "label")
OPTIONAL = (
    *("clip", "sex", "age", "sentence", "language", "intensity", "channel", "session", "group"),
    *("repetition", "listeners", "start", "end", "partition"),
)
SEXES = {
    **dict.fromkeys(("f", "female", "w", "woman"), "female"),
    **dict.fromkeys(("m", "male", "man"), "male"),
    **dict.fromkeys(("", "unknown", "other", "nan", "none", "na", "n/a"), ""),
}
PARTITIONS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "devel", "development"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
    "-": "-",
}
# The name in EMOTIONS of labels that corpora often have.
SPELLINGS = {
    **{"ang": "anger", "angry": "anger", "hap": "happiness", "happy": "happiness", "joy": "happiness"},
    **{"sad": "sadness", "neu": "neutral", "fea": "fear", "fearful": "fear", "afraid": "fear"},
    **{"dis": "disgust", "disgusted": "disgust", "sur": "surprise", "surprised": "surprise"},
    **{"exc": "excitement", "excited": "excitement", "fru": "frustration", "frustrated": "frustration"},
    **{"bored": "boredom", "cal": "calm", "con": "contempt"},
}
LARGEST_EXACT = 2**53  # up to here, a float of a whole number is that number

# Characters that nothing shows: Unicode's Default_Ignorable_Code_Point and interlinear annotations. Persian
# and Indic names need some of them (U+200C, U+200D), so comparisons ignore them, but the names keep them.
_INVISIBLE = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_MAYBE_PUNCTUATION = re.compile(r"[^\w\s]|_")  # or a symbol, or a vowel sign of an Indic script
_WHOLE_NUMBER = re.compile(r"(\d{1,100})(?:[.,]0{0,2})?")  # not 1.10, which may be the session after 1.9
_ALIKE = "differ only in case, spaces, forms of a character, invisible characters or zeros of a number"


LEFT_OUT = "label left out"  # the reason of rows whose label the block maps to null
QUOTED = (
    "a quotation mark begins a text that contains other rows. Remove it, or put the text into quotes and "
    'write its own as ""'
)

# How R, pandas and databases write an empty cell.
MISSING = ("NA", "N/A", "<NA>", "nan", "NaN", "null", "NULL")
UNREADABLE = (OSError, ValueError, TypeError, LookupError)


@dataclass(frozen=True)
class Rules:
    """How a table is to be read.

    Attributes:
        place: the block in params.yaml, for errors.
        columns: the table's names of our columns, by ours; None leaves one empty.
        labels: label by the table's label; None leaves its rows out.
        partitions: role by the table's partition; None leaves its rows out of the folds.
    """

    place: str
    columns: Mapping[str, str | None]
    labels: Mapping[str, str | None]
    partitions: Mapping[str, str | None]


def read(path: Path, name: str | None) -> pd.DataFrame:
    """Returns the table at `path` as text, "" where it has no value; its index has the numbers of the rows.

    In a text table these are the numbers of the lines in which the rows begin.

    Args:
        name: of a table in an audformat database.

    Raises:
        InputError: it is missing, or cannot be read.
    """
    try:
        if path.is_dir():
            return _numbered(_emobox(path))
        match path.suffix.lower():
            case ".csv" | ".tsv" | ".txt":
                return _delimited(_decoded(path.read_bytes()))
            case ".jsonl":
                return _numbered(_json_lines(path))
            case ".parquet" | ".pqt":
                return _numbered(_as_text(pd.read_parquet(path)))
            case ".yaml":
                return _numbered(_audformat(path, name))
    except FileNotFoundError as error:
        raise InputError(f"{path}: missing. Put the table there, or correct `table`.") from error
    except UNREADABLE as error:
        raise InputError(f"{path}: not a readable table ({one_line(error)}).") from error
    raise InputError(
        f"{path}: not a table; choose csv, tsv, parquet, jsonl, audformat's db.yaml or a folder."
    )


def normalise(table: pd.DataFrame, path: Path, rules: Rules) -> pd.DataFrame:
    """Returns the rows in one form: the columns of REQUIRED and OPTIONAL, `row` and `problem`, all text.

    A row that cannot be used has the reason as `problem`. What is wrong with the table itself is an error.

    Args:
        table: as `read` returns it.

    Raises:
        InputError: names the table, the row and the value.
    """
    rows = _renamed(table, path, rules).rename_axis("row").reset_index().assign(problem="")
    if rows.empty:
        raise InputError(f"{path}: has no rows.")
    _each(rows, "path", path, _clean_path)
    _each(rows, "sex", path, _sex)
    _each(rows, "channel", path, lambda cell: _channel(cell or "speech"))
    _each(rows, "speaker", path, lambda cell: UNKNOWN if _folded(cell) == UNKNOWN else _text(cell))
    for column in ("sentence", "language", "intensity", "session", "group", "clip"):
        _each(rows, column, path, _text)
    for column, whole in (("age", True), ("repetition", True), ("start", False), ("end", False)):
        _each(rows, column, path, _number(column, whole))
    # The same person twice would be tested after training on them, and no later check could see it. The other
    # columns can be what `split.group_by` separates.
    for column in ("speaker", "session", "group", "language", "intensity"):
        _one_spelling(rows, column, path, "or, if they are two, give them names that differ in more")
    rows["sentence"] = one_of_each(rows["sentence"])
    _label(rows, path, rules)
    _partition(rows, path, rules)
    _sexes(rows, path)
    rows["listeners"] = rows["listeners"].map(lambda cell: _votes(cell, rules.labels))
    _blame(rows, rows["speaker"] == "", "no speaker")
    _blame(rows, ~rows["path"].map(lambda name: name.lower().endswith(SUFFIXES)), "unknown format: not audio")
    _segments(rows, path, _remedy(table, rules))
    _clips(rows, path)
    return rows


def _decoded(content: bytes) -> str:
    utf_16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return content.decode("utf-16" if utf_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        row = len(content[: error.start + 1].splitlines())
        line = content.splitlines()[row - 1].decode("utf-8", "replace")
        raise ValueError(f"row {row}, '{line[:80]}': not in UTF-8. Save it as UTF-8") from error


def _delimited(text: str) -> pd.DataFrame:
    """Returns a table whose separator `sep=` names, else the one most frequent in its header: , ; or tab.

    Excel reads and needs the line `sep=;` before the header where its language has another separator.
    """
    first = next((line for line in io.StringIO(text, newline=None) if line.strip()), "")
    named = re.fullmatch(r"sep=([^\n])\s*", first, re.IGNORECASE)
    separator = named[1] if named else max(",;\t", key=first.count)
    names: list[str] = []
    rows: dict[int, list[str]] = {}
    for number, cells in islice(_lines(text, separator), 1 if named else 0, None):
        if not names:
            names = [name.strip() for name in cells]
            continue
        if any(cell.strip() for cell in cells[len(names) :]):
            raise ValueError(
                f"row {number} has {len(cells)} cells, the header {len(names)}; put a text that contains "
                f"'{separator}' into quotes: {cells}"
            )
        if any(_has_rows(cell, separator, len(names)) for cell in cells):
            raise ValueError(f"row {number}: {QUOTED}")
        rows[number] = (cells + [""] * len(names))[: len(names)]
    if doubled := [name for name in names if name and names.count(name) > 1]:
        raise ValueError(f"the column '{doubled[0]}' occurs {names.count(doubled[0])} times. Rename one")
    return pd.DataFrame.from_dict(rows, orient="index", columns=names, dtype=str)


def _lines(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yields the number of the line in which a row begins, and its cells; rows without any are skipped."""
    reader, n_read = csv.reader(io.StringIO(text, newline=""), delimiter=separator), 0
    try:
        for cells in reader:
            number, n_read = n_read + 1, reader.line_num
            if "".join(cells).strip():  # Excel writes empty rows below a table as separators
                yield number, cells
    except csv.Error as error:  # a cell has over 131,072 characters
        raise ValueError(f"row {n_read + 1}: {QUOTED} ({error})") from error


def _has_rows(cell: str, separator: str, n_columns: int) -> bool:
    """Returns whether a line within a cell looks like a row of the table."""
    return any(line.count(separator) >= max(1, n_columns - 1) for line in cell.splitlines()[1:])


def _json_lines(path: Path) -> pd.DataFrame:
    lines = path.read_text(encoding="utf-8").split("\n")  # splitlines also splits within texts
    # As objects: pandas would make floats of whole numbers where one is missing.
    return _as_text(pd.DataFrame([json.loads(line) for line in lines if line.strip()], dtype=object))


def _as_text(table: pd.DataFrame) -> pd.DataFrame:
    def text(cell: Any) -> str:
        is_whole = isinstance(cell, float) and cell.is_integer() and abs(cell) < LARGEST_EXACT
        return str(int(cell)) if is_whole else str(cell)

    return table.astype(object).where(table.notna(), "").map(text).astype(str)


def _numbered(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the table with the numbers of its rows, from 1 on, as index."""
    return table.set_axis(range(1, len(table) + 1))


def _emobox(folder: Path) -> pd.DataFrame:
    """Returns EmoBox's folds (`fold_<n>/*_{train,valid,test}_fold_<n>.jsonl`) as rows with a `partition`.

    Raises:
        InputError: there are none, a fold has a clip twice, or two lists differ in what they say of a clip.
    """
    found: dict[int, pd.DataFrame] = {}
    for file in sorted(folder.glob("fold_*/*.jsonl")):
        match = re.fullmatch(r".*_(train|valid|val|dev|test)_fold_(\d+)", file.stem)
        if match is None:
            continue
        own = _json_lines(file).assign(partition=PARTITIONS[match[1]])
        own.index = pd.Index([file.relative_to(folder).as_posix()] * len(own))
        fold = int(match[2])
        found[fold] = pd.concat([found[fold], own]) if fold in found else own
    if not found:
        raise InputError(f"{folder}: no file like fold_1/<corpus>_train_fold_1.jsonl, as EmoBox has.")
    rows = pd.concat(found.values()).fillna("")
    _check_lists(folder, rows, found.values())
    rows = rows.drop_duplicates("key").set_index("key", drop=False)
    roles = [own.set_index("key")["partition"].reindex(rows.index, fill_value="-") for own in found.values()]
    rows["partition"] = pd.concat(roles, axis=1).agg(" ".join, axis=1)
    return rows.reset_index(drop=True)


def _check_lists(folder: Path, rows: pd.DataFrame, folds: Iterable[pd.DataFrame]) -> None:
    """Checks that EmoBox's lists, whose names are the index, have a clip once per fold and agree on it."""
    for own in folds:
        twice = own.loc[own["key"].duplicated(keep=False), "key"]
        if len(twice):
            places = " and in ".join(twice.index[twice == twice.iloc[0]].unique())
            raise InputError(
                f"{folder}: clip {shown(twice.iloc[0])} is twice in {places}. A fold has each clip "
                "once: keep one."
            )
    for column in rows.columns.drop(["key", "partition"]):
        said = rows.loc[rows[column] != "", ["key", column]].drop_duplicates()
        differing = said[said["key"].duplicated(keep=False)]
        if len(differing):
            clip = differing["key"].iloc[0]
            cells = differing.loc[differing["key"] == clip, column]
            both = " but ".join(f"{shown(cell)} in {name}" for name, cell in cells.head(2).items())
            raise InputError(
                f"{folder}: clip {shown(clip)} has the {column} {both}. Correct one of the lists."
            )


def _audformat(path: Path, name: str | None) -> pd.DataFrame:
    """Returns a table of an audformat database, its speakers' facts and its splits as columns."""
    with extra("audformat", str(path)):
        import audformat
    database = audformat.Database.load(str(path.parent))
    if name is None and len(database.tables) == 1:
        name = next(iter(database.tables))
    if name not in database.tables:
        raise unknown(f"{path}: `name`", name, database.tables)
    chosen = database[name]
    table = chosen.get().copy()
    for place, column in chosen.columns.items():
        scheme = database.schemes.get(column.scheme_id)
        if scheme is not None and scheme.uses_table:
            facts = database[scheme.labels].get()
        elif scheme is not None and isinstance(scheme.labels, dict):
            facts = pd.DataFrame.from_dict(scheme.labels, orient="index")
        else:
            continue
        for fact in facts.columns:
            if fact not in table:
                table[fact] = table[place].astype(object).map(facts[fact])
    if chosen.split_id is not None and "partition" not in table:
        table["partition"] = str(database.splits[chosen.split_id].type)
    table = table.reset_index()
    for end in ("start", "end"):
        if end in table:
            table[end] = table[end].dt.total_seconds()
    return _as_text(table.rename(columns={"file": "path"}))


def _renamed(table: pd.DataFrame, path: Path, rules: Rules) -> pd.DataFrame:
    """Returns the table's columns under our names, and empty ones for those that it lacks."""
    found = {}
    for ours, theirs in rules.columns.items():
        if theirs is None:
            if ours in REQUIRED:
                raise InputError(f"{rules.place}.columns.{ours}: null, but every table needs it.")
        elif ours == "speaker" and theirs == UNKNOWN and UNKNOWN not in table.columns:
            found[ours] = pd.Series(UNKNOWN, index=table.index, dtype=str)
        elif theirs not in table.columns:
            raise unknown(f"{rules.place}.columns.{ours}: {path}", theirs, map(str, table.columns))
        else:
            found[ours] = table[theirs]
    for ours in REQUIRED + OPTIONAL:
        if ours in found or ours in rules.columns:
            continue
        if ours in table.columns:
            found[ours] = table[ours]
        elif ours in REQUIRED:
            names = ", ".join(map(str, table.columns))
            raise InputError(
                f"{path}: has no column '{ours}'. Name its {ours} in {rules.place}.columns; it has {names}."
            )
    empty = {ours: pd.Series("", index=table.index, dtype=str) for ours in REQUIRED + OPTIONAL}
    # One form of letters: macOS and Windows compose them differently, and a speaker would be two.
    cells = {ours: column.str.strip().str.normalize("NFC") for ours, column in {**empty, **found}.items()}
    named = {"label": rules.labels, "partition": rules.partitions}  # whose words the block may map
    for ours in set(cells) - {"path", "clip"}:
        empty_words = [word for word in MISSING if word not in named.get(ours, ())]
        unseen = [cell for cell in cells[ours].unique() if not _INVISIBLE.sub("", cell).strip()]
        cells[ours] = cells[ours].replace(empty_words + unseen, "")
    return pd.DataFrame(cells)


def _each(rows: pd.DataFrame, column: str, path: Path, convert: Callable[[str], str]) -> None:
    """Replaces each cell of a column by what `convert` returns; an error names row and value."""
    known: dict[str, str] = {}
    for cell in rows[column].unique():
        try:
            known[cell] = convert(cell)
        except ValueError as error:
            row = rows.loc[rows[column] == cell, "row"].iloc[0]
            raise InputError(f"{path}: row {row}, {column} {shown(cell)}: {error}.") from error
    rows[column] = rows[column].map(known)


def _one_spelling(rows: pd.DataFrame, column: str, path: Path, otherwise: str) -> None:
    """Checks that no two names in a column differ in nothing but how they are typed.

    Args:
        otherwise: what to do where one spelling is not the way out.
    """
    named = rows.loc[rows[column] != "", [column, "row"]].drop_duplicates(column)
    folded = named[column].map(_folded)
    alike = named[folded.duplicated(keep=False)].groupby(folded, sort=False)
    if len(alike):
        spellings = [
            " and ".join(f"{shown(name)} in row {row}" for name, row in own.to_numpy()) for _, own in alike
        ]
        raise InputError(
            f"{path}: {column} {first_of(spellings)}: these {_ALIKE} and would count as "
            f"two. Use one spelling, {otherwise}."
        )


def _folded(name: str) -> str:
    """Returns a name without what people and programs that write it twice do differently.

    Letters are compared by Unicode's NFKC_Casefold, which ignores case, width and invisible characters.

    >>> _folded("Anna  Köhler") == _folded("anna\\u200b köhler")
    True
    >>> _folded("001"), _folded("1.0"), _folded("s01")
    ('1', '1', 's01')
    """
    if not name.isascii():
        name = _INVISIBLE.sub("", unicodedata.normalize("NFKC", name))
    folded = " ".join(unicodedata.normalize("NFKC", name.casefold()).split())
    number = _WHOLE_NUMBER.fullmatch(folded)
    return str(int(number[1])) if number else folded


def one_of_each(sentences: pd.Series) -> pd.Series:
    """Returns the sentences, those of the same words in one spelling, whatever the order of the rows.

    Else a split by sentence could train and test on the same words. They are not refused as names are:
    transcripts of free speech have "Yes." and "yes".
    """
    each = pd.Series(sentences.dropna().unique(), dtype=str)
    spelling = each.groupby(each.map(_words)).transform("min")
    return sentences.map(dict(zip(each, spelling, strict=True)))


def _words(text: str) -> str:
    """Returns a text without case, spaces and punctuation; one without letters keeps its punctuation.

    >>> _words("It’s eleven o'clock.") == _words("it's  eleven O’CLOCK")
    True
    >>> _words("s_01"), _words("?"), _words("-1")
    ('s 01', '?', '-1')
    """
    folded = _folded(text)
    if not any(map(str.isalpha, folded)):
        return folded  # a code, such as -1

    def spaced(found: re.Match[str]) -> str:
        return " " if unicodedata.category(found[0]).startswith("P") else found[0]

    return " ".join(_MAYBE_PUNCTUATION.sub(spaced, folded).split()) or folded


def _clean_path(cell: str) -> str:
    """Returns a path with forward slashes.

    >>> _clean_path("calls\\\\a b.wav")
    'calls/a b.wav'
    """
    name = cell.replace("\\", "/")
    if not name:
        raise ValueError("a row needs the path of its recording")
    if name.startswith("/") or re.match(r"[A-Za-z]:|[a-z]+://", name):
        raise ValueError("an absolute path; write it relative to the table's folder")
    if ".." in PurePosixPath(name).parts:
        raise ValueError("'..' leads out of the folder")
    return PurePosixPath(_text(name)).as_posix()


def _text(cell: str) -> str:
    if not is_text(cell):
        raise ValueError("has characters that are not text")
    return cell


def _sex(cell: str) -> str:
    if cell.lower() not in SEXES:
        raise ValueError(
            f"no sex; choose from {', '.join(name for name in SEXES if SEXES[name])}, or leave it empty"
        )
    return SEXES[cell.lower()]


def _channel(cell: str) -> str:
    if cell not in CHANNELS:
        raise ValueError(f"no channel; choose from {', '.join(CHANNELS)}")
    return cell


def _number(column: str, whole: bool) -> Callable[[str], str]:
    def convert(cell: str) -> str:
        if cell.lower() in ("", "nan", "none"):
            return ""
        value = float(cell) if re.fullmatch(r"\d+(\.\d*)?(e[+-]?\d+)?|\.\d+", cell.lower()) else -1.0
        if not 0 <= value < 1e9 or (whole and value != int(value)) or (column == "repetition" and value < 1):
            comma = "; write a decimal point" if re.fullmatch(r"\d+,\d+", cell) else ""
            raise ValueError(f"not a {'whole ' if whole else ''}number of 0 or more{comma}")
        return str(int(value)) if whole else repr(value)

    return convert


def _label(rows: pd.DataFrame, path: Path, rules: Rules) -> None:
    """Maps the labels; an empty or left out one is a problem."""
    cells = rows["label"]
    if strange := sorted(set(rules.labels) - set(cells)):
        raise unknown(f"{rules.place}.labels: {path}", strange[0], sorted(set(cells) - {""}))
    _blame(rows, cells == "", "no label")
    left_out = cells.isin([label for label, mapped in rules.labels.items() if mapped is None])
    _blame(rows, left_out, f"{LEFT_OUT}: " + cells)

    def convert(cell: str) -> str:
        label = rules.labels.get(cell, cell) or ""
        if label and not re.match(LABEL, label):
            raise ValueError("no label: 1 to 40 characters of one line, without '+'")
        return _canonical(label)

    _each(rows, "label", path, convert)
    _one_spelling(rows, "label", path, f"or map one to the other in {rules.place}.labels")
    _alike(rows.assign(cell=cells), path, rules)


def _alike(rows: pd.DataFrame, path: Path, rules: Rules) -> None:
    """Checks that no label without an entry in the block would be a second class of the same meaning."""
    mapped = {_folded(cell): cell for cell in rules.labels}
    labels = set(rows["label"])
    others = rows[(rows["label"] != "") & ~rows["cell"].isin(rules.labels)].drop_duplicates("cell")
    meanings: dict[str, str] = {}  # the first label of each
    for cell, label, row in others[["cell", "label", "row"]].to_numpy():
        alike, meant = mapped.get(_folded(cell)), SPELLINGS.get(_folded(cell))
        first = meanings.setdefault(meant, label) if meant else label
        if alike is not None and label != _canonical(rules.labels[alike] or ""):
            other = f"it and {shown(alike)}, which has an entry, {_ALIKE}"
        elif meant in labels - {label} or first != label:
            same = meant if first == label else first
            other = f"other rows have the label {shown(same)}, which usually means the same"
        else:
            continue
        raise InputError(
            f"{path}: row {row}, label {shown(cell)}: {other}. Map it in {rules.place}.labels: to the "
            "same, or to itself to keep it apart."
        )


def _canonical(label: str) -> str:
    """Returns an emotion of ours in its own spelling, and any other label as it is.

    >>> _canonical("Anger"), _canonical("Awe")
    ('anger', 'Awe')
    """
    return folded if (folded := _folded(label)) in EMOTIONS else label


def _votes(cell: str, labels: Mapping[str, str | None]) -> str:
    """Returns the listeners' majority vote under our labels, tied ones joined by "+".

    >>> _votes("Anger+ joy", {"joy": "Happiness"})
    'anger+happiness'
    """
    parts = filter(None, map(str.strip, cell.split("+")))
    return "+".join(sorted({_canonical(labels.get(part) or part) for part in parts}))


def _partition(rows: pd.DataFrame, path: Path, rules: Rules) -> None:
    """Names the role in each fold, as "train test"; a partition that is left out has the role "-"."""
    given = {cell: role or "-" for cell, role in rules.partitions.items()}

    def convert(cell: str) -> str:
        if cell in given:
            return given[cell]
        words = [given.get(word, PARTITIONS.get(word.lower(), "")) for word in cell.split()]
        if "" in words:
            raise ValueError(
                f"no partition; choose train, validation or test, or map it in {rules.place}.partitions"
            )
        return " ".join(words)

    _each(rows, "partition", path, convert)


def _sexes(rows: pd.DataFrame, path: Path) -> None:
    """Gives each speaker one sex, also where only some of the rows have it."""
    known = rows[(rows["sex"] != "") & ~rows["speaker"].isin(["", UNKNOWN])]
    first = known.groupby("speaker")[["sex", "row"]].first()
    at_odds = known[known["sex"] != known["speaker"].map(first["sex"])]
    if len(at_odds):
        other = at_odds.iloc[0]
        raise InputError(
            f"{path}: row {other['row']}: speaker '{other['speaker']}' is {other['sex']}, but "
            f"{first.loc[other['speaker'], 'sex']} in row {first.loc[other['speaker'], 'row']}."
        )
    of_speaker = rows["speaker"].map(first["sex"].to_dict())
    rows["sex"] = rows["sex"].where(of_speaker.isna(), of_speaker)


def _blame(rows: pd.DataFrame, mask: pd.Series, reason: pd.Series | str) -> None:
    """Notes the reason, with the row's number, for rows that have no problem yet.

    What comes before the first colon is counted as one reason.
    """
    reasons = pd.Series(reason, index=rows.index)
    joint = reasons.str.contains(":").map({True: ", ", False: ": "})
    problem = reasons + joint + "row " + rows["row"].astype(str)
    new = mask & (rows["problem"] == "")
    rows.loc[new, "problem"] = problem[new]


def _remedy(table: pd.DataFrame, rules: Rules) -> str:
    """Returns what to do about rows of one recording: they may be segments whose columns are not named."""
    ours = {ours: rules.columns.get(ours, ours) for ours in REQUIRED + OPTIONAL}
    if {ours["start"], ours["end"]} & set(table.columns):
        return "Keep one"
    unused = [str(column) for column in table.columns if column not in ours.values()]
    return (
        f"Keep one; or, if they are segments, name the columns of start and end in {rules.place}.columns; "
        f"not used so far: {listed(unused) or 'none'}"
    )


def _segments(rows: pd.DataFrame, path: Path, remedy: str) -> None:
    """Checks that no recording is listed twice, and excludes segments that are empty or overlap another.

    Args:
        remedy: what to do about a recording that is listed twice.
    """
    key = rows["path"].str.normalize("NFC")
    repeated = rows.assign(path=key).duplicated(["path", "start", "end"], keep=False)
    if repeated.any():
        first = rows[repeated].iloc[0]
        same = rows[repeated & (key == key[repeated].iloc[0])]
        both = " and ".join(map(str, same["row"].head(2)))
        raise InputError(
            f"{path}: rows {both} are both of {shown(first['path'])}; {repeated.sum()} rows share a "
            f"recording with another row. {remedy}."
        )
    start = rows["start"].replace("", "0").astype(float)
    end = rows["end"].replace("", "inf").astype(float)
    _blame(rows, start >= end, "empty segment: " + rows["start"] + " to " + rows["end"] + " s")
    for _, own in rows[key.duplicated(keep=False) & (rows["problem"] == "")].groupby(key):
        last, reached = None, 0.0
        for index in start[own.index].sort_values(kind="stable").index:
            if last is not None and start[index] < reached:
                other = f"row {rows.loc[last, 'row']} ends at {reached:g} s"
                reason = f"overlap: from {start[index]:g} s, while {other}"
                rows.loc[index, "problem"] = f"{reason}, row {rows.loc[index, 'row']}"
                continue
            last, reached = index, end[index]


def _clips(rows: pd.DataFrame, path: Path) -> None:
    """Names each clip: by its own column, else by its path and segment."""
    rows["place"] = [_place(*part) for part in rows[["path", "start", "end"]].to_numpy()]
    rows["clip"] = rows["clip"].where(rows["clip"] != "", rows["place"])
    copies = rows[rows["clip"].str.contains(r"#\d+$")]
    repeated = rows[rows["clip"].duplicated()]
    for fault, those in {"ends like an augmented copy's": copies, "is listed twice": repeated}.items():
        if len(those):
            row = those.iloc[0]
            raise InputError(f"{path}: row {row['row']}, clip {shown(row['clip'])}: the name {fault}.")


def _place(path: str, start: str, end: str) -> str:
    """Returns the name in data/raw of a recording or segment.

    >>> _place("a.wav", "", ""), _place("a.wav", "1.5", "")
    ('a.wav', 'a.wav.1.500000-end.wav')
    """
    return f"{path}.{float(start or 0):.6f}-{end or 'end'}.wav" if start or end else path
