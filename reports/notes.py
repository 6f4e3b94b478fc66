"""Footnotes of tables: known problems of printed numbers, reasons and marks of our values, and the meaning of ±."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from reports.layout import column_title
from reports.lines import MAY_CHANGE, UNRANKED
from reports.table import TableCell, TableRow
from results.means import DDOF

EMBEDDED_BANNER = "Embedded mini benchmark: these numbers say that the pipeline works and nothing about CLIP."


def printed_notes(rows: Sequence[TableRow]) -> tuple[str, ...]:
    """The known problems of printed cells, each once; cells are named unless the note concerns the whole row."""
    cells: dict[str, list[str]] = defaultdict(list)
    printed: Counter[str] = Counter()
    title_of: dict[str, str] = {}
    for row in rows:
        numbers = [cell.published for cell in row.cells if cell.published]
        # Several rows may have one title; the last of them decides, as they print the same columns.
        printed[row.title] = len(numbers)
        for number in numbers:
            for note in number.notes:
                text = f"{row.title}: {note}"
                title_of[text] = row.title
                cells[text].append(f"{number.dataset} {column_title(number.column)}".strip())
    return tuple(
        text if len(names) >= printed[title_of[text]] else f"{text} [{', '.join(names)}]"
        for text, names in cells.items()
    )


def remarks(rows: Sequence[TableRow], columns: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Notes on marked cells: why our value is not ranked, and which setting differs from protocol or method.

    Args:
        rows: Rows of a table.
        columns: (dataset title, column) of their cells.
    """
    notes: dict[str, None] = {}
    for row in rows:
        for (dataset, column), cell in zip(columns, row.cells, strict=True):
            notes |= dict.fromkeys(_remarks_of(cell, f"{UNRANKED} {row.name}, {dataset}".rstrip(", "), column))
    return tuple(notes)


def _remarks_of(cell: TableCell, name: str, column: str) -> list[str]:
    if cell.row is None:
        return []
    of_row = cell.row.reasons
    return [
        *(f"{name}: {mark.text}" for mark in cell.row.marks if mark.chip),
        *(f"{name}: not ranked: {reason}" for reason in of_row),
        *(f"{name} {column_title(column)}: not ranked: {reason}" for reason in cell.reasons if reason not in of_row),
    ]


def again_notes(rows: Iterable[TableRow]) -> tuple[str, ...]:
    """The meaning of each dagger that occurs: why a rank may not hold if the methods are trained again."""
    texts = dict.fromkeys(cell.again for row in rows for cell in row.cells if cell.again)
    return tuple(f"{MAY_CHANGE} {text}." for text in texts)


def spread_notes(rows: Sequence[TableRow]) -> tuple[str, ...]:
    """The meaning of our ±, with kind, n and ddof of every kind of repeat that occurs, and of bold values."""
    kinds = sorted({(c.ours.kind, c.ours.n) for r in rows for c in r.cells if c.ours and c.ours.spread is not None})
    notes = [f"Ours: ± is the standard deviation (ddof {DDOF}) over n = {n} {k.replace('_', ' ')}s." for k, n in kinds]
    bold = "Bold, ours: not separable from the best at 95 % (paired test for other videos, Holm over the pairs)."
    return (*notes, bold, *again_notes(rows))
