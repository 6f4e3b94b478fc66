"""Rows as lines of text, which `run` prints when it ends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from reports.aggregate import rows_of
from reports.entries import Damaged, entries_of
from reports.labels import labels_of, named
from reports.probes import probe_lines, without_probes
from reports.row import Cell, Row
from results.measurement_words import incomplete_mark, mean_lacks


@dataclass(frozen=True)
class Summary:
    """Text with one line for each row, and the records that could not be read."""

    text: str
    damaged: tuple[Damaged, ...] = ()


def summary(records: Iterable[Path], runs: Path) -> Summary:
    """Mean and spread in each column, for the rows that the records form.

    Args:
        records: Record files of one request; other records of the same rows are ignored.
        runs: The run folder that holds them.
    """
    found = entries_of(records, runs)
    rows, probes = without_probes(rows_of(found.entries))
    lines = [_line(row, label) for row, label in zip(rows, labels_of(rows), strict=True)]
    return Summary("\n".join([*lines, *probe_lines(probes)]), found.damaged)


def _line(row: Row, label: str) -> str:
    values = "  ".join(f"{name} {_cell(row.cells[name])}" for name in row.columns if name in row.cells)
    kind = next((f"{c.kind} x {c.n}" for c in row.cells.values() if c.n > 1), "single")
    chips = dict.fromkeys(mark.chip for mark in row.marks if mark.chip and mark.warn)
    marks = f"  [{', '.join(chips)}]" if chips else ""
    lacks = dict.fromkeys(reason for entry in row.entries for reason in mean_lacks(entry.measurement))
    marks += incomplete_mark(tuple(lacks))
    title = named(row.title, label)
    size = row.measurement.model.image_size
    return f"{title:<16} {row.protocol} {row.dataset} {row.views}@{size}  {values}  ({kind}){marks}"


def _cell(cell: Cell) -> str:
    spread = "" if cell.spread is None else f" ± {cell.spread:.1f}"
    return f"{cell.mean:.1f}{spread}" + (f" [{cell.lacks}]" if cell.lacks else "")
