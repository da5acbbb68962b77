"""docs/benchmark.md: tables and discussion, with the numbers of benchmark/published/results.csv."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmark.published import overlay, rows
from benchmark.published.overlay import MAX_MISSING, Experiment, System
from benchmark.published.rows import AND, RAN
from stages.base import registry
from stages.reporting import page

TEMPLATE = Path("benchmark/published/page.md.j2")
DASH = "–"
ONE_SEED = "‡"
SIZES = {"under 100,000": 1e5, "100,000 to 1 million": 1e6, "more": np.inf}  # parameters
WITHOUT_TIME = {"mean", "stats", "pooled"}  # layouts
CHANCE_MARGIN = 0.01  # accuracy above the majority-class baseline that still counts as chance


@dataclass(frozen=True)
class Row:
    """One row of benchmark/published/results.csv.

    Attributes:
        values: its columns, as text.
        experiment: its settings now.
        is_outdated: whether it was measured with other settings.
    """

    values: Mapping[str, str]
    experiment: Experiment
    is_outdated: bool = False

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
            return DASH
        ends = ""
        if self.values.get(f"{column}_low"):
            low, high = (self.percent(f"{column}_{end}") for end in ("low", "high"))
            ends = f" [{rounded(low)}, {rounded(high)}]"
        return f"{self.percent(column):z.1f}{ends}"

    def points(self, column: str) -> str:
        """Returns `score` of a difference, with `‡` where its interval is over speakers only."""
        of_one_seed = self.text("n_seeds") == "1" and self.values.get(f"{column}_low")
        return f"{self.score(column)}{ONE_SEED if of_one_seed else ''}"

    def over_seeds(self, column: str) -> str:
        """Returns ` ± 0.9`, the standard deviation over seeds, or nothing with one seed."""
        deviation = f"{column}_std"
        return f" ± {self.percent(deviation):.1f}" if self.text(deviation) else ""

    def plain(self, column: str) -> str:
        """Returns the column as text, with a dash if it is empty and commas between thousands."""
        value = self.text(column)
        if not value:
            return DASH
        try:
            number = float(value)
        except ValueError:
            return value
        return f"{number:,.0f}" if number >= 1000 else f"{number:.3g}"

    @property
    def n_complete(self) -> int | None:
        """How many test clips a complete copy has; None if one fold is tested or labels are dropped."""
        split, n_folds = self.experiment.values["split"], self.text("n_folds")
        if n_folds == "1" or n_folds != self.text("of_folds") or split["labels"]["drop"]:
            return None
        return self.experiment.n_clips

    @property
    def n_missing(self) -> int:
        """How many of them are missing."""
        return max(0, (self.n_complete or 0) - int(self.text("n_clips")))

    @property
    def clips(self) -> str:
        """`144`, or `1,400 of 2,800` if a complete copy has more."""
        return self.plain("n_clips") + (f" of {self.n_complete:,}" if self.n_missing else "")

    @property
    def is_partial(self) -> bool:
        """Whether it was measured on an incomplete copy of its corpora."""
        values = self.experiment.values
        speakers = overlay.n_speakers(values["corpus"]) if "speech" in values["split"]["channels"] else 0
        tests_all = self.text("n_folds") == self.text("of_folds") != "1"
        lacks_speakers = tests_all and int(self.text("n_speakers")) < speakers
        return lacks_speakers or self.n_missing > MAX_MISSING * (self.n_complete or 0)

    @property
    def mark(self) -> str:
        """` †` behind what was measured with earlier settings."""
        return " †" if self.is_outdated else ""

    @property
    def seconds(self) -> float:
        """Duration of all its trainings together."""
        return rows.seconds(self.values) * self.number("n_seeds")

    @property
    def is_at_chance(self) -> bool:
        """Whether its accuracy is about that of the majority-class baseline."""
        return self.number("accuracy") - self.number("majority") <= CHANCE_MARGIN

    @property
    def folds(self) -> str:
        """`all 6`, `1 of 10`, or `1` if there are no others."""
        n, of = self.text("n_folds"), self.text("of_folds")
        if n != of:
            return f"{n} of {of}"
        return n if n == "1" else f"all {n}"


@dataclass(frozen=True)
class Ranking:
    """Systems that were tested on the same corpora and emotions, the best first by each split."""

    clips: str
    by_report_split: list[Entry]
    by_new_speakers: list[Entry]

    @property
    def correlation(self) -> float:
        """Spearman's rank correlation of the accuracies with both splits."""
        own = [entry.report_split_accuracy for entry in self.by_new_speakers]
        new = [entry.new_speakers_accuracy for entry in self.by_new_speakers]
        return float(stats.spearmanr(own, new).statistic)


