"""The paper's tables: published values, ours, or ours beside the published ones with a verdict per cell."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from reports.aggregate import DDOF, Row
from reports.layout import BEST, COLUMN_TITLES, DATASET_TITLES, DELTA_LABEL, DELTA_METHOD, PROTOCOL_TITLES, Layout
from reports.ranks import Ranks
from reports.table import Table, TableCell, TableRow
from reports.verdict import verdict
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
    """The delta method minus the best adapting method, in each column, published and ours each among their own."""
    cells = []
    for column in range(len(rows[0].cells)):
        mine = [row.cells[column] for row in rows if row.method == DELTA_METHOD]
        others = [row.cells[column] for row in rows if row.family == "adapting"]
        printed = [Decimal(c.published.value) for c in others if c.published]
        measured = [c.ours.mean for c in others if c.ours]
        cell = TableCell()
        if mine and mine[0].published and printed:
            cell = replace(cell, delta_published=Decimal(mine[0].published.value) - max(printed))
        if mine and mine[0].ours and measured:
            cell = replace(cell, delta_ours=mine[0].ours.mean - max(measured))
        cells.append(cell)
    return TableRow(DELTA_LABEL, "tuning", tuple(cells), is_delta=True)


def _notes(rows: Sequence[TableRow]) -> tuple[str, ...]:
    """The known problems of the printed cells, each once, with their cells unless these are the whole row."""
    found: dict[str, list[str]] = {}
    cells = {row.label: sum(cell.published is not None for cell in row.cells) for row in rows}
    whole: dict[str, int] = {}
    for row in rows:
        for cell in row.cells:
            number = cell.published
            for note in number.notes if number else ():
                place = f"{number.dataset} {COLUMN_TITLES.get(number.column, number.column)}" if number else ""
                text = f"{row.label}: {note}"
                whole[text] = cells[row.label]
                found.setdefault(text, []).append(place.strip())
    return tuple(
        text if len(places) >= whole[text] else f"{text} [{', '.join(places)}]" for text, places in found.items()
    )


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
        if not against_paper and not variants:
            continue
        for number, variant in enumerate(variants or [{}]):
            filled.append(_fill(layout, printed, variant, ranks, against_paper, number > 0))
    for name, variants in ours.items():
        if name not in used:
            first = next(iter(variants[0].values()))
            printed = TableRow(first.facts["title"], first.facts["family"] or "tuning", (TableCell(),) * 99, name)
            for number, variant in enumerate(variants):
                filled.append(_fill(layout, printed, variant, ranks, against_paper, number > 0))
    filled.sort(key=lambda row: _ORDER.get(row.family, 3))
    if layout.delta and filled:
        filled.append(_delta_row(filled))
    return Table(
        name=_name(layout), title=layout.title, columns=_titles(layout), rows=tuple(filled), with_ours=True,
        with_published=against_paper, keys=layout.columns,
        notes=(*_spread_notes(filled), *(_notes(filled) if against_paper else ())),
    )  # fmt: skip


Variant = dict[str, Row]
"""The rows of one method measured one way, by printed dataset."""


def _by_method(layout: Layout, rows: Sequence[Row]) -> dict[str, list[Variant]]:
    """Our rows that belong into a layout, by method and then by way of measuring."""
    printed = {own: title for title, own in DATASETS.items()}
    wanted = {dataset for dataset, _ in layout.columns}
    found: dict[str, dict[tuple[Any, ...], Variant]] = {}
    for row in rows:
        dataset = printed.get(row.facts["dataset"], "")
        is_bridge = row.facts["method"] == harness_names()["vifi-clip-bridge-and-prompt"]
        if layout.protocol:
            if row.facts["protocol"] != layout.protocol or dataset not in wanted:
                continue
            if is_bridge != (layout.table == "bridge_prompt"):
                continue
        elif row.facts["protocol"] != "supervised" or dataset != "K-400":
            continue
        names = ("backbone", "weights", "views", "text", "class_text", "init", "selection", "label_variant", "options")
        way = (*(row.facts[name] for name in names), row.key.partition("-")[2])
        found.setdefault(_method_of(row.facts), {}).setdefault(way, {})[dataset if layout.protocol else ""] = row
    return {method: list(ways.values()) for method, ways in found.items()}


def _method_of(facts: dict[str, Any]) -> str:
    """A row's method, with its `config` where one method wraps many models."""
    config = (facts["option_values"] or {}).get("config")
    return f"{facts['method']}:{config}" if config else str(facts["method"])


