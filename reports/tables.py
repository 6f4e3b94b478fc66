"""The paper's tables: published values, ours, or ours beside the published ones with a verdict per cell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from reports.labels import labels_of, of_one_place
from reports.layout import BEST, COLUMN_TITLES, DATASET_TITLES, DELTA_LABEL, DELTA_METHOD, PROTOCOL_TITLES, Layout
from reports.lines import UNRANKED
from reports.paper import method_of
from reports.ranks import Ranks
from reports.row import Row
from reports.table import Table, TableCell, TableRow
from reports.throughput import throughput
from reports.verdict import verdict
from results.means import DDOF
from results.measurement_names import names_of, way_of
from results.published_numbers import DATASETS, harness_names, published_numbers

_ORDER = {"unimodal": 0, "adapting": 1, "tuning": 2}
BANNER = "Embedded mini benchmark: these numbers say that the pipeline works and nothing about CLIP."


def published_table(layout: Layout) -> Table:
    """The printed table rebuilt from the published numbers alone, its delta row recomputed."""
    rows = _published_rows(layout)
    if layout.delta:
        rows.append(_delta_row(rows))
    return Table(
        name=_name(layout), title=layout.title, columns=_titles(layout), rows=tuple(rows), with_ours=False,
        with_published=True, notes=_notes(rows), keys=layout.columns,
    )  # fmt: skip


def _name(layout: Layout) -> str:
    return f"{layout.table}_{layout.block}" if layout.block else layout.table


def _titles(layout: Layout) -> tuple[tuple[str, str], ...]:
    return tuple((dataset, COLUMN_TITLES.get(column, column)) for dataset, column in layout.columns)


def _published_rows(layout: Layout) -> list[TableRow]:
    """The source's rows, in the order of print."""
    numbers = [
        n for n in published_numbers() if (n.source, n.table, n.block) == (layout.source, layout.table, layout.block)
    ]
    rows = []
    for method in dict.fromkeys(number.method for number in numbers):
        mine = {(n.dataset, n.column): n for n in numbers if n.method == method}
        first = next(iter(mine.values()))
        cells = tuple(
            TableCell(published=mine[key], emphasis=mine[key].emphasis) if key in mine else TableCell()
            for key in layout.columns
        )
        extra: tuple[tuple[str, str], ...] = ()
        if layout.table == "supervised":
            views = (first.setting.views or "-").replace("x", " \N{MULTIPLICATION SIGN} ")
            extra = (("Frames", str(first.setting.frames or "-")), ("Views", views))
        rows.append(
            TableRow(
                first.name, first.family, cells, method, first.reference,
                setting=f"{first.setting.measured_by}; {first.setting}", extra=extra,
            )
        )  # fmt: skip
    return rows


def _delta_row(rows: Sequence[TableRow]) -> TableRow:
    """The delta method minus the best adapting method, in each column, published and ours each among their own.

    Ours are the unchanged rows alone: the best of several variants would be a best of k.
    """
    cells = []
    unchanged = [row for row in rows if not row.label]
    for column in range(len(rows[0].cells)):
        mine = [row.cells[column].published for row in rows if row.method == DELTA_METHOD]
        others = [row.cells[column].published for row in rows if row.family == "adapting"]
        printed = [Decimal(number.value) for number in others if number]
        ours = [row.cells[column].ours for row in unchanged if row.method == DELTA_METHOD]
        measured = [mean.mean for row in unchanged if row.family == "adapting" and (mean := row.cells[column].ours)]
        cell = TableCell()
        if mine and mine[0] and printed:
            cell = replace(cell, delta_published=Decimal(mine[0].value) - max(printed))
        if len(ours) == 1 and ours[0] and measured:
            cell = replace(cell, delta_ours=ours[0].mean - max(measured))
        cells.append(cell)
    return TableRow(DELTA_LABEL, "tuning", tuple(cells), is_delta=True)


def _notes(rows: Sequence[TableRow]) -> tuple[str, ...]:
    """The known problems of the printed cells, each once, with their cells unless these are the whole row."""
    found: dict[str, list[str]] = {}
    cells = {row.title: sum(cell.published is not None for cell in row.cells) for row in rows}
    whole: dict[str, int] = {}
    for row in rows:
        for cell in row.cells:
            number = cell.published
            for note in number.notes if number else ():
                place = f"{number.dataset} {COLUMN_TITLES.get(number.column, number.column)}" if number else ""
                text = f"{row.title}: {note}"
                whole[text] = cells[row.title]
                found.setdefault(text, []).append(place.strip())
    return tuple(
        text if len(places) >= whole[text] else f"{text} [{', '.join(places)}]" for text, places in found.items()
    )


@dataclass(frozen=True)
class _Variant:
    """The rows of one method measured one way, by printed dataset; the label tells the method's variants apart."""

    label: str
    rows: dict[str, Row]

    @property
    def first(self) -> Row:
        return next(iter(self.rows.values()))