@dataclass(frozen=True)
class Entry:
    """A system with its rows.

    Attributes:
        name: of the system.
        system: its file.
        rows: by variant, the row with the report's split and the one with new speakers.
    """

    name: str
    system: System
    rows: dict[str, dict[str, Row]]

    @property
    def variant(self) -> str:
        """The variant that the main table shows: the report's own if it was run, else a stand-in.

        Without either, the one that needs least.
        """
        candidates = [
            name
            for name, variant in self.system.variants.items()
            if variant.role != "further" and name in self.rows
        ]
        ran = [name for name in candidates if all(row.ran for row in self.rows[name].values())]
        return ran[0] if ran else min(candidates, key=self._n_needed)

    def _n_needed(self, variant: str) -> int:
        """How many corpora and weights are missing for a variant that was not run."""
        return self.rows[variant]["as_reported"].text("status").count(AND)

    @property
    def report_split(self) -> Row:
        return self.rows[self.variant]["as_reported"]

    @property
    def new_speakers(self) -> Row:
        return self.rows[self.variant]["speaker_independent"]

    @property
    def corpus(self) -> str:
        """What the main table's rows were measured on."""
        return self.system.variants[self.variant].about

    @property
    def is_stand_in(self) -> bool:
        return self.system.variants[self.variant].role == "stand_in"

    @property
    def reported(self) -> float | None:
        """Accuracy as published, in %."""
        accuracy = self.system.report.accuracy
        return None if accuracy is None else 100 * accuracy

    @property
    def measured_on(self) -> str:
        """`corpus`, and whether it is a stand-in."""
        return f"{self.corpus}{' (stand-in)' if self.is_stand_in else ''}"

    @property
    def reported_score(self) -> str:
        """Accuracy as published, in %: `51.7 (validation)`, or a dash."""
        if self.reported is None:
            return DASH
        return f"{self.reported:.1f}{' (validation)' if self.system.report.scored_on == 'validation' else ''}"

    def reported_row(self, variant: str, row: Row) -> str:
        """Returns the published scores for a row: `51.7 (validation), F1 50.9, other clips`, or a dash.

        They are in the row of the report's split of the main table's variant.
        """
        report, accuracy = self.system.report, self.reported_score
        if variant != self.variant or row is not self.report_split or accuracy == DASH:
            return DASH
        f1 = "" if report.f1 is None else f", F1 {100 * report.f1:.1f}"
        return f"{accuracy}{f1}{', other clips' if self.is_stand_in else ''}"

    @property
    def is_comparable(self) -> bool:
        """Whether the reported accuracy is of test clips of the same corpus."""
        return not self.is_stand_in and self.system.report.scored_on != "validation"

    @property
    def short(self) -> str:
        """`B1`."""
        return self.name.partition("_")[0]

    @property
    def report(self) -> str:
        """The letter of its report."""
        return self.name[0]

    @property
    def ran(self) -> bool:
        return self.report_split.ran and self.new_speakers.ran

    @property
    def report_split_accuracy(self) -> float:
        """Accuracy here with the report's split, in %."""
        return self.report_split.percent("accuracy")

    @property
    def new_speakers_accuracy(self) -> float:
        """Accuracy here with new speakers, in %."""
        return self.new_speakers.percent("accuracy")

    @property
    def points_lost(self) -> float:
        """How many points lower accuracy is with new speakers."""
        return self.new_speakers.percent("lost")

    @property
    def lost(self) -> str:
        """The points lost, with their interval."""
        return self.new_speakers.points("lost")

    @property
    def has_one_seed(self) -> bool:
        return self.new_speakers.text("n_seeds") == "1"

    @property
    def may_lose_nothing(self) -> bool:
        """Whether the interval of the points lost contains 0."""
        low, high = self.new_speakers.text("lost_low"), self.new_speakers.text("lost_high")
        return bool(low) and float(low) <= 0 <= float(high)

    @property
    def is_outdated(self) -> bool:
        """Whether a row of the main table was measured with other settings."""
        return self.report_split.is_outdated or self.new_speakers.is_outdated

    @property
    def has_outdated_rows(self) -> bool:
        """Whether any of its rows is, `further` ones included."""
        return any(row.is_outdated for _, row in self.pairs())

    @property
    def mark(self) -> str:
        """See `Row.mark`."""
        return self.report_split.mark or self.new_speakers.mark

    @property
    def notes(self) -> list[str]:
        """What a reader of the rows that were run must know; it is of some if their recordings are named."""
        texts: dict[str, list[str]] = {}
        for variant in dict.fromkeys(variant for variant, row in self.pairs() if row.ran):
            texts.setdefault(self.system.note_of(variant), []).append(self.system.variants[variant].about)
        return [
            f"`{self.name}`{'' if note == self.system.note else ', ' + '; '.join(abouts)}: {note}"
            for note, abouts in texts.items()
            if note
        ]

    @property
    def counts(self) -> bool:
        """Whether averages contain it: it was run with the present settings."""
        return self.ran and not self.is_outdated

    def summary(self) -> str:
        """Returns the accuracies in a sentence."""
        reported = "not reported" if self.reported is None else f"reported {self.reported:.1f}"
        if not self.ran:
            return f"{reported}, {self.report_split.text('status')}"
        own, new = f"{self.report_split_accuracy:.1f}", f"{self.new_speakers_accuracy:.1f}"
        return f"{reported}, with its own split {own}, with new speakers {new} %"

    def other_clips(self, variant: str) -> str:
        """Returns `, 1,199 training clips instead of 959`, where a change has others than what it changes."""
        own, against = (
            self.rows[name]["speaker_independent"].plain("n_train")
            for name in (variant, self.system.variants[variant].against or variant)
        )
        return "" if own == against else f", {own} training clips instead of {against}"

    def pairs(self) -> Iterator[tuple[str, Row]]:
        """Yields each variant with each of its rows."""
        for variant, pair in self.rows.items():
            for row in pair.values():
                yield variant, row


