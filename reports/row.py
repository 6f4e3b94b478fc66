"""A row of a table: a method under one protocol on one dataset, measured in one way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from harness.spec import Column
from reports.entries import Entry
from results.measurement import UNKNOWN, Keys, Measurement
from results.measurement_names import changes_of
from results.measurement_words import model_text, start_text, views_text
from results.record import STATUSES, Record
from results.row_statistics import CellStatistics
from results.statistics.intervals import Interval
from results.statistics.trained_again import BorrowedSpread


@dataclass(frozen=True)
class RepeatScore:
    """The score of one repeat in a cell: accuracy in percent, its index and the record.

    Args:
        interval: 95 % interval for other videos; None if the predictions have not been read.
    """

    value: float
    index: int
    entry: Entry
    interval: Interval | None = None


@dataclass(frozen=True)
class Cell:
    """A table cell: the mean over repeats in percent.

    Args:
        column: The column's name.
        mean: Mean over repeats, or the harmonic mean of two such means. Not rounded.
        spread: Standard deviation over repeats (`DDOF`); None for a single repeat and for harmonic means.
        n: Number of repeats.
        kind: Kind of the repeats: `test_split`, `class_subset`, `train_subset`, `seed` or `single`.
        repeats: The repeats, by index; empty for harmonic means.
        harmonic_of: The two columns of a harmonic mean.
        lacks: The difference between the repeats and the prescribed repeats, or the reason why the metric is not
            meaningful, in words; such a cell has no rank.
        fits: The accuracy of each fit, the mean over the lists that it is evaluated on; empty for an untrained method.
            For a harmonic mean the linearised values, whose variance is that of the harmonic mean between fits.
        statistics: Intervals; None if the predictions of a record cannot be read.
        borrowed: Spread between the fits of other rows of the group's column, for a cell with one fit.
        no_interval: The reason why there are no statistics; empty with statistics, and before predictions are read.
    """

    column: str
    mean: float
    spread: float | None
    n: int
    kind: str
    repeats: tuple[RepeatScore, ...] = ()
    harmonic_of: tuple[str, str] | None = None
    lacks: str = ""
    fits: tuple[float, ...] = ()
    statistics: CellStatistics | None = None
    borrowed: BorrowedSpread | None = None
    no_interval: str = ""

    @property
    def interval(self) -> Interval | None:
        """The 95 % interval for other videos."""
        return self.statistics.other if self.statistics else None


@dataclass(frozen=True)
class Mark:
    """A remark on a ranked or unranked row.

    Args:
        text: The remark.
        chip: One to three words that are shown in the row; empty for a remark that only the opened row shows.
        warn: Whether the chip is shown as a warning.
    """

    text: str
    chip: str = ""
    warn: bool = True


@dataclass(frozen=True)
class SupersededRecord:
    """A record that does not count, with the reason in words."""

    name: str
    reason: str


def harmonic_columns(rules: Iterable[Column]) -> dict[str, tuple[Column, Column]]:
    """The harmonic means of two different measured columns, each with the rules of the two.

    The rules come from records, where a harmonic mean may name columns that do not exist.
    """
    rules = tuple(rules)
    measured = {rule.name: rule for rule in rules if rule.harmonic_of is None}
    pairs = {rule.name: rule.harmonic_of for rule in rules if rule.harmonic_of}
    return {name: (measured[a], measured[b]) for name, (a, b) in pairs.items() if a != b and {a, b} <= measured.keys()}


@dataclass(frozen=True)
class Row:
    """A method under one protocol on one dataset, measured in one way: a line of a table.

    Args:
        keys: Keys of the newest measurement; all records of the row share `row`, `line` and `group`.
        dataset: The dataset's shown name.
        entries: The records that count, by part and repeat.
        rules: Columns of the protocol.
        cells: By column name, in the order of the rules; a column without records is absent.
        reasons: Reasons why the row is not ranked; empty if it is.
        marks: Remarks on the row.
        superseded: Records of older generations, and of fits that were repeated later.
    """

    keys: Keys
    dataset: str
    entries: tuple[Entry, ...]
    rules: tuple[Column, ...]
    cells: dict[str, Cell]
    reasons: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()
    superseded: tuple[SupersededRecord, ...] = ()

    @property
    def key(self) -> str:
        """The row key."""
        return self.keys.row

    @property
    def group(self) -> str:
        """The group key: only rows with the same group key may be ranked together."""
        return self.keys.group

    @cached_property
    def newest(self) -> Entry:
        """The newest record, whose method card is shown."""
        # The name decides between records of one second, so that the result does not depend on the order of files.
        return max(self.entries, key=lambda entry: (entry.time, entry.name))

    @property
    def record(self) -> Record:
        """Content of the newest record."""
        return self.newest.record

    @property
    def measurement(self) -> Measurement:
        """Measurement of the newest record, for the settings that all records of the row share."""
        return self.newest.measurement

    @property
    def columns(self) -> tuple[str, ...]:
        """All column names, in order."""
        return tuple(rule.name for rule in self.rules)

    @property
    def title(self) -> str:
        """Display name of the method."""
        return self.record.method.title or self.method

    @property
    def method(self) -> str:
        """Registered name of the method."""
        return self.measurement.method.name

    @property
    def protocol(self) -> str:
        """Name of the protocol."""
        return self.measurement.protocol.name

    @property
    def family(self) -> str:
        """Family of the method in the papers' grouping."""
        return self.record.method.family

    @property
    def embedded(self) -> bool:
        """Whether the dataset is embedded."""
        return any(entry.record.embedded for entry in self.entries)

    @property
    def backbone(self) -> str:
        """Architecture and weights."""
        return model_text(self.measurement.model)

    @property
    def views(self) -> str:
        """Views in evaluation; several if the views of the parts differ."""
        return ", ".join(dict.fromkeys(views_text(entry.measurement.evaluation.views) for entry in self.entries))

    @property
    def text(self) -> str:
        """Source of the class texts."""
        return self.measurement.method.class_text

    @property
    def start(self) -> str:
        """The weights that the method starts from."""
        return UNKNOWN if self.measurement.training == UNKNOWN else start_text(self.measurement)

    @property
    def signature(self) -> str:
        """Signature of the newest record."""
        return self.record.signature

    @property
    def statuses(self) -> tuple[str, ...]:
        """The statuses of the row's records, each once."""
        statuses = {entry.record.status for entry in self.entries}
        return tuple(status for status in STATUSES if status in statuses)

    @property
    def params_trained(self) -> int:
        """Parameters that the fit trained; 0 for an untrained method."""
        return self.record.method.params_trained

    @property
    def gflops(self) -> float | None:
        """10^9 multiply-adds of the video features of one view; None where they could not be counted."""
        return next((g for entry in self.entries if (g := entry.record.cost.gflops) is not None), None)

    @cached_property
    def declared(self) -> bool:
        """Whether all records have the recipe that the method declares and the default options."""
        known = self.record.method.defaults
        return not any(changes_of(entry.measurement, known) for entry in self.entries)

    @cached_property
    def seen_classes(self) -> tuple[str, ...]:
        """Evaluation classes with a counterpart in training, sorted, of the parts that should hold new classes.

        A protocol with a harmonic mean, such as base-to-novel, trains on the classes of the first of its two columns:
        a warning concerns the part of the second column alone. In other protocols it concerns every part.
        """
        new = {second.part for _, second in harmonic_columns(self.rules).values()}
        records = [entry.record for entry in self.entries if not new or entry.measurement.protocol.part in new]
        return tuple(sorted({name for record in records for name in record.overlap.seen_classes}))

    @property
    def undecodable(self) -> int:
        """Videos that could not be decoded, over all records."""
        return sum(len(entry.record.undecodable) for entry in self.entries)

    @property
    def missing(self) -> int:
        """Videos that could not be decoded or were not evaluated, over all records."""
        evaluations = [entry.measurement.evaluation for entry in self.entries]
        return self.undecodable + sum(e.list.n - e.evaluated for e in evaluations if not e.sample)

    @property
    def train_videos(self) -> int:
        """Number of evaluation videos that are also training videos."""
        return max(entry.record.overlap.train_videos for entry in self.entries)

    @property
    def superseded_text(self) -> str:
        """The superseded records by their reason, on one line; empty if there are none."""
        counts = Counter(record.reason for record in self.superseded)
        return "; ".join(f"{n} record{'' if n == 1 else 's'}: {reason}" for reason, n in counts.items())

    def rule(self, column: str) -> Column:
        """The rule of a column."""
        return next(rule for rule in self.rules if rule.name == column)
