"""Layouts of the published tables, read from `paper_tables.json`.

The file states, for every printed table, its title, its columns in the order of print, its delta row, and the records
that fill it. It also holds the display names of protocols, datasets and columns. No module of `reports` names a
protocol, a dataset or a method itself: a protocol that the file does not know is shown with its registered name and
with the columns of its records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec

from harness.base.errors import unknown_name

BEST, SECOND = "bold", "underline"
ALL_TABLES = "all"
PROBES = "probes"
"""Name of the table of probes, which no paper prints and which has no layout."""


@dataclass(frozen=True)
class Family:
    """A block of rows in the printed tables.

    Args:
        title: Heading of the block.
        clip: Whether its methods adapt a CLIP model; if not, their backbone is not compared with the paper's.
    """

    title: str
    clip: bool = True


@dataclass(frozen=True)
class PrintedColumn:
    """A column as the papers print it.

    Args:
        title: Heading of the column.
        harmonic_of: The two columns of which it is the harmonic mean; None for other columns.
        shots: Training videos per class; None where the column does not state them.
    """

    title: str
    harmonic_of: tuple[str, str] | None = None
    shots: int | None = None


@dataclass(frozen=True)
class Delta:
    """The delta row: one method minus the best method of another family, column by column.

    Args:
        method: Published method whose values are the minuend.
        over: Family whose best value is subtracted.
        family: Family under whose rows the delta row is shown.
        label: First cell of the row.
    """

    method: str
    over: str
    family: str
    label: str


@dataclass(frozen=True)
class PaperBackbone:
    """The backbone with which the papers measured.

    Args:
        title: Architecture and weights for people.
        architectures: Names of the architecture, lower case with hyphens.
        weights: Tag of the weights.
    """

    title: str
    architectures: tuple[str, ...]
    weights: str


@dataclass(frozen=True)
class Layout:
    """One printed table, or one of several tables that are printed under one name.

    Args:
        table: The name that `--table` takes.
        block: Which of the stacked tables; empty if there is one.
        title: Shown above the table.
        protocol: The protocol whose records fill the table; empty for a table of costs.
        source: Id of the source whose rows and order the table repeats; empty for a table that the papers behind the
            other tables do not print.
        datasets: Datasets as printed, in order.
        names: Columns of each dataset, in order.
        delta: Whether the table ends in a delta row.
        with_views: Whether frames and views are printed between method and numbers.
        method: The only published method that the table shows; empty for a table of all methods.
        starts_from_fit: Whether the methods of the table start from a fit of another method, and not from CLIP.
        measured_under, measured_on: Protocol, and dataset as printed, of the records that fill a table of costs.
    """

    table: str
    block: str
    title: str
    protocol: str
    source: str
    datasets: tuple[str, ...]
    names: tuple[str, ...]
    delta: bool = False
    with_views: bool = False
    method: str = ""
    starts_from_fit: bool = False
    measured_under: str = ""
    measured_on: str = ""

    @property
    def name(self) -> str:
        """Name of the table with its block."""
        return f"{self.table}_{self.block}" if self.block else self.table

    @property
    def titles(self) -> tuple[tuple[str, str], ...]:
        """(dataset as printed, column title) in the order of print."""
        return tuple((dataset, column_title(name)) for dataset, name in self.columns)

    @cached_property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """(dataset as printed, column) in the order of print."""
        return tuple((dataset, name) for dataset in self.datasets for name in self.names)


@dataclass(frozen=True)
class PaperTables:
    """Content of `paper_tables.json`.

    Args:
        backbone: The papers' backbone.
        families: Blocks of rows by family, in the order of print.
        default_family: Family under which a method without a family is shown.
        delta: The delta row.
        protocols, datasets: Display names by registered name.
        columns: Columns by name.
        tables: Layouts in the order of print.
    """

    backbone: PaperBackbone
    families: Mapping[str, Family]
    default_family: str
    delta: Delta
    protocols: Mapping[str, str]
    datasets: Mapping[str, str]
    columns: Mapping[str, PrintedColumn]
    tables: tuple[Layout, ...]


PAPER_TABLES = msgspec.json.decode(Path(__file__).with_name("paper_tables.json").read_bytes(), type=PaperTables)
LAYOUTS = PAPER_TABLES.tables
TABLE_NAMES = (*dict.fromkeys(layout.table for layout in LAYOUTS), PROBES, ALL_TABLES)
PROTOCOL_ORDER = tuple(dict.fromkeys(layout.protocol for layout in LAYOUTS if layout.protocol))
"""Protocols in the order in which the papers print them."""
ONE_METHOD_TABLES = frozenset(layout.method for layout in LAYOUTS if layout.method)
"""Published methods that have tables for themselves and are left out of the other tables."""


def column_title(column: str) -> str:
    """Display name of a column; the name itself for a column that no paper prints."""
    printed = PAPER_TABLES.columns.get(column)
    return printed.title if printed else column


def protocol_title(protocol: str) -> str:
    """Display name of a protocol; the registered name for a custom protocol."""
    return PAPER_TABLES.protocols.get(protocol, protocol)


def dataset_title(dataset: str) -> str:
    """Display name of a dataset; the name itself for a custom dataset."""
    return PAPER_TABLES.datasets.get(dataset, dataset)


def family_order(family: str) -> int:
    """Position of a family in the printed tables; an unknown family comes last."""
    known = tuple(PAPER_TABLES.families)
    return known.index(family) if family in known else len(known)


def layouts(table: str) -> tuple[Layout, ...]:
    """The layouts of a table's name; every layout for `all`.

    Raises:
        UserError: No table has this name.
    """
    if table not in TABLE_NAMES:
        raise unknown_name("table", table, TABLE_NAMES)
    return tuple(layout for layout in LAYOUTS if table in (ALL_TABLES, layout.table))
