"""Sentences of the opened row, and the settings and notes of a table of published rows; each once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reports.board_rows import BoardCell, BoardRow, Group, source_of
from reports.layout import column_title
from reports.statistics_words import AGAIN, INTERVALS, Sentence, sentences


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
        if sentence.weak or not sentence.text.startswith(INTERVALS):
            yield sentence
    if board.again:
        yield Sentence(f"\N{DAGGER} {board.again}. {AGAIN}")
    if board.reason:
        yield Sentence(f"not ranked: {board.reason}.")
    if board.beside:
        why = f"; differences: {'; '.join(board.beside.verdict.why)}" if board.beside.verdict.why else ""
        yield Sentence(f"published value by {board.beside.number.setting.measured_by}{why}.")


@dataclass(frozen=True)
class PrintedSetting:
    """A setting of published rows with its source."""

    title: str
    url: str
    text: str


@dataclass(frozen=True)
class PrintedFacts:
    """The settings of a table of published rows.

    Args:
        settings: Settings in the order of the table.
        numbers: By id of a row the 1-based number of its setting.
        notes: Known problems of values, with their method and column.
    """

    settings: tuple[PrintedSetting, ...]
    numbers: Mapping[str, int]
    notes: tuple[str, ...]


def printed_facts(group: Group) -> PrintedFacts:
    """The settings and notes of a group of published rows."""
    settings: dict[PrintedSetting, int] = {}
    numbers = {}
    notes: dict[str, dict[str, None]] = {}
    for row in group.rows:
        source = source_of(row.numbers[0])
        setting = PrintedSetting(source.title, source.url, row.signature)
        numbers[row.anchor] = settings.setdefault(setting, len(settings) + 1)
        for number in row.numbers:
            for note in number.notes:
                notes.setdefault(note, {})[f"{row.name}, {column_title(number.column)}"] = None
    texts = tuple(f"{'; '.join(where)}: {note}" for note, where in notes.items())
    return PrintedFacts(tuple(settings), numbers, texts)
