"""Tables that are not printed in the paper: datasets that no paper has, and numbers of other sources."""

from __future__ import annotations

from collections.abc import Sequence

from reports.columns import rules_of
from reports.delta import delta_row, has_delta_method
from reports.labels import labels_of
from reports.layout import (
    BEST,
    LAYOUTS,
    PAPER_TABLES,
    Layout,
    column_title,
    dataset_title,
    family_order,
    protocol_title,
)
from reports.notes import EMBEDDED_BANNER, printed_notes, remarks, spread_notes
from reports.paper import published_method
from reports.ranks import Ranks
from reports.row import Row
from reports.table import Table, TableCell, TableRow
from results.published_numbers import DATASETS, PublishedNumber, common_setting, published_numbers


def other_tables(protocol: str, rows: Sequence[Row], ranks: Ranks) -> list[Table]:
    """One table for each dataset that no paper has: embedded datasets and custom datasets."""
    printed = set(DATASETS.values())
    chosen = [row for row in rows if row.protocol == protocol and row.dataset not in printed]
    return [
        _other_table(protocol, dataset, [row for row in chosen if row.dataset == dataset], ranks)
        for dataset in dict.fromkeys(row.dataset for row in chosen)
    ]


def _other_table(protocol: str, dataset: str, rows: Sequence[Row], ranks: Ranks) -> Table:
    title = dataset_title(dataset)
    names = tuple(dict.fromkeys(rule.name for rule in rules_of(rows)))
    rows = sorted(rows, key=lambda row: family_order(_family(row)))
    labels = labels_of(rows)
    table_rows = [_row(row, label, names, ranks) for row, label in zip(rows, labels, strict=True)]
    if has_delta_method(table_rows):
        table_rows.append(delta_row(table_rows))
    return Table(
        name=f"{protocol}_{dataset}",
        title=f"{protocol_title(protocol)}: {title}",
        columns=tuple((title, column_title(name)) for name in names),
        rows=tuple(table_rows),
        with_ours=True,
        with_published=False,
        notes=(*spread_notes(table_rows), *remarks(table_rows, tuple((title, name) for name in names))),
        banner=EMBEDDED_BANNER if any(row.embedded for row in rows) else "",
        keys=tuple((dataset, name) for name in names),
    )


def _family(row: Row) -> str:
    """The family by which a row is sorted; the default family for a method of an unknown family."""
    return row.family if row.family in PAPER_TABLES.families else PAPER_TABLES.default_family


def _row(row: Row, label: str, names: Sequence[str], ranks: Ranks) -> TableRow:
    cells = tuple(
        TableCell(
            ours=row.cells.get(name),
            row=row if name in row.cells else None,
            emphasis=BEST if ranks.of(row, name) == 1 else "",
            reasons=ranks.reasons_of(row, name) if name in row.cells else (),
            again=ranks.again.get((row.key, name), ""),
        )
        for name in names
    )
    return TableRow(
        title=row.title,
        family=row.family or PAPER_TABLES.default_family,
        cells=cells,
        method=published_method(row.measurement),
        setting=row.signature,
        label=label,
    )


def later_table(layout: Layout) -> Table | None:
    """Numbers of other sources in the layout's columns, with their settings; None if there are none."""
    numbers = [number for number in published_numbers() if _belongs(number, layout)]
    rows = []
    for source, method in dict.fromkeys((n.source, n.method) for n in numbers):
        of_method = {(n.dataset, n.column): n for n in numbers if (n.source, n.method) == (source, method)}
        first = next(iter(of_method.values()))
        cells = tuple(TableCell(published=of_method.get(key)) for key in layout.columns)
        setting = f"{first.setting.measured_by}; {common_setting(of_method.values())}"
        rows.append(TableRow(first.name, first.family, cells, method, setting=setting))
    if not rows:
        return None
    rows.sort(key=lambda row: family_order(row.family))
    return Table(
        name=f"{layout.name}_later",
        title=f"{layout.title}: other sources, not ranked (settings differ)",
        columns=layout.titles,
        rows=tuple(rows),
        with_ours=False,
        with_published=True,
        notes=(*(f"{row.title}: {row.setting}" for row in rows), *printed_notes(rows)),
        keys=layout.columns,
    )


def _belongs(number: PublishedNumber, layout: Layout) -> bool:
    """Whether a number is in the columns of the layout, and no layout repeats the tables of its source."""
    repeated = {other.source for other in LAYOUTS}
    return (
        number.table == layout.table
        and number.block in ("", layout.block)
        and number.source not in repeated
        and (number.dataset, number.column) in layout.columns
    )
