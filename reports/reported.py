"""Groups of the leaderboard with published numbers, which were not measured here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import groupby

from reports.anchors import slug
from reports.board_rows import BoardCell, BoardRow, Group, RowFilters
from reports.columns import primary_column
from reports.costs import COSTS
from reports.layout import PAPER_TABLES
from reports.paper import class_text_of, protocol_of
from results.published_numbers import DATASETS, PAPER, PublishedNumber, published_numbers


def reported_columns() -> list[tuple[str, str]]:
    """(protocol, dataset) of every group of published numbers."""
    return list(dict.fromkeys((protocol_of(n), DATASETS[n.dataset]) for n in published_numbers() if n.dataset))


@cache
def reported_group(protocol: str, dataset: str) -> Group | None:
    """The published numbers of a protocol and dataset, not ranked; None if there are none."""
    numbers = [
        n for n in published_numbers()
        if n.dataset and (protocol_of(n), DATASETS[n.dataset]) == (protocol, dataset)
        and n.column in PAPER_TABLES.columns and n.column not in COSTS
    ]  # fmt: skip
    if not numbers:
        return None
    columns = tuple(dict.fromkeys(n.column for n in numbers))
    rows = []
    for key, members in groupby(
        sorted(numbers, key=lambda n: (n.source, n.table)), lambda n: (n.source, n.table, n.method)
    ):
        of_row = tuple(members)
        first = of_row[0]
        cells = {n.column: BoardCell(n.column, n.number, number=n) for n in of_row}
        rows.append(
            BoardRow(
                anchor=slug("p", *key, protocol, dataset), title=first.name, label="", cells=cells, row=None,
                numbers=of_row,
                filters=RowFilters(
                    protocol=protocol, dataset=dataset, backbone="as published",
                    views=f"{first.setting.frames or '?'}x{first.setting.views or '?'}",
                    text=class_text_of(first.setting), init=first.setting.init or "not stated", status="reported",
                    params="not stated",
                ),
                rank=None, reasons=("reported by a paper, not measured here",), command=None,
                signature=str(first.setting),
            )
        )  # fmt: skip
    rows = _with_labels(_once(rows))
    # The paper whose tables are regenerated comes first.
    rows.sort(key=lambda row: (row.numbers[0].source != PAPER, row.numbers[0].source))
    return Group(
        anchor=slug("t", protocol, dataset, "published"), protocol=protocol, dataset=dataset,
        caption="Reported by papers and measured in different ways; in the order of print, not ranked",
        columns=columns, primary=_primary(columns),
        rows=tuple(rows), published=True, embedded=False,
    )  # fmt: skip


def _primary(columns: tuple[str, ...]) -> str:
    printed = {column: PAPER_TABLES.columns[column] for column in columns}
    harmonic = (column for column in columns if printed[column].harmonic_of)
    return primary_column(columns, harmonic, {c: shots for c in columns if (shots := printed[c].shots)})


def _once(rows: Sequence[BoardRow]) -> list[BoardRow]:
    """The rows without those whose printed values another source prints for the same method."""
    kept: list[BoardRow] = []
    # The source whose tables are regenerated is kept; otherwise the row with the most values.
    for row in sorted(rows, key=lambda row: (row.numbers[0].source != PAPER, -len(row.numbers))):
        if not any(_repeats(row, other) for other in kept):
            kept.append(row)
    return [row for row in rows if any(row is other for other in kept)]


def _repeats(row: BoardRow, other: BoardRow) -> bool:
    """Whether all values of a row are those of another source's row of the same method."""
    first, second = row.numbers[0], other.numbers[0]
    if (first.method, first.setting.frames) != (second.method, second.setting.frames) or first.source == second.source:
        return False
    printed = {n.column: n for n in other.numbers}
    return all(
        n.column in printed and n.value == printed[n.column].value and n.std in (None, printed[n.column].std)
        for n in row.numbers
    )


def _with_labels(rows: Sequence[BoardRow]) -> list[BoardRow]:
    """Published rows with second labels: rows of one title are labelled by the stated settings in which they differ."""
    same: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        same[row.title].append(i)
    labels = [""] * len(rows)
    for indices in same.values():
        stated = [_stated(rows[i].numbers[0]) for i in indices]
        chosen: list[int] = []
        # A setting is added only if it separates rows that are still equal.
        for column in range(len(stated[0])):
            tried = [*chosen, column]
            if _distinct(stated, tried) > _distinct(stated, chosen):
                chosen = tried
        for i, settings in zip(indices, stated, strict=True):
            labels[i] = ", ".join(settings[column] for column in chosen)
    return [replace(row, label=label) for row, label in zip(rows, labels, strict=True)]


def _distinct(stated: Sequence[tuple[str, ...]], columns: Sequence[int]) -> int:
    return len({tuple(settings[column] for column in columns) for settings in stated})


def _stated(number: PublishedNumber) -> tuple[str, ...]:
    """The settings that a source states for a number, in words."""
    setting = number.setting
    return (
        f"{setting.frames or '?'} frames", f"{setting.views or '?'} views", f"from {setting.init or 'not stated'}",
        f"text: {setting.text or 'not stated'}", setting.measured_by, number.table.replace("_", " "),
        number.source.replace("_", " "),
    )  # fmt: skip
