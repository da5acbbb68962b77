"""Self-contained HTML pages, and Markdown."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

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
    """Returns the page; a missing name is an error. In HTML every value is escaped, in Markdown by `cell`."""
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        undefined=StrictUndefined,
        autoescape=select_autoescape(["html", "html.j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = escaped
    return environment.get_template(template.name).render(content)


def escaped(value: object) -> str:
    """Returns a value as Markdown that shows its text and does nothing else: no HTML, no link, no mention.

    Examples:
        >>> print(escaped("a|b <i> @name `x`"))
        a\\|b &lt;i&gt; @&#8203;name \\`x\\`
        >>> escaped("speaker_independent")
        'speaker_independent'
    """
    plain = html.escape(str(value), quote=False)
    plain = re.sub(r"([\\`*\[\]|~$]|(?<!\w)_|_(?!\w))", r"\\\1", plain)
    return re.sub(r"[@#](?=\w)", r"\g<0>&#8203;", plain)  # a zero-width space: neither a user nor an issue
