"""Any corpus whose block in params.yaml names a table: no Python to write. See docs/own_data.md."""

from __future__ import annotations

import io
import unicodedata
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pandas as pd
import soundfile
from pydantic import Field, field_validator

from stages.acquire import segments, sources, table
from stages.acquire.source_file import SourceFile, is_hidden
from stages.audio.recording import SUFFIXES
from stages.base import registry
from stages.base.errors import InputError, shown
from stages.base.files import SOURCES
from stages.base.params import Block
from stages.data.vocabulary import Corpus

ROWS = "rows.csv"  # the table in one form, beside the recordings in data/raw
FACTS = ("sex", "age", "language", "intensity", "channel", "repetition", "listeners", "partition")
NAMED = ("clip", "speaker", "sentence", "session", "group")  # "<corpus>/<name>" in the manifest


class Config(Block):
    """A block that names a table. All keys but `table` may be left out.

    Attributes:
        table: below data/sources: csv, tsv, parquet, jsonl, audformat's db.yaml, a folder of EmoBox's folds.
        root: the folder that paths are relative to; the table's own without it.
        name: of the table in an audformat database.
        columns: the table's name of each of our columns; a column that has our name needs no entry, and
            null ignores it.
        labels: label by the table's label; null leaves its rows out; others stay as they are.
        partitions: role by the table's partition; null leaves its rows out of the folds.
        language: of all its rows, where the table has no such column.
        parser: the entry in stages/corpora whose file names say what the table does not.
    """

    table: str
    root: str | None = None
    name: str | None = None
    columns: dict[str, str | None] = Field(default_factory=dict)
    labels: dict[str | int, str | None] = Field(default_factory=dict)
    partitions: dict[str | int, Literal["train", "validation", "test"] | None] = Field(default_factory=dict)
    parser: str | None = None
    title: str = ""
    licence: str = "not stated"
    citation: str = ""
    url: str = ""
    language: str = ""

    @field_validator("url")
    @classmethod
    def _of_the_web(cls, url: str) -> str:
        if url and not url.startswith(("http://", "https://")):  # the report links to it
            raise ValueError("must begin with http:// or https://")
        return url

    @field_validator("table", "root")
    @classmethod
    def _in_sources(cls, path: str | None) -> str | None:
        parts = PurePosixPath(path).parts if path is not None else SOURCES.parts
        if parts[:2] != SOURCES.parts or ".." in parts:
            raise ValueError(f"'{path}' is not below {SOURCES}, which DVC tracks")
        return path

    @field_validator("columns")
    @classmethod
    def _ours(cls, columns: dict[str, str | None]) -> dict[str, str | None]:
        columns = {("sentence" if ours == "text" else ours): theirs for ours, theirs in columns.items()}
        for ours in columns:
            if ours not in table.REQUIRED + table.OPTIONAL:
                known = ", ".join(sorted(table.REQUIRED + table.OPTIONAL))
                raise ValueError(f"no column '{ours}'; choose from {known}")
        return columns

    @field_validator("labels")
    @classmethod
    def _not_empty(cls, labels: dict[str | int, str | None]) -> dict[str | int, str | None]:
        for label, mapped in labels.items():
            if mapped is not None and not mapped.strip():
                raise ValueError(
                    f"{shown(label)} is mapped to an empty text; write null to leave its rows out"
                )
        return labels