def our_table(layout: Layout, rows: Sequence[Row], ranks: Ranks, against_paper: bool) -> Table:
    """The layout filled with our measurements, beside the published numbers if `against_paper`.

    A method measured in several ways has a row for each; each is compared with the published number, and the verdict
    says what was measured differently.
    """
    ours = _by_method(layout, rows)
    filled: list[TableRow] = []
    used: set[str] = set()
    for printed in _published_rows(layout):
        name = harness_names().get(printed.method)
        variants = ours.get(name, []) if name else []
        used |= {name} if name else set()
        if not variants and against_paper:
            filled.append(_fill(layout, printed, None, ranks, against_paper))
        filled += [_fill(layout, printed, variant, ranks, against_paper) for variant in variants]
    for name, variants in ours.items():
        if name not in used:
            first = variants[0].first
            printed = TableRow(first.title, first.family or "tuning", (TableCell(),) * len(layout.columns), name)
            filled += [_fill(layout, printed, variant, ranks, against_paper) for variant in variants]
    filled.sort(key=lambda row: _ORDER.get(row.family, 3))
    if layout.delta and filled:
        filled.append(_delta_row(filled))
    return Table(
        name=_name(layout), title=layout.title, columns=_titles(layout), rows=tuple(filled), with_ours=True,
        with_published=against_paper, keys=layout.columns,
        notes=(
            *_spread_notes(filled), *_remarks(filled, layout.columns), *(_notes(filled) if against_paper else ())
        ),
    )  # fmt: skip


def _by_method(layout: Layout, rows: Sequence[Row]) -> dict[str, list[_Variant]]:
    """Our rows that belong into a layout, by method and then by way of measuring."""
    printed = {own: title for title, own in DATASETS.items()}
    wanted = {dataset for dataset, _ in layout.columns}
    found: dict[str, list[tuple[str, Row]]] = defaultdict(list)
    for row in rows:
        dataset = printed.get(row.dataset, "")
        is_bridge = row.method == harness_names()["vifi-clip-bridge-and-prompt"]
        if layout.protocol:
            if row.protocol != layout.protocol or dataset not in wanted:
                continue
            if is_bridge != (layout.table == "bridge_prompt"):
                continue
        elif row.protocol != "supervised" or dataset != "K-400":
            continue
        found[method_of(row.measurement)].append((dataset if layout.protocol else "", row))
    return {method: _variants(members) for method, members in found.items()}


def _variants(members: Sequence[tuple[str, Row]]) -> list[_Variant]:
    """Rows of several datasets on one line where they were measured in one way; no two rows in one cell."""
    ways: dict[tuple[object, ...], list[dict[str, Row]]] = defaultdict(list)
    for dataset, row in members:
        lines = ways[row.title, *way_of(row.entries[0].measurement, row.record.method.defaults)]
        line = next((line for line in lines if dataset not in line), None)
        if line is None:
            lines.append(line := {})
        line[dataset] = row
    lines = [line for found in ways.values() for line in found]
    # Lines are compared on the dataset that most of them have.
    datasets = [dataset for line in lines for dataset in line]
    common = max(datasets, key=datasets.count)
    chosen = [line.get(common, next(iter(line.values()))) for line in lines]
    names = names_of(of_one_place(chosen), [row.record.method.defaults for row in chosen])
    return sorted((_Variant(*one) for one in zip(names, lines, strict=True)), key=lambda variant: variant.label)


def _fill(
    layout: Layout, printed: TableRow, variant: _Variant | None, ranks: Ranks, against_paper: bool
) -> TableRow:
    """A printed row with our measurements of one variant in its cells."""
    cells = []
    for (dataset, column), cell in zip(layout.columns, printed.cells, strict=True):
        row = variant.rows.get(dataset) if variant else None
        ours = row.cells.get(column) if row else None
        number = cell.published if against_paper else None
        cells.append(
            TableCell(
                published=number, ours=ours, row=row if ours else None, plain=_cost(row, column) if row else None,
                emphasis=BEST if row is not None and ranks.of(row, column) == 1 else "",
                verdict=verdict(number, ours, row) if number and not _is_cost(column) else None,
                reasons=_reasons(row, column, ranks) if row and ours else (),
            )
        )  # fmt: skip
    if variant is None:
        return replace(printed, cells=tuple(cells))
    return replace(printed, label=variant.label, cells=tuple(cells), setting=variant.first.signature)


def _reasons(row: Row, column: str, ranks: Ranks) -> tuple[str, ...]:
    """Reasons why a cell of ours is not ranked."""
    cell = row.cells[column]
    found = (*row.reasons, ranks.reasons.get(row.key, ""), cell.lacks, ranks.lists.get((row.key, column), ""))
    return tuple(reason for reason in found if reason)


