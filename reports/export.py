"""The paper's tables as Markdown, LaTeX, CSV or HTML, which `report --table` prints."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.base.errors import UserError, unknown_name
from reports.aggregate import rows_of
from reports.entries import Damaged, read_entries
from reports.latex import latex
from reports.layout import ALL_TABLES, PROBES, Layout, layouts
from reports.markdown import markdown
from reports.other_tables import later_table, other_tables
from reports.probes import probe_rows, probe_tables, without_probes
from reports.ranks import Ranks, analyse
from reports.row import Row
from reports.table import Table
from reports.table_csv import csv_text
from reports.table_html import html
from reports.tables import our_table, published_table

FORMATS: dict[str, Callable[[Sequence[Table]], str]] = {"md": markdown, "latex": latex, "csv": csv_text, "html": html}


@dataclass(frozen=True)
class RenderedTable:
    """A table as text.

    Args:
        text: All tables of the name.
        damaged: Files that are left out of it.
        parts: The text of each table by its name, such as `b2n` or `few_shot_hmdb51`.
    """

    text: str
    damaged: tuple[Damaged, ...] = ()
    parts: Mapping[str, str] = field(default_factory=dict)


def render_table(
    table: str, runs: Path | Sequence[Path] | None = None, against_paper: bool = True, format: str = "md"
) -> RenderedTable:  # fmt: skip
    """A table of the paper as text.

    Args:
        table: One of `layout.TABLE_NAMES`.
        runs: Folder of records, or several; None for the published values alone.
        against_paper: Whether to show the published value, the difference and a verdict with each of our values.
        format: `md`, `latex`, `csv` or `html` (a fragment).

    Raises:
        UserError: The table or format is unknown, or `runs` contains no record file.
    """
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    if table == PROBES:
        return _probes(runs, FORMATS[format])
    chosen = layouts(table)
    if runs is None:
        published = [table for table in map(published_table, chosen) if table.rows]
        return _rendered(_with_later(chosen, published), FORMATS[format])
    read = read_entries(runs)
    rows, probes = without_probes(rows_of(read.entries))
    found = analyse(rows)
    tables = tables_of(chosen, found.rows, found.ranks, against_paper)
    if table == ALL_TABLES:
        tables += probe_tables(probe_rows(probes))
    return _rendered(tables, FORMATS[format], read.damaged)


def _rendered(
    tables: Sequence[Table], write: Callable[[Sequence[Table]], str], damaged: tuple[Damaged, ...] = ()
) -> RenderedTable:
    by_name: dict[str, list[Table]] = defaultdict(list)
    for table in tables:
        by_name[table.name].append(table)
    return RenderedTable(write(tables), damaged, {name: write(same) for name, same in by_name.items()})


def _probes(runs: Path | Sequence[Path] | None, write: Callable[[Sequence[Table]], str]) -> RenderedTable:
    """The table of probes, which no paper prints.

    Raises:
        UserError: There are no records of probes.
    """
    read = None if runs is None else read_entries(runs)
    _, probes = without_probes(rows_of(read.entries) if read else ())
    if read is None or not probes:
        raise UserError(
            f"{'No run folder' if runs is None else runs} holds no record of probes.",
            "Create records: python -m harness run --method NAME --protocol few_shot probes",
        )
    return _rendered(probe_tables(probe_rows(probes)), write, read.damaged)


def tables_of(
    chosen: Sequence[Layout],
    rows: Sequence[Row],
    ranks: Ranks,
    against_paper: bool,
    fill_unmeasured: bool = True,
) -> list[Table]:
    """Our tables of the chosen layouts, then tables of datasets that no paper has, then tables of other sources.

    Args:
        chosen: Layouts.
        rows: Our rows.
        ranks: Their ranks.
        against_paper: Whether to show published values with our values.
        fill_unmeasured: Whether a table without any measured value has the verdict `not measured` in each cell; if not,
            it is shown as published.
    """
    tables = [our_table(layout, rows, ranks, against_paper) for layout in chosen]
    if not fill_unmeasured:
        pairs = zip(chosen, tables, strict=True)
        tables = [table if _measured(table) else published_table(layout) for layout, table in pairs]
    for protocol in dict.fromkeys(layout.protocol for layout in chosen if layout.protocol and not layout.method):
        tables += other_tables(protocol, rows, ranks)
    tables = [table for table in tables if table.rows]
    return _with_later(chosen, tables) if against_paper else tables


def _measured(table: Table) -> bool:
    return any(cell.ours or cell.plain is not None for row in table.rows for cell in row.cells)


def _with_later(chosen: Sequence[Layout], tables: list[Table]) -> list[Table]:
    later = [later_table(layout) for layout in chosen]
    return [*tables, *(table for table in later if table)]
