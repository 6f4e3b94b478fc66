"""Sentences of the opened row, and the settings and notes of a table of published rows; each once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from reports.board_rows import BoardCell, BoardRow, Group, source_of
from reports.layout import column_title
from reports.row import Cell, Row
from reports.statistics_words import AGAIN, INTERVALS, UNKNOWN_SOURCES, Sentence, sentences


def notes_of(row: BoardRow) -> list[Sentence]:
    """The sentences on the cells of a row that its table of numbers does not contain, each once with its columns."""
    cells = [cell for cell in row.cells.values() if cell.cell]
    columns: dict[Sentence, list[str]] = {}
    for cell in cells:
        for sentence in _of_cell(cell):
            columns.setdefault(sentence, []).append(column_title(cell.column))
    return [
        sentence if len(names) == len(cells) else Sentence(f"{', '.join(names)}: {sentence.text}", sentence.weak)
        for sentence, names in columns.items()
    ]


def _of_cell(board: BoardCell) -> Iterator[Sentence]:
    if board.cell is None:
        return
    for sentence in sentences(board.cell):
        # The table has the numbers of both intervals; an interval from two fits is named because it says little.
        if sentence.weak or not sentence.text.startswith((*INTERVALS, UNKNOWN_SOURCES)):
            yield sentence
    if board.again:
        yield Sentence(f"\N{DAGGER} {board.again}. {AGAIN}")
    if board.reason:
        yield Sentence(f"not ranked: {board.reason}.")
    if board.beside:
        why = f"; differences: {'; '.join(board.beside.verdict.why)}" if board.beside.verdict.why else ""
        yield Sentence(f"published value by {board.beside.number.setting.measured_by}{why}.")


def unknown_sources(group: Group) -> str:
    """The remark of a table of which no cell knows the sources of its videos; empty for any other table."""
    found = [c.cell.statistics for row in group.rows for c in row.cells.values() if c.cell and c.cell.statistics]
    return UNKNOWN_SOURCES if found and not any(statistics.known for statistics in found) else ""


def linked_columns(row: Row) -> frozenset[str]:
    """The columns whose repeats are links to records; a top-5 column has the records of its top-1 column."""
    parts: dict[str, str] = {}
    for name in row.cells:
        parts.setdefault(row.rule(name).part, name)
    return frozenset(parts.values())


def coverage(cell: Cell) -> str:
    """Evaluated videos of the listed videos, if it is the same for all repeats of a cell; otherwise empty."""
    evaluations = [repeat.entry.measurement.evaluation for repeat in cell.repeats]
    texts = {f"{evaluation.evaluated} of {evaluation.list.n}" for evaluation in evaluations}
    return texts.pop() if len(texts) == 1 else ""


@dataclass(frozen=True)
class PrintedSetting:
    """A setting of published rows with its source."""

    title: str
    url: str
    text: str


@dataclass(frozen=True)
class PrintedFacts:
    """Facts of a table of published rows.

    Args:
        numbers: By id of a row the 1-based number of its setting.
        notes: Known problems of values, with their method and column.
    """

    numbers: Mapping[str, int]
    notes: tuple[str, ...]


def printed_facts(groups: Sequence[Group]) -> tuple[Mapping[str, PrintedFacts], tuple[PrintedSetting, ...]]:
    """(facts of the groups of published rows by id, settings of all published rows), each setting once."""
    settings: dict[PrintedSetting, int] = {}
    facts = {}
    for group in groups:
        if not group.published:
            continue
        numbers, notes = {}, dict[str, dict[str, None]]()
        for row in group.rows:
            source = source_of(row.numbers[0])
            setting = PrintedSetting(source.title, source.url, row.signature)
            numbers[row.anchor] = settings.setdefault(setting, len(settings) + 1)
            for number in row.numbers:
                for note in number.notes:
                    notes.setdefault(note, {})[f"{row.name}, {column_title(number.column)}"] = None
        facts[group.anchor] = PrintedFacts(numbers, tuple(f"{'; '.join(at)}: {note}" for note, at in notes.items()))
    return facts, tuple(settings)
