"""docs/benchmark.md: the table and what one learns from it, every number out of benchmark/results.csv."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmark import overlay
from benchmark.overlay import Run, System
from benchmark.rows import RAN
from stages.core import registry

TEMPLATE = Path("benchmark/page.md.j2")
NOTHING = "–"
N_SONGS = {"ravdess": 1012}  # of its ABOUT.n_clips, which are of every channel; the other corpora do not sing
N_SPARE = 0.01  # share of clips that a complete copy may lose: recordings that are there twice, or broken
N_GAINED = 0.01  # accuracy above naming the commonest emotion, up to which nothing was learnt


@dataclass(frozen=True)
class Row:
    """One row of benchmark/results.csv.

    Attributes:
        values: its columns, as text.
        run: what its system's file makes of it.
    """

    values: Mapping[str, str]
    run: Run

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
    def of_clips(self) -> int | None:
        """How many clips a complete copy has to test; None where one fold tests, or labels are left out."""
        split, n_folds = self.run.values["split"], self.text("n_folds")
        if n_folds == "1" or n_folds != self.text("of_folds") or split["labels"]["drop"]:
            return None
        return sum(n_clips(corpus, split["channels"]) for corpus in self.run.values["corpus"])

    @property
    def n_lacking(self) -> int:
        """How many of them were not tested."""
        return max(0, (self.of_clips or 0) - int(self.text("n_clips")))

    @property
    def clips(self) -> str:
        """`144`, or `1,400 of 2,800` where a complete copy has more to test."""
        return self.plain("n_clips") + (f" of {self.of_clips:,}" if self.n_lacking else "")

    @property
    def is_cut(self) -> bool:
        """Whether it was measured on a part of its corpora."""
        return self.n_lacking > N_SPARE * (self.of_clips or 0)

    @property
    def seconds(self) -> float:
        """What its trainings took together."""
        return self.number("train_seconds") * self.number("n_folds")

    @property
    def is_at_chance(self) -> bool:
        """Whether it recognises hardly more than who always names the commonest emotion."""
        return self.number("accuracy") - self.number("majority") <= N_GAINED

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

    @property
    def caveats(self) -> list[str]:
        """Why the points lost are of more than new voices: another training, or one that learnt nothing."""
        if not self.ran:
            return []
        found = differences(self.heard.run.block, self.unheard.run.block)
        if self.unheard.is_at_chance:
            ours, majority = self.by_new_speakers, self.unheard.percent("majority")
            found.append(
                f"at chance with new speakers, {ours:.1f} % where the commonest emotion has {majority:.1f} %"
            )
        return found

    @property
    def is_fair(self) -> bool:
        """Whether both rows were trained alike and learnt something."""
        return self.ran and not self.caveats

    @property
    def share_trained(self) -> float:
        """Clips trained on with new speakers, in % of those by the report's split."""
        return 100 * self.unheard.number("n_train") / self.heard.number("n_train")

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


def n_clips(corpus: str, channels: Sequence[str]) -> int:
    """Returns how many clips of the channels a complete copy of a corpus has."""
    of_all: int = registry.load("corpora", corpus, "params.corpus").ABOUT.n_clips
    songs = N_SONGS.get(corpus, 0)
    return (of_all - songs if "speech" in channels else 0) + (songs if "song" in channels else 0)


def differences(heard: Mapping[str, Any], unheard: Mapping[str, Any]) -> list[str]:
    """Returns how a model's block differs with new speakers: `epochs 60, with new speakers 30`."""
    found = []
    for key, value in heard.items():
        other = unheard[key]
        if value == other:
            continue
        if isinstance(value, dict) and isinstance(other, dict):
            found += differences(value, other)
        elif isinstance(value, list | dict) or isinstance(other, list | dict):
            found.append(f"`{key}` differs")
        else:
            ends = ["none" if end is None else f"{end}" for end in (value, other)]
            found.append(f"`{key}` {ends[0]}, with new speakers {ends[1]}")
    return found


def entries(found: Sequence[Mapping[str, str]], base: dict[str, Any]) -> list[Entry]:
    """Returns the systems that have rows, by name.

    Args:
        found: rows of benchmark/results.csv.
        base: the content of params.yaml.
    """
    names = sorted({row["system"] for row in found})
    runs = {(name, run.name): run for name in names for run in overlay.runs(name, base)}
    by_system: dict[str, dict[str, dict[str, Row]]] = {}
    for row in found:
        run = runs[row["system"], f"{row['variant']}-{row['protocol']}"]
        variants = by_system.setdefault(run.system, {})
        variants.setdefault(run.variant, {})[run.protocol] = Row(row, run)
    return [Entry(name, overlay.load(name), by_system[name]) for name in names]


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