def _fill(
    layout: Layout, printed: TableRow, variant: Variant, ranks: Ranks, against_paper: bool, further: bool
) -> TableRow:
    """A printed row with our measurements of one variant in its cells."""
    cells = []
    for (dataset, column), cell in zip(layout.columns, printed.cells, strict=False):
        row = variant.get(dataset)
        ours = row.cells.get(column) if row else None
        number = cell.published if against_paper else None
        plain = _cost(row, column) if row else None
        best = row is not None and ranks.of(row, column) == 1
        cells.append(
            TableCell(
                published=number, ours=ours, row=row if ours else None, plain=plain, emphasis=BEST if best else "",
                verdict=verdict(number, ours, row) if number and not _is_cost(column) else None,
            )
        )  # fmt: skip
    first = next(iter(variant.values()), None)
    label = f"{printed.label} [{first.facts['views']}, {first.facts['text']}]" if further and first else printed.label
    setting = first.facts["signature"] if first else printed.setting
    return replace(printed, label=label, cells=tuple(cells), setting=setting)


def _is_cost(column: str) -> bool:
    return column in ("gflops", "throughput", "params_m")


def _cost(row: Row, column: str) -> float | None:
    """Our value of a compute column: trained parameters in millions, videos per second, GFLOPs where recorded."""
    if column == "params_m":
        return float(row.facts["params_trained"]) / 1e6
    value = {"gflops": row.facts["gflops"], "throughput": row.facts["cost"].get("videos_per_second")}.get(column)
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def other_tables(protocol: str, rows: Sequence[Row], ranks: Ranks) -> list[Table]:
    """Tables of the datasets that no paper has: the embedded benchmark, custom datasets. One for each dataset."""
    tables = []
    known = set(DATASETS.values())
    chosen = [row for row in rows if row.facts["protocol"] == protocol and row.facts["dataset"] not in known]
    for dataset in dict.fromkeys(row.facts["dataset"] for row in chosen):
        mine = [row for row in chosen if row.facts["dataset"] == dataset]
        title = DATASET_TITLES.get(dataset, dataset)
        names = mine[0].columns
        table_rows = [
            TableRow(
                row.facts["title"], row.facts["family"] or "tuning",
                tuple(TableCell(ours=row.cells.get(n), row=row, emphasis=BEST if ranks.of(row, n) == 1 else "")
                      for n in names),
                row.facts["method"].replace("vificlip", DELTA_METHOD), setting=row.facts["signature"],
            )
            for row in sorted(mine, key=lambda r: _ORDER.get(r.facts["family"], 2))
        ]  # fmt: skip
        if any(row.method == DELTA_METHOD for row in table_rows):
            table_rows.append(_delta_row(table_rows))
        tables.append(
            Table(
                f"{protocol}_{dataset}", f"{PROTOCOL_TITLES.get(protocol, protocol)}: {title}",
                tuple((title, COLUMN_TITLES.get(n, n)) for n in names), tuple(table_rows), True, False,
                _spread_notes(table_rows), BANNER if any(r.facts["embedded"] for r in mine) else "",
                tuple((dataset, n) for n in names),
            )
        )  # fmt: skip
    return tables


def later_table(layout: Layout) -> Table | None:
    """What other sources print in the layout's columns, with their settings; None if nothing."""
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
        tuple(rows), False, True, (*(f"{row.label}: {row.setting}" for row in rows), *_notes(rows)), "", layout.columns,
    )  # fmt: skip


def _spread_notes(rows: Iterable[TableRow]) -> tuple[str, ...]:
    """What our ± is: kind, n and ddof, of every kind that occurs."""
    kinds = sorted({(c.ours.kind, c.ours.n) for r in rows for c in r.cells if c.ours and c.ours.spread is not None})
    note = [f"Ours: ± is the standard deviation (ddof {DDOF}) over n = {n} {k.replace('_', ' ')}s." for k, n in kinds]
    return (*note, "Bold, ours: not separable from the best at 95 % (paired test, Holm over the pairs).")
