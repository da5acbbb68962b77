"""A self-contained HTML page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Table:
    """A table of text. The first column names the rows.

    Attributes:
        caption: shown above.
        header: of each column.
        rows: each with as many cells as the header.
    """

    caption: str
    header: list[str]
    rows: list[list[str]]


def table(frame: pd.DataFrame, caption: str) -> Table:
    """Returns a frame as text, its index as the first column."""
    header = [str(frame.index.name), *map(str, frame.columns)]
    return Table(caption, header, [list(map(str, row)) for row in frame.itertuples()])


def render(template: Path, **content: Any) -> str:
    """Returns the page, with every value escaped. A missing name is an error."""
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template.name).render(content)
