"""Cells and rows of a table as text, for all formats."""

from __future__ import annotations

from collections.abc import Sequence

from reports.labels import named
from reports.layout import PAPER_TABLES
from reports.table import Table, TableCell, TableRow

MINUS = "\N{MINUS SIGN}"
MISSING = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"
UNRANKED = "\N{DOUBLE DAGGER}"
"""Mark of our value that is not ranked or has a remark."""
MAY_CHANGE = "\N{DAGGER}"
"""Mark of our value whose rank may not hold if the methods are trained again."""


def signed(value: float) -> str:
    """`+1.2`, `-0.3` or `0.0`: a difference in percent points."""
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", MINUS)


def ours_text(cell: TableCell) -> str:
    """Our value such as `51.1 ± 0.5`, with the marks of notes that belong to it; a dash if there is none."""
    if cell.ours:
        spread = f" ± {cell.ours.spread:.1f}" if cell.ours.spread is not None else ""
        marks = (MAY_CHANGE if cell.again else "") + (UNRANKED if cell.marked else "")
        return f"{cell.ours.mean:.1f}{spread}{marks}"
    if isinstance(cell.plain, str):
        return cell.plain
    return f"{cell.plain:.1f}" if cell.plain is not None else MISSING


def published_text(cell: TableCell) -> str:
    """The published value as printed, or a dash."""
    if cell.published is None:
        return MISSING
    return cell.published.value + (f" ± {cell.published.std}" if cell.published.std else "")


def delta_text(value: float | None) -> str:
    """A value of a delta row as the paper prints it, always with a sign."""
    return MISSING if value is None else f"{value:+.1f}".replace("-", MINUS)


def lines_of(table: Table, row: TableRow) -> list[tuple[str, list[tuple[str, str]]]]:
    """The printed lines of a row: (label, [(text, emphasis) for each column]).

    A row with a published value has three lines: our value, the published value, and the verdict.
    """
    if row.is_delta:
        lines = []
        if table.with_ours:
            lines.append((row.name, [(delta_text(c.delta_ours), "") for c in row.cells]))
        if table.with_published:
            label = "· published" if table.with_ours else row.name
            values = [float(c.delta_published) if c.delta_published is not None else None for c in row.cells]
            lines.append((label, [(delta_text(value), "") for value in values]))
        return lines
    label = named(f"{row.title} [{row.reference}]" if row.reference else row.title, row.label)
    if not table.with_ours:
        return [(label, [(published_text(c), c.emphasis) for c in row.cells])]
    lines = [(label, [(ours_text(c), c.emphasis if c.ours else "") for c in row.cells])]
    if table.with_published and any(c.published for c in row.cells):
        lines.append(("· published", [(published_text(c), "") for c in row.cells]))
        lines.append(("· Δ, verdict", [(_verdict_text(c), "") for c in row.cells]))
    return lines


def _verdict_text(cell: TableCell) -> str:
    if cell.verdict is None:
        return MISSING
    return str(cell.verdict) if cell.verdict.delta is None else f"{signed(cell.verdict.delta)}, {cell.verdict}"


def blocks(table: Table) -> list[tuple[str, list[TableRow]]]:
    """(heading of the family, rows), in the order of print."""
    blocks: list[tuple[str, list[TableRow]]] = []
    for row in table.rows:
        known = PAPER_TABLES.families.get(row.family)
        heading = known.title if known else "Other"
        if not blocks or blocks[-1][0] != heading:
            blocks.append((heading, []))
        blocks[-1][1].append(row)
    return blocks


def extra_names(table: Table) -> list[str]:
    """Names of the columns between method and numbers, such as frames and views."""
    return list(dict.fromkeys(name for row in table.rows for name, _ in row.extra))


def extra(row: TableRow, names: Sequence[str], first: bool) -> list[str]:
    """Texts of a row in these columns; empty unless the line is the first of the row."""
    values = dict(row.extra)
    return [values.get(name, "") if first else "" for name in names]
