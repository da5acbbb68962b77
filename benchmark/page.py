"""docs/benchmark.md: the table and what one learns from it, every number out of benchmark/results.csv."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmark.overlay import System
from benchmark.rows import RAN

TEMPLATE = Path("benchmark/page.md.j2")
NOTHING = "–"


@dataclass(frozen=True)
class Row:
    """One row of benchmark/results.csv.

    Attributes:
        values: its columns, as text.
    """

    values: Mapping[str, str]

    @property
    def ran(self) -> bool:
        return self.text("status") == RAN

    def text(self, column: str) -> str:
        return self.values[column]

    def number(self, column: str) -> float:
        return float(self.values[column])

    def percent(self, column: str) -> float:
        return 100 * self.number(column)

    def score(self, column: str) -> str:
        """Returns `39.1 [34, 44]`, `39.1` where there is no interval, or a dash."""
        if not self.text(column):
            return NOTHING
        ends = ""
        if self.values.get(f"{column}_low"):
            ends = f" [{self.percent(f'{column}_low'):.0f}, {self.percent(f'{column}_high'):.0f}]"
        return f"{self.percent(column):.1f}{ends}"

    def plain(self, column: str) -> str:
        """Returns the column as text, with a dash for nothing and thousands apart."""
        value = self.text(column)
        if not value:
            return NOTHING
        try:
            number = float(value)
        except ValueError:
            return value
        return f"{number:,.0f}" if number >= 1000 else f"{number:.3g}"

    @property
    def folds(self) -> str:
        """`all 6` or `1 of 10`."""
        n, of = self.text("n_folds"), self.text("of_folds")
        return f"all {n}" if n == of and n != "1" else n if n == of else f"{n} of {of}"


@dataclass(frozen=True)
class Entry:
    """A system with the rows that stand for it.

    Attributes:
        name: of the system.
        system: its file.
        rows: by variant, the row by the report's protocol and the speaker-independent one.
    """

    name: str
    system: System
    rows: dict[str, dict[str, Row]]

    @property
    def variant(self) -> str:
        """The variant that stands for the system: the report's own if it could be run, else a stand-in."""
        candidates = [
            name
            for name, variant in self.system.variants.items()
            if variant.role != "further" and name in self.rows
        ]
        ran = [name for name in candidates if all(row.ran for row in self.rows[name].values())]
        return (ran or candidates)[0]

    @property
    def heard(self) -> Row:
        return self.rows[self.variant]["as_reported"]

    @property
    def unheard(self) -> Row:
        return self.rows[self.variant]["speaker_independent"]

    @property
    def corpus(self) -> str:
        """What the rows that stand for the system are of."""
        return self.system.variants[self.variant].about

    @property
    def stands_in(self) -> bool:
        return self.system.variants[self.variant].role == "stand_in"

    @property
    def reported(self) -> float | None:
        """Accuracy as published, in %."""
        accuracy = self.system.report.accuracy
        return None if accuracy is None else 100 * accuracy

    @property
    def report(self) -> str:
        """The letter of the report that it is of."""
        return self.name[0]

    @property
    def ran(self) -> bool:
        return self.heard.ran and self.unheard.ran

    @property
    def by_report(self) -> float:
        """Accuracy here by the report's split, in %."""
        return self.heard.percent("accuracy")

    @property
    def by_new_speakers(self) -> float:
        """Accuracy here with new speakers, in %."""
        return self.unheard.percent("accuracy")

    @property
    def leak(self) -> float:
        """How many points of accuracy go when speakers are new."""
        return self.by_report - self.by_new_speakers

    def told(self) -> str:
        """Returns the accuracies in a sentence."""
        reported = "not reported" if self.reported is None else f"reported {self.reported:.1f}"
        if not self.ran:
            return f"{reported}, {self.heard.text('status')}"
        heard, unheard = f"{self.by_report:.1f}", f"{self.by_new_speakers:.1f}"
        return f"{reported}, by its own split {heard}, with new speakers {unheard} %"

    def pairs(self) -> Iterator[tuple[str, Row]]:
        """Yields each variant with each of its rows."""
        for variant, rows in self.rows.items():
            for row in rows.values():
                yield variant, row


def entries(found: Sequence[Mapping[str, str]], systems: Mapping[str, System]) -> list[Entry]:
    """Returns the systems that have rows, by name."""
    by_system: dict[str, dict[str, dict[str, Row]]] = {}
    for row in found:
        variants = by_system.setdefault(row["system"], {})
        variants.setdefault(row["variant"], {})[row["protocol"]] = Row(row)
    return [Entry(name, systems[name], by_system[name]) for name in sorted(by_system)]


def render(of: Sequence[Entry]) -> str:
    """Returns the page as Markdown."""
    environment = Environment(  # noqa: S701, Markdown: nothing to escape
        loader=FileSystemLoader(TEMPLATE.parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    template = environment.get_template(TEMPLATE.name)
    return template.render(entries=of, by_name={entry.name: entry for entry in of})