class TableCorpus:
    """A corpus described by a table; to the stages it is what a file in stages/corpora is."""

    def __init__(self, name: str, config: Config) -> None:
        self.name, self.config = name, config
        self.ABOUT = Corpus(
            title=config.title or name,
            licence=config.licence,
            citation=config.citation,
            url=config.url,
            n_clips=0,
            n_speakers=0,
            emotions=(),
            name_pattern="as in the table",
            access=f"Put {config.table} and its recordings there.",
            language=config.language,
        )

    @property
    def root(self) -> Path:
        """The folder that the table's paths are relative to."""
        path = Path(self.config.table)
        return Path(self.config.root) if self.config.root else path if path.is_dir() else path.parent

    def rows(self) -> pd.DataFrame:
        """Returns the table in one form; see `acquire.table.normalise`.

        Raises:
            InputError: names the table, the row and the value.
        """
        path = Path(self.config.table)
        sources.check_folders([path])
        sources.check_kind(path)
        rules = table.Rules(
            place=f"params.corpora.{self.name}",
            columns=self.config.columns,
            labels={_composed(label): mapped for label, mapped in self.config.labels.items()},
            partitions={_composed(label): role for label, role in self.config.partitions.items()},
        )
        read = table.read(path, self.config.name)
        if self.config.parser:
            read = self._parsed(read, rules)
        rows = table.normalise(read, path, rules)
        rows["language"] = rows["language"].where(rows["language"] != "", self.config.language)
        return rows

    def sources(self) -> list[SourceFile]:
        """Returns the listed recordings, segments cut out, and the rows as ROWS.

        Raises:
            InputError: as `rows`; or no recording is there.
        """
        rows = self.rows()
        found, files = [], []
        for index, row in rows[rows["problem"] == ""].sort_values("path", kind="stable").iterrows():
            file = self._found(row["path"])
            if file is None:
                rows.loc[index, "problem"] = f"missing: {row['path']} is not in {self.root}, row {row['row']}"
                continue
            try:
                found.append(self._source(row, file))
                files.append(file)
            except ValueError as error:
                rows.loc[index, "problem"] = f"{error}, row {row['row']}"
            except soundfile.LibsndfileError as error:
                reason = f"no segment: libsndfile cannot read {row['path']} ({error.error_string})"
                rows.loc[index, "problem"] = f"{reason}, row {row['row']}"
        if not found:
            # What the block leaves out on purpose explains it only if nothing else is wrong.
            faults = rows.loc[~rows["problem"].str.startswith(table.LEFT_OUT), "problem"]
            problems = faults if len(faults) else rows["problem"]
            kinds = problems.str.split(":").str[0]
            counts = kinds.value_counts()
            raise InputError(
                f"{self.config.table}: none of its {len(rows)} rows is usable; the most frequent reason "
                f"({counts.iloc[0]} rows): {problems[kinds == counts.index[0]].iloc[0]}."
            )
        sources.check_folders(files)
        sources.check_clashes(found)
        content = rows.sort_values("place").to_csv(index=False).encode()
        return [*found, SourceFile(PurePosixPath(ROWS), Path(ROWS), len(content), partial(list, [content]))]

    def unlisted(self) -> list[Path]:
        """Returns the recordings below `root` that no row names, sorted, without hidden files."""
        listed = set(self.rows()["path"].str.normalize("NFC"))
        every = [path for path in sorted(self.root.rglob("*")) if not is_hidden(path.relative_to(self.root))]
        found = [path for path in every if path.suffix.lower() in SUFFIXES and path.is_file()]
        names = (unicodedata.normalize("NFC", path.relative_to(self.root).as_posix()) for path in found)
        return [path for path, name in zip(found, names, strict=True) if name not in listed]

    def missing(self) -> list[str]:
        """Returns the paths, as the table has them, of the recordings of usable rows that are not there."""
        rows = self.rows()
        paths = rows.loc[rows["problem"] == "", "path"].drop_duplicates()
        return [path for path in paths if self._found(path) is None]

    def listed(self, folder: Path) -> dict[Path, Any]:
        """Returns the columns of the manifest that the table gives, by the recording's path in `folder`."""
        content = (folder / ROWS).read_bytes()
        rows = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
        said = self._said(rows)[[*FACTS, *NAMED, "emotion", "problem"]]
        said = said.astype({"age": "Int64", "repetition": "Int64"}).assign(preferred=True, authentic=True)
        return dict(zip([folder / place for place in rows["place"]], said.to_dict("records"), strict=True))

    def names(self) -> pd.DataFrame:
        """Returns the columns of the manifest that the table alone decides, without reading a recording."""
        return self._said(self.rows())

    def _said(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Returns the rows with the manifest's names of columns and values."""
        said = rows.assign(emotion=rows["label"])
        for column in NAMED:
            said[column] = (self.name + "/" + rows[column]).where(rows[column] != "")
        return said.replace("", None).assign(problem=rows["problem"])

    def _source(self, row: pd.Series, file: Path) -> SourceFile:
        sources.check_kind(file)
        place = PurePosixPath(row["place"])
        if row["start"] or row["end"]:
            return segments.cut(file, place, float(row["start"] or 0), float(row["end"] or "inf"))
        return SourceFile.on_disk(file, place)

    def _found(self, name: str) -> Path | None:
        """Returns the recording, whatever way its letters are composed on the disk; None if it is missing."""
        for form in (name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)):
            if (self.root / form).is_file():
                return self.root / form
        return None

    def _parsed(self, read: pd.DataFrame, rules: table.Rules) -> pd.DataFrame:
        """Returns the table with what the file names say, as a corpus's own file reads them."""
        parser = str(self.config.parser)
        place = f"{rules.place}.parser"
        registry.check("corpora", parser, place)  # load takes _table too
        parse = registry.load("corpora", parser, place).parse
        parsed = [parse(PurePosixPath(path)) for path in read[rules.columns.get("path") or "path"]]
        for column in ("clip", "speaker", "sex", "sentence", "intensity", "repetition"):
            if column not in rules.columns and column not in read.columns:
                said = [getattr(name, column, None) for name in parsed]
                read = read.assign(**{column: ["" if cell is None else str(cell) for cell in said]})
        return read


def _composed(word: str | int) -> str:
    """Returns a word as the table's cells are compared with it."""
    return unicodedata.normalize("NFC", str(word))


bind = TableCorpus  # of a block's name and Config: see `Params.corpus_of`
