"""The matrix of cells, training corpora by test corpora, as a table in Markdown and as a figure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from benchmark.cross_corpus.cells import Cell
from stages.reporting.figures.style import INK, WIDTH_IN, Picture, canvas, picture, styled

TITLE = "UAR on a corpus that the model was not trained on"
OTHERS = "all others"
STATISTICS = {"global": "of all training clips", "speaker": "of each speaker", "corpus": "of each corpus"}


def tests(found: Sequence[Cell]) -> list[str]:
    """Returns the test corpora, in the order of the cells."""
    return list(dict.fromkeys(cell.test for cell in found))


def normalizations(found: Sequence[Cell]) -> list[str]:
    return list(dict.fromkeys(cell.normalize for cell in found))


def rows(found: Sequence[Cell], normalize: str) -> dict[str, list[Cell]]:
    """Returns the cells of each row of the matrix, by test corpus; on the diagonal, new speakers.

    The last row, of two or more training corpora, is OTHERS.
    """
    corpora = tests(found)
    at = {
        (OTHERS if "+" in cell.train else cell.train, cell.test): cell
        for cell in found
        if cell.normalize == normalize and cell.protocol != "random"
    }
    trained = [*corpora, OTHERS] if any(train == OTHERS for train, _ in at) else corpora
    return {train: [at[train, test] for test in corpora] for train in trained}


def random(found: Sequence[Cell], normalize: str) -> list[Cell]:
    """Returns each corpus's cell of random clips, which leaks, by test corpus."""
    at = {cell.test: cell for cell in found if cell.protocol == "random" and cell.normalize == normalize}
    return [at[test] for test in tests(found)]


def markdown(found: Sequence[Cell]) -> str:
    """Returns one table per normalisation: UAR in % with its interval, and chance."""
    return "\n\n".join(_table(found, normalize) for normalize in normalizations(found))


def _table(found: Sequence[Cell], normalize: str) -> str:
    corpora = tests(found)
    lines = [
        f"`train.normalize: {normalize}`, statistics {STATISTICS.get(normalize, '')}:",
        "",
        f"| trained on | {' | '.join(f'tested on {corpus}' for corpus in corpora)} |",
        f"|---|{'---|' * len(corpora)}",
    ]
    for train, cells in rows(found, normalize).items():
        lines.append(f"| {train} | {' | '.join(map(_text, cells))} |")
    of_itself = " | ".join(map(_text, random(found, normalize)))
    lines.append(f"| the test corpus, random clips (leaks) | {of_itself} |")
    return "\n".join(lines)


def _text(cell: Cell) -> str:
    text = f"**{cell.text}**" if cell.train == cell.test and cell.protocol != "random" else cell.text
    return f"{text}, chance {100 * cell.chance:.0f}"


@styled
def draw(found: Sequence[Cell]) -> Picture:
    """Returns a figure with one matrix per normalisation, coloured by how far UAR is from chance to 1."""
    panels, corpora = normalizations(found), tests(found)
    height = 0.9 + len(panels) * (0.7 + 0.62 * (len(corpora) + 2))
    figure, axes = canvas(height, rows=len(panels))
    figure.set_size_inches(max(WIDTH_IN, 1.6 + 1.35 * len(corpora)), height)
    for own, normalize in zip(axes, panels, strict=True):
        _panel(own, found, normalize)
    summaries = [
        f"{cell.train} to {cell.test}, {cell.protocol}, {cell.normalize}: {cell.text}" for cell in found
    ]
    return picture(figure, "matrix", TITLE, f"{TITLE}, in %. {'; '.join(summaries)}.", "png")


def _panel(axes: Axes, found: Sequence[Cell], normalize: str) -> None:
    table = rows(found, normalize) | {"itself, random\n(leaks)": random(found, normalize)}
    gain = np.array([[cell.gain for cell in line] for line in table.values()])
    axes.imshow(gain, vmin=0, vmax=1, aspect="auto")
    for i, (train, cells) in enumerate(table.items()):
        for j, cell in enumerate(cells):
            same = train == cell.test
            color = "white" if gain[i, j] > 0.6 else INK
            label = f"{100 * cell.uar:.0f}\n{cell.text.partition(' ')[2]} / {100 * cell.chance:.0f}"
            weight = "bold" if same else "normal"
            axes.annotate(label, (j, i), ha="center", va="center", color=color, fontsize=8, weight=weight)
    axes.set_xticks(range(len(tests(found))), [f"to {corpus}" for corpus in tests(found)])
    axes.set_yticks(range(len(table)), list(table))
    axes.tick_params(length=0)
    axes.set_title(f"standardised by statistics {STATISTICS.get(normalize, normalize)}", fontsize=9)