def _remarks(rows: Sequence[TableRow], columns: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Notes on the marked cells: why a value is not ranked, and what was not as the protocol or the method has it."""
    found: dict[str, None] = {}
    for row in rows:
        for (dataset, column), cell in zip(columns, row.cells, strict=True):
            place = f"{UNRANKED} {row.name}, {dataset}".rstrip(", ")
            if cell.row:
                found |= dict.fromkeys(f"{place}: {mark.text}" for mark in cell.row.marks if mark.chip)
                rank = [reason for reason in cell.reasons if reason not in cell.row.reasons]
                found |= dict.fromkeys(f"{place}: not ranked: {reason}" for reason in cell.row.reasons)
                title = COLUMN_TITLES.get(column, column)
                found |= dict.fromkeys(f"{place} {title}: not ranked: {reason}" for reason in rank)
    return tuple(found)


def _is_cost(column: str) -> bool:
    return column in ("gflops", "throughput", "params_m")


def _cost(row: Row, column: str) -> float | str | None:
    """Our value of a compute column: trained parameters in millions, videos per second, GFLOPs where recorded."""
    if column == "params_m":
        return row.params_trained / 1e6
    return throughput(row) if column == "throughput" else row.gflops if column == "gflops" else None


def other_tables(protocol: str, rows: Sequence[Row], ranks: Ranks) -> list[Table]:
    """Tables of the datasets that no paper has: the embedded benchmark, own datasets. One for each dataset."""
    known = set(DATASETS.values())
    chosen = [row for row in rows if row.protocol == protocol and row.dataset not in known]
    return [
        _other_table(protocol, dataset, [row for row in chosen if row.dataset == dataset], ranks)
        for dataset in dict.fromkeys(row.dataset for row in chosen)
    ]


def _other_table(protocol: str, dataset: str, rows: Sequence[Row], ranks: Ranks) -> Table:
    title = DATASET_TITLES.get(dataset, dataset)
    names = tuple(dict.fromkeys(name for row in rows for name in row.columns))
    rows = sorted(rows, key=lambda row: _ORDER.get(row.family, 2))
    table_rows = [
        TableRow(
            row.title, row.family or "tuning",
            tuple(
                TableCell(
                    ours=row.cells.get(name), row=row if name in row.cells else None,
                    emphasis=BEST if ranks.of(row, name) == 1 else "",
                    reasons=_reasons(row, name, ranks) if name in row.cells else (),
                )
                for name in names
            ),
            row.method.replace("vificlip", DELTA_METHOD), setting=row.signature, label=label,
        )
        for row, label in zip(rows, labels_of(rows), strict=True)
    ]  # fmt: skip
    if any(row.method == DELTA_METHOD for row in table_rows):
        table_rows.append(_delta_row(table_rows))
    columns = tuple((dataset, name) for name in names)
    return Table(
        f"{protocol}_{dataset}", f"{PROTOCOL_TITLES.get(protocol, protocol)}: {title}",
        tuple((title, COLUMN_TITLES.get(name, name)) for name in names), tuple(table_rows), True, False,
        (*_spread_notes(table_rows), *_remarks(table_rows, tuple((title, name) for name in names))),
        BANNER if any(row.embedded for row in rows) else "", columns,
    )  # fmt: skip


def later_table(layout: Layout) -> Table | None:
    """Numbers of other sources in the layout's columns, with their settings; None if there are none."""
    wanted = set(layout.columns)
    numbers = [
        n for n in published_numbers()
        if n.table == layout.table and n.source != layout.source and (n.dataset, n.column) in wanted
        and n.block in ("", layout.block) and n.source != "vificlip_readme"
    ]  # fmt: skip
    rows = []
    for source, method in dict.fromkeys((n.source, n.method) for n in numbers):
        mine = {(n.dataset, n.column): n for n in numbers if (n.source, n.method) == (source, method)}
        first = next(iter(mine.values()))
        cells = tuple(TableCell(published=mine.get(key)) for key in layout.columns)
        setting = f"{first.setting.measured_by}; {first.setting}"
        rows.append(TableRow(first.name, first.family, cells, method, setting=setting))
    if not rows:
        return None
    rows.sort(key=lambda row: _ORDER.get(row.family, 3))
    return Table(
        f"{_name(layout)}_later", f"{layout.title}: other sources, not ranked (settings differ)", _titles(layout),
        tuple(rows), False, True, (*(f"{row.title}: {row.setting}" for row in rows), *_notes(rows)), "", layout.columns,
    )  # fmt: skip


def _spread_notes(rows: Iterable[TableRow]) -> tuple[str, ...]:
    """Meaning of our ±: kind, n and ddof, of every kind that occurs."""
    kinds = sorted({(c.ours.kind, c.ours.n) for r in rows for c in r.cells if c.ours and c.ours.spread is not None})
    note = [f"Ours: ± is the standard deviation (ddof {DDOF}) over n = {n} {k.replace('_', ' ')}s." for k, n in kinds]
    return (*note, "Bold, ours: not separable from the best at 95 % (paired test, Holm over the pairs).")
