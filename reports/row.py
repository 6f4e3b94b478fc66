"""A row of a table: a method under one protocol on one dataset, measured in one way."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from harness.spec import Column
from reports.entries import Entry
from results.measurement import UNKNOWN, Keys, Measurement
from results.measurement_names import changes_of
from results.measurement_words import model_text, start_text, views_text
from results.record import STATUSES, Record
from results.statistics.intervals import Interval


@dataclass(frozen=True)
class RepeatScore:
    """One record's part in a cell: its accuracy in percent, the interval of it, and the record."""

    value: float
    interval: Interval
    index: int
    entry: Entry


@dataclass(frozen=True)
class Cell:
    """A table cell: the mean over repeats in percent.

    Args:
        column: The column's name.
        mean: Mean over repeats, or the harmonic mean of two such means. Not rounded.
        spread: Standard deviation over repeats (`DDOF`); None for a single repeat and for harmonic means.
        n: Number of repeats.
        kind: Kind of the repeats: `test_split`, `class_subset`, `train_subset`, `seed` or `single`.
        interval: 95 % interval of the mean from the sampling of test videos alone.
        repeats: The repeats, by index; empty for harmonic means.
        harmonic_of: The two columns of a harmonic mean.
        lacks: Repeats that the protocol prescribes and that are not there, in words; such a cell has no rank.
    """

    column: str
    mean: float
    spread: float | None
    n: int
    kind: str
    interval: Interval
    repeats: tuple[RepeatScore, ...] = ()
    harmonic_of: tuple[str, str] | None = None
    lacks: str = ""


@dataclass(frozen=True)
class Mark:
    """A remark beside a row, whether or not the row is ranked.

    Args:
        text: The remark.
        chip: One to three words that stand in the row; empty for a remark that stands in the opened row alone.
        warn: Whether the chip is a warning.
    """

    text: str
    chip: str = ""
    warn: bool = True


@dataclass(frozen=True)
class SupersededRecord:
    """A record that does not count, with the reason and what changed, in words."""

    name: str
    reason: str


@dataclass(frozen=True)
class Row:
    """A method under one protocol on one dataset, measured in one way.

    Args:
        keys: Keys of the measurements; `row`, `line` and `group` are those of all records.
        dataset: The dataset's shown name.
        entries: The records that count, by part and repeat.
        rules: Columns of the protocol.
        cells: By column name, in the order of the rules; a column without records is absent.
        reasons: Reasons why the row is not ranked; empty if it is.
        marks: Remarks.
        superseded: Records of older generations, and of fits that were computed again.
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
        """The group key: rows of one group may be ranked together, others not."""
        return self.keys.group

    @cached_property
    def newest(self) -> Entry:
        """The newest record: its method card is shown."""
        return max(self.entries, key=lambda entry: (entry.time, entry.name))

    @property
    def record(self) -> Record:
        """The newest record's content."""
        return self.newest.record

    @property
    def measurement(self) -> Measurement:
        """The newest record's measurement, for what all records of the row share."""
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
        """Family of the method in the paper's grouping."""
        return self.record.method.family

    @property
    def embedded(self) -> bool:
        """True on an embedded dataset."""
        return any(entry.record.embedded for entry in self.entries)

    @property
    def backbone(self) -> str:
        """Architecture and weights."""
        return model_text(self.measurement.model)

    @property
    def views(self) -> str:
        """Views in evaluation; those of each part where they differ."""
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
        found = {entry.record.status for entry in self.entries}
        return tuple(status for status in STATUSES if status in found)

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
        """True if all records have the recipe that the method declares and the default options."""
        known = self.record.method.defaults
        return not any(changes_of(entry.measurement, known) for entry in self.entries)

    @cached_property
    def seen_classes(self) -> tuple[str, ...]:
        """Classes that were seen in training and should not have been, sorted.

        Base-to-novel trains on the base classes: only a novel one is worth a warning there.
        """
        unmeant = [e.record for e in self.entries if self.protocol != "b2n" or e.measurement.protocol.part == "novel"]
        return tuple(sorted({name for record in unmeant for name in record.overlap.seen_classes}))

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
        """Evaluation videos that were trained on."""
        return max(entry.record.overlap.train_videos for entry in self.entries)

    @property
    def superseded_text(self) -> str:
        """The superseded records by their reason, on one line; empty if there are none."""
        counts = Counter(one.reason for one in self.superseded)
        return "; ".join(f"{n} record{'' if n == 1 else 's'}: {reason}" for reason, n in counts.items())

    def rule(self, column: str) -> Column:
        """The rule of a column."""
        return next(rule for rule in self.rules if rule.name == column)