def rounded(end: float) -> str:
    """Returns the end of an interval: `-12`, but `-0.1` rather than 0, which would hide its sign.

    >>> rounded(-12.3), rounded(-0.1), rounded(0.0), rounded(0.04)
    ('-12', '-0.1', '0', '0')
    """
    return f"{end:.1f}" if 0.05 <= abs(end) < 1 else f"{end:z.0f}"


def rankings(found: Sequence[Entry]) -> list[Ranking]:
    """Returns how both splits rank the systems of each corpus and number of emotions, if there are three.

    Systems of one seed are left out: with the report's split they were tested on one draw of clips.
    """
    groups: dict[tuple[str, ...], list[Entry]] = {}
    for entry in found:
        if entry.has_one_seed:
            continue
        n_classes = round(1 / entry.new_speakers.number("chance"))
        clips = f"{corpora_of([entry])}, {n_classes} emotions"
        dropped = entry.new_speakers.experiment.values["split"]["labels"]["drop"]
        groups.setdefault((clips, *sorted(dropped)), []).append(entry)
    return [
        Ranking(clips, *(ranked(some, by) for by in ("report_split_accuracy", "new_speakers_accuracy")))
        for (clips, *_), some in groups.items()
        if len(some) >= 3
    ]


def ranked(found: Sequence[Entry], by: str) -> list[Entry]:
    """Returns the entries, the best first."""
    return sorted(found, key=lambda entry: getattr(entry, by), reverse=True)


def changes_of(found: Sequence[Entry]) -> list[tuple[Entry, str, dict[str, Row]]]:
    """Returns each variant whose gain over another one was measured, with its rows."""
    return [
        (entry, variant, pair)
        for entry in found
        for variant, pair in entry.rows.items()
        if all(row.text("gain") for row in pair.values())
    ]


def mean_lost(found: Sequence[Entry]) -> str:
    """Returns the mean of the points lost, with its 95 % interval over systems: `25 [14, 36]`.

    Of two test speakers it returns the range, `51 (41 to 60)`: an interval would look as if it said more.
    """
    lost = np.array([entry.points_lost for entry in found])
    if len(lost) < 3:  # an interval would be about as wide as the scale
        return f"{lost.mean():z.0f}"
    if all(entry.new_speakers.number("n_speakers") < 3 for entry in found):
        return f"{lost.mean():z.0f} ({lost.min():z.0f} to {lost.max():z.0f})"
    margin = stats.t.ppf(0.975, len(lost) - 1) * stats.sem(lost)
    return f"{lost.mean():z.0f} [{lost.mean() - margin:z.0f}, {lost.mean() + margin:z.0f}]"


