"""The look of all figures, and how they are saved: with the same bytes on every machine.

For letters that DejaVu Sans lacks, such as Japanese, they use another font of the machine, if there is one.

Colours are those of Okabe & Ito 2008, "Color Universal Design", which colour-blind people can distinguish;
markers and hatches do the same in greyscale. Sizes are chosen to be readable on a phone, where a figure is
about 90 mm wide.
"""

from __future__ import annotations

import base64
import logging
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from io import BytesIO
from types import MappingProxyType
from typing import Any, Literal

import matplotlib.style
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, ORANGE, VERMILION = "#0072B2", "#E69F00", "#D55E00"
INK, GREY, PALE = "#1a1a1a", "#595959", "#d9d9d9"
WIDTH_IN = 4.8
PNG_DPI = 160
CSS_DPI = 96  # a CSS pixel is 1/96 inch

FONT = "DejaVu Sans"  # comes with matplotlib
# For what it lacks: fonts of Linux, macOS and Windows.
OTHER_FONTS = (
    *(
        "Noto Sans CJK JP",
        "Hiragino Sans",
        "PingFang SC",
        "Apple SD Gothic Neo",
        "Yu Gothic",
        "Microsoft YaHei",
    ),
    *("Malgun Gothic", "Noto Sans Bengali", "Noto Sans Devanagari", "Nirmala UI", "Arial Unicode MS"),
)

logger = logging.getLogger(__name__)


def fonts() -> list[str]:
    """Returns FONT and those of OTHER_FONTS that this machine has."""
    here = set(font_manager.get_font_names())
    return [FONT, *(name for name in OTHER_FONTS if name in here)]


_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "figure.titlesize": 11,
    "figure.titleweight": "bold",
    "font.family": fonts(),
    "font.size": 10,
    "grid.color": PALE,
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.8,
    "image.cmap": "Blues",
    "legend.fontsize": 9,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "speech-emotion-pipeline",  # without it, ids in an SVG are random
    "text.parse_math": False,  # a speaker may be called `cost_$5`
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}

# A decorator or context that applies this style, whatever the user's matplotlibrc says.
styled = matplotlib.style.context(["default", _STYLE])


@dataclass(frozen=True)
class Picture:
    """A figure as bytes, with what a page needs to show it.

    Attributes:
        name: of its file, without the suffix.
        title: above the figure.
        alt: alternative text, for screen readers.
        suffix: the format.
        content: the file's bytes.
        width_px, height_px: its size on a page, in CSS pixels.
        hinted: whether parts of it show a hint when the mouse is over them.
    """

    name: str
    title: str
    alt: str
    suffix: Literal["svg", "png"]
    content: bytes
    width_px: int
    height_px: int
    hinted: bool = False

    @property
    def uri(self) -> str:
        """The picture as a `data:` URL."""
        media_type = {"svg": "image/svg+xml", "png": "image/png"}[self.suffix]
        return f"data:{media_type};base64,{base64.b64encode(self.content).decode()}"

    @property
    def inline(self) -> str:
        """The svg element, for a page that shows hints: browsers show none of an image's.

        Its ids begin with its name, because those of matplotlib are the same in all figures.
        """
        text = self.content.decode()
        return re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{self.name}-", text[text.index("<svg") :])


def canvas(height_in: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    """Returns an empty figure of the common width, and its axes, row by row.

    Args:
        options: of matplotlib.figure.Figure.subplots.
    """
    figure = Figure(figsize=(WIDTH_IN, height_in))
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, list(axes.flat)


def picture(
    figure: Figure,
    name: str,
    title: str,
    alt: str,
    suffix: Literal["svg", "png"] = "svg",
    hints: Mapping[str, str] = MappingProxyType({}),
) -> Picture:
    """Returns the figure with its title. The bytes contain no date and no random id.

    Args:
        suffix: svg for lines and text, png for images.
        hints: of an svg, what is shown when the mouse is over an artist, by its `gid`.
    """
    figure.suptitle(title, x=0.01, ha="left")
    width_px, height_px = (round(inches * CSS_DPI) for inches in figure.get_size_inches())
    buffer = BytesIO()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if suffix == "svg":
            figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        else:
            figure.savefig(buffer, format="png", dpi=PNG_DPI, metadata={"Software": None})
    missing = [re.match(r"Glyph (\d+) .*missing", str(each.message)) for each in caught]
    for each, glyph in zip(caught, missing, strict=True):
        if glyph is None:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    if any(missing):
        _warn_of_letters()
    content = buffer.getvalue()
    for gid, hint in hints.items():
        group = f'<g id="{gid}">'
        content = content.replace(group.encode(), f"{group}<title>{escape(hint)}</title>".encode())
    return Picture(name, title, alt, suffix, content, width_px, height_px, bool(hints))


@cache
def _warn_of_letters() -> None:
    """Says once that figures show boxes in place of letters."""
    logger.warning(
        "figures: the fonts of this machine lack letters of the labels, which are drawn as boxes; install "
        "Noto Sans of their script"
    )


def level(axes: Axes, value: float, label: str, dashes: str = "--") -> None:
    """Draws a horizontal line across the axes with its name at the right end."""
    axes.axhline(value, color=INK, linestyle=dashes, linewidth=1)
    axes.annotate(
        label,
        (1, value),
        xycoords=("axes fraction", "data"),
        xytext=(0, 2),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=9,
        color=INK,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
    )
