"""The paper's tables: published values, our values, or both with a verdict for each cell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from reports.costs import COSTS, cost_of
from reports.delta import delta_row
from reports.labels import comparable_measurements
from reports.layout import BEST, ONE_METHOD_TABLES, PAPER_TABLES, Layout, family_order
from reports.notes import printed_notes, remarks, spread_notes
from reports.paper import method_of
from reports.ranks import Ranks
from reports.row import Row
from reports.table import Table, TableCell, TableRow
from reports.verdict import verdict
from results.measurement_names import names_of, way_of
from results.published_numbers import DATASETS, common_setting, harness_names, published_numbers


def published_table(layout: Layout) -> Table:
    """The printed table, made from published numbers alone; its delta row is computed."""
    rows = _published_rows(layout)
    if layout.delta:
        rows.append(delta_row(rows))
    return Table(
        name=layout.name, title=layout.title, columns=layout.titles, rows=tuple(rows), with_ours=False,
        with_published=True, notes=printed_notes(rows), keys=layout.columns,
    )  # fmt: skip


def _published_rows(layout: Layout) -> list[TableRow]:
    """The rows that the source of the layout prints, in the order of print."""
    numbers = [
        n for n in published_numbers() if (n.source, n.table, n.block) == (layout.source, layout.table, layout.block)
    ]
    rows = []
    for method in dict.fromkeys(number.method for number in numbers):
        of_method = {(n.dataset, n.column): n for n in numbers if n.method == method}
        first = next(iter(of_method.values()))
        cells = tuple(
            TableCell(published=of_method[key], emphasis=of_method[key].emphasis) if key in of_method else TableCell()
            for key in layout.columns
        )
        extra: tuple[tuple[str, str], ...] = ()
        if layout.with_views:
            views = (first.setting.views or "-").replace("x", " \N{MULTIPLICATION SIGN} ")
            extra = (("Frames", str(first.setting.frames or "-")), ("Views", views))
        rows.append(
            TableRow(
                first.name, first.family, cells, method, first.reference,
                setting=f"{first.setting.measured_by}; {common_setting(of_method.values())}", extra=extra,
            )
        )  # fmt: skip
    return rows


@dataclass(frozen=True)
class _Variant:
    """The rows of a method measured in one way, by dataset as printed; the label names the changed settings."""

    label: str
    rows: dict[str, Row]

    @property
    def first(self) -> Row:
        return next(iter(self.rows.values()))


def our_table(layout: Layout, rows: Sequence[Row], ranks: Ranks, against_paper: bool) -> Table:
    """The layout filled with our measurements, together with the published numbers if `against_paper`.

    A method measured in several ways has one row for each way. Every row is compared with the published number, and
    the verdict names the settings that differ.
    """
    ours = _by_method(layout, rows)
    filled: list[TableRow] = []
    used: set[str] = set()
    for printed in _published_rows(layout):
        name = harness_names().get(printed.method)
        variants = ours.get(name, []) if name else []
        used |= {name} if name else set()
        # Without published values a method that is not measured would be an empty line.
        if not variants and against_paper:
            filled.append(_fill(layout, printed, None, ranks, against_paper))
        filled += [_fill(layout, printed, variant, ranks, against_paper) for variant in variants]
    for name, variants in ours.items():
        if name not in used:
            first = variants[0].first
            printed = TableRow(
                first.title, first.family or PAPER_TABLES.default_family, (TableCell(),) * len(layout.columns), name
            )
            filled += [_fill(layout, printed, variant, ranks, against_paper) for variant in variants]
    filled.sort(key=lambda row: family_order(row.family))
    if layout.delta and filled:
        filled.append(delta_row(filled))
    return Table(
        name=layout.name, title=layout.title, columns=layout.titles, rows=tuple(filled), with_ours=True,
        with_published=against_paper, keys=layout.columns,
        notes=(
            *spread_notes(filled), *remarks(filled, layout.columns),
            *(printed_notes(filled) if against_paper else ()),
        ),
    )  # fmt: skip


def _by_method(layout: Layout, rows: Sequence[Row]) -> dict[str, list[_Variant]]:
    """Our rows that belong to a layout, by method; each variant of a method was measured in one way."""
    printed = {own: title for title, own in DATASETS.items()}
    alone = {ours for method, ours in harness_names().items() if method in ONE_METHOD_TABLES}
    wanted = {dataset for dataset, _ in layout.columns}
    by_method: dict[str, list[tuple[str, Row]]] = defaultdict(list)
    for row in rows:
        dataset = printed.get(row.dataset, "")
        if layout.protocol:
            # A method with a table of its own is in no other table, and no other method is in its table.
            if row.protocol != layout.protocol or dataset not in wanted or (row.method in alone) != bool(layout.method):
                continue
        elif (row.protocol, dataset) != (layout.measured_under, layout.measured_on):
            continue
        # A table of costs has one column of each kind, without a dataset.
        by_method[method_of(row.measurement)].append((dataset if layout.protocol else "", row))
    return {method: _variants(members) for method, members in by_method.items()}


def _variants(members: Sequence[tuple[str, Row]]) -> list[_Variant]:
    """Rows of several datasets that were measured in one way share a variant, with at most one row for each dataset."""
    ways: dict[Hashable, list[dict[str, Row]]] = defaultdict(list)
    for dataset, row in members:
        lines = ways[row.title, way_of(row.entries[0].measurement, row.record.method.defaults)]
        # Several rows of one dataset may have been measured in equal ways: each of them gets a line.
        line = next((line for line in lines if dataset not in line), None)
        if line is None:
            lines.append(line := {})
        line[dataset] = row
    lines = [line for of_way in ways.values() for line in of_way]
    # Names are made from the dataset that most lines have, so that differences between datasets do not enter them.
    datasets = [dataset for line in lines for dataset in line]
    common = max(datasets, key=datasets.count)
    chosen = [line.get(common, next(iter(line.values()))) for line in lines]
    names = names_of(comparable_measurements(chosen), [row.record.method.defaults for row in chosen])
    return sorted(
        (_Variant(name, line) for name, line in zip(names, lines, strict=True)), key=lambda variant: variant.label
    )


def _fill(layout: Layout, printed: TableRow, variant: _Variant | None, ranks: Ranks, against_paper: bool) -> TableRow:
    """A printed row with our measurements of one variant in its cells."""
    cells = []
    for (dataset, column), cell in zip(layout.columns, printed.cells, strict=True):
        row = variant.rows.get(dataset) if variant else None
        ours = row.cells.get(column) if row else None
        number = cell.published if against_paper else None
        cells.append(
            TableCell(
                published=number, ours=ours, row=row if ours else None, plain=cost_of(row, column) if row else None,
                emphasis=BEST if row is not None and ranks.of(row, column) == 1 else "",
                verdict=verdict(number, ours, row) if number and column not in COSTS else None,
                reasons=ranks.reasons_of(row, column) if row and ours else (),
                again=ranks.again.get((row.key, column), "") if row and ours else "",
            )
        )  # fmt: skip
    if variant is None:
        return replace(printed, cells=tuple(cells))
    return replace(printed, label=variant.label, cells=tuple(cells), setting=variant.first.signature)