def by_corpora(found: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Returns the entries by the corpora that the main table's rows were measured on, most entries first."""
    groups: dict[str, list[Entry]] = {}
    for entry in found:
        groups.setdefault(corpora_of([entry]), []).append(entry)
    return dict(sorted(groups.items(), key=lambda group: -len(group[1])))


def claim(found: Sequence[Entry]) -> str:
    """Returns the mean of the points lost on each corpus: `12 points lower on RAVDESS and 52 on TESS`."""
    first, *others = by_corpora(found).items()
    texts = [f"{mean_lost(some)} on {corpora}" for corpora, some in others]
    return " and ".join([f"{mean_lost(first[1])} points lower on {first[0]}", *texts])


def corpora_of(found: Sequence[Entry]) -> str:
    """Returns the titles of the corpora that the main table's rows were measured on: `RAVDESS and SAVEE`."""
    names = sorted({name for entry in found for name in entry.new_speakers.experiment.values["corpus"]})
    abouts = [registry.load("corpora", name, "params.corpus").ABOUT for name in names]
    return " and ".join(about.title.partition(",")[0] for about in abouts)


def by_kind(found: Sequence[Entry]) -> dict[str, dict[str, list[Entry]]]:
    """Returns the entries by what they have in common: corpora, parameters and input.

    Corpora differ too much in the points lost to compare models of several: parameters and input are of the
    corpora with the most entries.
    """
    groups = by_corpora(found)
    kinds = {
        "corpora": {
            f"{corpora}, {some[0].new_speakers.text('n_speakers')} speakers": some
            for corpora, some in groups.items()
        }
    }
    for entry in next(iter(groups.values())):
        row = entry.new_speakers
        size = row.number("n_parameters")
        layout = row.experiment.block["inputs"]["layout"]
        own_size = next(name for name, below in SIZES.items() if size < below)
        kinds.setdefault("parameters", {name: [] for name in SIZES})[own_size].append(entry)
        own_input = "summarised over time" if layout in WITHOUT_TIME else "in the course of time"
        kinds.setdefault("input", {}).setdefault(own_input, []).append(entry)
    return {kind: {value: some for value, some in of.items() if some} for kind, of in kinds.items()}


def hours(found: Sequence[Entry], corpus: str) -> float:
    """Returns the hours of training that the rows on a corpus will take which were not run, of all seeds."""
    of_all = 0.0
    for entry in found:
        own = {row.experiment.name: row.values for _, row in entry.pairs()}
        for _, row in entry.pairs():
            if not row.ran and corpus in row.experiment.values["corpus"]:
                of_all += rows.expected_seconds(row.experiment, own) * entry.system.n_seeds
    return of_all / 3600


def not_run(found: Sequence[Entry], report: str) -> dict[str, list[str]]:
    """Returns what was not run of a report, by the reason: ``["`A1_cnn1d` CREMA-D", ...]``."""
    missing: dict[str, dict[str, None]] = {}  # of both splits once, in order
    for entry in found:
        for variant, row in entry.pairs():
            if entry.report == report and not row.ran:
                about = f"`{entry.name}` {entry.system.variants[variant].about}"
                missing.setdefault(row.text("status"), {})[about] = None
    return {status: list(abouts) for status, abouts in missing.items()}


def entries(found: Sequence[Mapping[str, str]], base: dict[str, Any]) -> list[Entry]:
    """Returns the systems that have rows, by name.

    Args:
        found: rows of benchmark/published/results.csv.
        base: the content of params.yaml.
    """
    names = sorted({row["system"] for row in found})
    systems = {name: overlay.load(name) for name in names}
    experiments: dict[tuple[str, str], dict[str, Experiment]] = {}  # by variant, then by protocol
    for each in itertools.chain(*(overlay.experiments(name, base) for name in names)):
        experiments.setdefault((each.system, each.variant), {})[each.protocol] = each
    settings = {}
    for (name, variant), pair in experiments.items():
        against = experiments.get((name, systems[name].variants[variant].against or ""), {})
        settings[name, variant] = overlay.settings([*pair.values(), *against.values()])
    by_system: dict[str, dict[str, dict[str, Row]]] = {}
    for row in found:
        name, variant, protocol = (row[key] for key in ("system", "variant", "protocol"))
        is_outdated = row["status"] == RAN and row["settings"] != settings[name, variant]
        own = Row(row, experiments[name, variant][protocol], is_outdated)
        by_system.setdefault(name, {}).setdefault(variant, {})[protocol] = own
    return [Entry(name, systems[name], by_system[name]) for name in names]


def render(found: Sequence[Entry]) -> str:
    """Returns the page as Markdown."""
    functions = {
        each.__name__: each
        for each in (mean_lost, claim, by_corpora, by_kind, not_run, changes_of, rankings, hours)
    }
    by_name = {entry.name: entry for entry in found}
    return page.render(TEMPLATE, entries=found, by_name=by_name, **functions) + "\n"
