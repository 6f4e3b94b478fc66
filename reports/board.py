"""What the leaderboard shows, as data: sections, groups of rows measured the same way, rows, cells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from reports.aggregate import Cell, Row
from reports.command import reproduce_command
from reports.layout import COLUMN_TITLES, DATASET_TITLES, PROTOCOL_TITLES
from reports.ranks import Ranks
from results.published_numbers import DATASETS, PublishedNumber, published_numbers, sources

PRIMARY = {"b2n": "hm", "few_shot": "k16"}
"""The column by which a group is sorted at first; other protocols take their first column."""

PROTOCOL_ORDER = ("zero_shot", "b2n", "few_shot", "supervised")


@dataclass(frozen=True)
class BoardCell:
    """A score of a board row: ours with its repeats, or a published one.

    Args:
        column: Column name.
        value: Mean in percent, for sorting.
        cell: Our measurement.
        number: The published number.
        rank: Rank in its group, or None.
        low: Left end of the interval on the column's scale, in percent of the scale's length.
        high: Right end.
    """

    column: str
    value: float
    cell: Cell | None = None
    number: PublishedNumber | None = None
    rank: int | None = None
    low: float = 0.0
    high: float = 0.0


@dataclass(frozen=True)
class BoardRow:
    """A row of a group: measured, or known from a paper only."""

    anchor: str
    title: str
    cells: dict[str, BoardCell]
    row: Row | None
    numbers: tuple[PublishedNumber, ...]
    filters: dict[str, str]
    rank: int | None
    reasons: tuple[str, ...]
    command: str
    signature: str


@dataclass(frozen=True)
class Group:
    """Rows that may stand beside each other, under what they share.

    Args:
        anchor: Id of the table.
        protocol: Protocol id.
        dataset: Dataset name.
        caption: What all rows share.
        columns: (name, title).
        primary: The column by which rows are sorted and ranked first.
        rows: Best first; rows that are not ranked, and published ones, last.
        published: Whether all rows come from papers.
        embedded: Whether the dataset is an embedded one.
    """

    anchor: str
    protocol: str
    dataset: str
    caption: str
    columns: tuple[tuple[str, str], ...]
    primary: str
    rows: tuple[BoardRow, ...]
    published: bool
    embedded: bool


def groups_of(rows: Sequence[Row], ranks: Ranks) -> list[Group]:
    """All groups: measured ones by protocol and dataset, each followed by what papers report in the same columns."""
    groups = []
    own = {(row.facts["protocol"], row.facts["dataset"]) for row in rows}
    protocols = {protocol for protocol, _ in own}
    # What was measured here comes before what only papers report: it is what the reader just ran.
    def place(key: tuple[str, str]) -> tuple[Any, ...]:
        return key[0] not in protocols, *_order(key)[:2], key not in own, _order(key)

    for protocol, dataset in sorted(own | set(_published_keys()), key=place):
        mine = [row for row in rows if (row.facts["protocol"], row.facts["dataset"]) == (protocol, dataset)]
        mine.sort(key=lambda row: row.group)
        measured = [list(members) for _, members in groupby(mine, lambda row: row.group)]
        measured.sort(key=lambda members: (-len(members), members[0].group))
        groups += [_measured(members, ranks, number) for number, members in enumerate(measured)]
        reported = _reported(protocol, dataset)
        if reported:
            groups.append(reported)
    return groups


def _order(key: tuple[str, str]) -> tuple[int, str, bool, int, str]:
    protocol, dataset = key
    place = PROTOCOL_ORDER.index(protocol) if protocol in PROTOCOL_ORDER else len(PROTOCOL_ORDER)
    known = list(DATASETS.values())
    return place, protocol, dataset in known, known.index(dataset) if dataset in known else 0, dataset


def slug(*parts: object) -> str:
    """An id for an anchor from any text."""
    return "-".join(re.sub(r"[^A-Za-z0-9]+", "-", str(part)).strip("-") or "x" for part in parts)[:120]


def _measured(rows: Sequence[Row], ranks: Ranks, number: int) -> Group:
    facts = rows[0].facts
    columns = tuple(dict.fromkeys(column for row in rows for column in row.columns))
    primary = PRIMARY.get(facts["protocol"], columns[0])
    primary = primary if primary in columns else columns[-1]
    complete = max((cell.n for row in rows if row.facts["trained"] for cell in row.cells.values()), default=1)
    scales = {column: _scale(row.cells[column] for row in rows if column in row.cells) for column in columns}
    board_rows = [_row(row, ranks, primary, scales, complete) for row in rows]
    board_rows.sort(key=lambda row: (bool(row.reasons), -_value(row, primary), row.title))
    return Group(
        anchor=slug("t", facts["protocol"], facts["dataset"], number), protocol=facts["protocol"],
        dataset=facts["dataset"], caption=_caption(facts), primary=primary, rows=tuple(board_rows), published=False,
        columns=tuple((column, COLUMN_TITLES.get(column, column)) for column in columns),
        embedded=any(row.facts["embedded"] for row in rows),
    )  # fmt: skip


def _value(row: BoardRow, column: str) -> float:
    return row.cells[column].value if column in row.cells else -1.0


def _scale(cells: Iterable[Cell]) -> tuple[float, float]:
    """Smallest and largest interval end of a column: the length on which its interval bars are drawn."""
    intervals = [cell.interval for cell in cells]
    low = min((interval.low for interval in intervals), default=0.0)
    return low, max(max((interval.high for interval in intervals), default=100.0), low + 1e-9)


def _row(
    row: Row, ranks: Ranks, primary: str, scales: dict[str, tuple[float, float]], complete: int
) -> BoardRow:
    cells = {}
    for column, cell in row.cells.items():
        low, high = scales[column]
        cells[column] = BoardCell(
            column, cell.mean, cell, rank=ranks.of(row, column),
            low=round(100 * (cell.interval.low - low) / (high - low), 1),
            high=round(100 * (cell.interval.high - low) / (high - low), 1),
        )  # fmt: skip
    reasons = list(row.reasons)
    if row.key in ranks.reasons:
        reasons.append(ranks.reasons[row.key])
    fewest = min((cell.n for cell in row.cells.values()), default=1)
    if row.facts["trained"] and fewest < complete:
        reasons.append(f"{fewest} of {complete} repeats")
    if primary not in row.cells:
        reasons.append(f"{COLUMN_TITLES.get(primary, primary)} is not measured")
    facts = row.facts
    return BoardRow(
        anchor=slug("r", row.key), title=str(facts["title"]), cells=cells, row=row, numbers=(),
        filters=filters_of(facts, row.statuses), rank=None if reasons else ranks.of(row, primary),
        reasons=tuple(reasons), command=reproduce_command(facts), signature=str(facts["signature"]),
    )  # fmt: skip


def filters_of(facts: dict[str, Any], statuses: Sequence[str]) -> dict[str, str]:
    """What a row can be filtered by, in the order of the filter bar; several statuses are joined by blanks."""
    return {
        "protocol": facts["protocol"],
        "dataset": facts["dataset"],
        "backbone": f"{facts['backbone']}/{facts['weights']}",
        "views": facts["views"],
        "text": facts["class_text"],
        "init": facts["init"] or "backbone",
        "status": " ".join(statuses),
        "params": _params_class(facts["params_trained"]),
    }


PARAMS_CLASSES = ((0, "none"), (1_000_000, "up to 1 M"), (50_000_000, "1 to 50 M"), (100_000_000, "50 to 100 M"))


def _params_class(count: int) -> str:
    return next((name for limit, name in PARAMS_CLASSES if count <= limit), "over 100 M")


def _caption(facts: dict[str, Any]) -> str:
    """What the rows of a group share."""
    parts = [
        f"views {facts['views']}", f"{facts['backbone']}/{facts['weights']} at {facts['size']} px",
        f"{facts['label_variant']} class names" if facts["label_variant"] != "published" else "",
        "class texts by a language model" if facts["class_text"] == "llm-rewritten" else "",
        f"init {facts['init']}" if facts["init"] not in ("", "clip", "backbone", "pretrained") else "",
        f"{facts['list_origin']} lists", f"checkpoint {facts['selection']}" if facts["selection"] else "",
        f"extra data: {facts['extra_data']}" if facts["extra_data"] else "",
        f"protocol version {facts['protocol_version']}, {facts['division']}",
    ]  # fmt: skip
    return ", ".join(part for part in parts if part)


def _published_keys() -> list[tuple[str, str]]:
    return list(dict.fromkeys((_protocol(n), DATASETS[n.dataset]) for n in published_numbers() if n.dataset))


def _protocol(number: PublishedNumber) -> str:
    """The protocol whose columns a number belongs to; bridge-and-prompt rows share those of the other tables."""
    if number.table != "bridge_prompt":
        return number.table
    return "b2n" if number.column in ("base", "novel", "hm") else "few_shot"


def _reported(protocol: str, dataset: str) -> Group | None:
    """What papers print for a protocol and dataset; rows in the order of the sources, never ranked."""
    numbers = [
        n for n in published_numbers()
        if n.dataset and (_protocol(n), DATASETS[n.dataset]) == (protocol, dataset)
        and n.column in COLUMN_TITLES and n.column not in ("gflops", "throughput")
    ]  # fmt: skip
    if not numbers:
        return None
    columns = tuple(dict.fromkeys(n.column for n in numbers))
    rows = []
    for key, members in groupby(
        sorted(numbers, key=lambda n: (n.source, n.table)), lambda n: (n.source, n.table, n.method)
    ):
        mine = tuple(members)
        first = mine[0]
        cells = {n.column: BoardCell(n.column, n.number, number=n) for n in mine}
        text = "llm-rewritten" if "language model" in (first.setting.text or "") else "names"
        rows.append(
            BoardRow(
                anchor=slug("p", *key, protocol, dataset), title=first.name, cells=cells, row=None, numbers=mine,
                filters={
                    "protocol": protocol, "dataset": dataset, "backbone": "as published",
                    "views": f"{first.setting.frames or '?'}x{first.setting.views or '?'}", "text": text,
                    "init": first.setting.init or "not stated", "status": "reported", "params": "not stated",
                },
                rank=None, reasons=("reported by a paper, not measured here",), command="",
                signature=str(first.setting),
            )
        )  # fmt: skip
    primary = PRIMARY.get(protocol, columns[0])
    rows.sort(key=lambda row: (row.numbers[0].source != "vificlip_slides", row.numbers[0].source))
    return Group(
        anchor=slug("t", protocol, dataset, "published"), protocol=protocol, dataset=dataset,
        caption="Reported by papers, each measured its own way; order of print, not ranked",
        columns=tuple((column, COLUMN_TITLES.get(column, column)) for column in columns), primary=primary,
        rows=tuple(rows), published=True, embedded=False,
    )  # fmt: skip


def source_of(number: PublishedNumber) -> tuple[str, str]:
    """Title and address of where a number was printed."""
    source = sources()[number.source]
    return source.title, source.url


def section_title(protocol: str) -> str:
    """A protocol's name for people."""
    return PROTOCOL_TITLES.get(protocol, protocol)


def dataset_title(dataset: str) -> str:
    """A dataset's name for people."""
    return DATASET_TITLES.get(dataset, dataset)
