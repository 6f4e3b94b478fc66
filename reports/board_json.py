"""The leaderboard for programs: `leaderboard.json` and `leaderboard.csv`.

The dataclasses are the layout of `leaderboard.json`. Accuracies are in percent and not rounded.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from reports.board_rows import FILTERS, BoardCell, BoardRow, Group, source_of
from reports.csv_values import CsvValue, bounds_of, safe_value
from reports.entries import Damaged
from reports.row import Cell, RepeatScore, Row
from results.means import DDOF
from results.row_statistics import PairStatistics

SCHEMA = 3


@dataclass(frozen=True)
class JsonRepeat:
    """One record in a measured cell: `cell` is its key, `evaluated` and `expected` count videos."""

    index: int
    value: float
    interval: tuple[float, float] | None
    cell: str
    record: str
    evaluated: int
    expected: int


@dataclass(frozen=True)
class JsonMeasuredCell:
    """A measured cell; `spread` has the board's ddof and is null for one repeat and for harmonic means.

    `interval` is that for other videos, `interval_plain` the same with every video as its own source, and
    `interval_again` that for the method trained again. All are null if the predictions cannot be read.
    """

    mean: float
    spread: float | None
    n: int
    kind: str
    interval: tuple[float, float] | None
    interval_plain: tuple[float, float] | None
    interval_again: tuple[float, float] | None
    no_interval: str
    fits: int
    V: float | None
    F: float | None
    df: float | None
    G_eff: float | None
    design_effect: float | None
    clusters_known: bool | None
    again: str
    rank: int | None
    not_ranked: str
    harmonic_of: tuple[str, str] | None
    repeats: tuple[JsonRepeat, ...]


@dataclass(frozen=True)
class JsonPair:
    """Two ranked rows, by their ids: `D` is a - b in points; `V` and `F` are squared fractions.

    p values and intervals without a suffix are for other videos, those with `again` for methods that are trained again;
    null if the fits are too few. `approximate` marks normal approximations, which are used far from every threshold.
    """

    a: str
    b: str
    D: float
    p: float | None
    p_holm: float | None
    approximate: bool
    too_few_sources: bool
    interval: tuple[float, float] | None
    fits: int
    p_again: float | None
    p_again_holm: float | None
    interval_again: tuple[float, float] | None
    V: float
    F: float | None
    df: float
    G_eff: float
    clusters_known: bool


@dataclass(frozen=True)
class JsonPrintedCell:
    """A published number as printed."""

    printed: str
    printed_std: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class JsonSuperseded:
    """A record that does not count, and why."""

    record: str
    reason: str


@dataclass(frozen=True)
class _JsonRow:
    """The fields that measured and published rows share."""

    id: str
    method: str
    title: str
    label: str
    rank: int | None
    not_ranked: tuple[str, ...]
    signature: str
    backbone: str
    views: str
    text: str
    init: str
    status: str
    params: str


@dataclass(frozen=True)
class JsonMeasuredRow(_JsonRow):
    """A measured row.

    `time` (UTC) and `harness` (version and commit) are those of its newest record; `command` repeats its measurement.
    """

    cells: Mapping[str, JsonMeasuredCell]
    params_trained: int
    marks: tuple[str, ...]
    records: tuple[str, ...]
    embedded: bool
    time: str
    harness: str
    row: str
    group: str
    superseded: tuple[JsonSuperseded, ...]
    command: str
    command_notes: tuple[str, ...]


@dataclass(frozen=True)
class JsonPublishedRow(_JsonRow):
    """A row that a paper reports; `source` is the address of the print."""

    cells: Mapping[str, JsonPrintedCell]
    source: str
    measured_by: str


@dataclass(frozen=True)
class JsonGroup:
    """A table; `measured_as` is its caption."""

    id: str
    protocol: str
    dataset: str
    measured_as: str
    primary: str
    published: bool
    embedded: bool
    columns: tuple[str, ...]
    rows: tuple[JsonMeasuredRow | JsonPublishedRow, ...]
    pairs: Mapping[str, tuple[JsonPair, ...]]


@dataclass(frozen=True)
class JsonDamaged:
    """A file that is left out of the board."""

    record: str
    reason: str
    hint: str


@dataclass(frozen=True)
class JsonBoard:
    """Content of `leaderboard.json`: everything that the board shows."""

    schema: int
    ddof: int
    groups: tuple[JsonGroup, ...]
    damaged: tuple[JsonDamaged, ...]


def board_json(groups: Sequence[Group], damaged: Sequence[Damaged] = ()) -> str:
    """The board as JSON text on one line, with sorted keys."""
    board = JsonBoard(
        schema=SCHEMA,
        ddof=DDOF,
        groups=tuple(_group(group) for group in groups),
        damaged=tuple(JsonDamaged(file.name, file.message, file.hint) for file in damaged),
    )
    # Sorted, because equal boards are equal files; NaN, which a browser cannot parse, is written as null.
    return msgspec.json.encode(board, order="sorted").decode() + "\n"


def _group(group: Group) -> JsonGroup:
    return JsonGroup(
        id=group.anchor, protocol=group.protocol, dataset=group.dataset, measured_as=group.caption,
        primary=group.primary, published=group.published, embedded=group.embedded, columns=group.columns,
        rows=tuple(_measured(board, board.row) if board.row else _published(board) for board in group.rows),
        pairs={column: tuple(map(_pair, pairs)) for column, pairs in group.pairs.items()},
    )  # fmt: skip


def _pair(pair: PairStatistics) -> JsonPair:
    return JsonPair(
        a=pair.a, b=pair.b, D=pair.difference, p=pair.p, p_holm=pair.p_holm, approximate=pair.approximate,
        too_few_sources=pair.few_sources, interval=pair.interval, fits=pair.fits, p_again=pair.p_again,
        p_again_holm=pair.p_again_holm, interval_again=pair.again, V=pair.variance, F=pair.fit_variance, df=pair.df,
        G_eff=pair.sources, clusters_known=pair.known,
    )  # fmt: skip


def _measured(board: BoardRow, row: Row) -> JsonMeasuredRow:
    return JsonMeasuredRow(
        id=board.anchor, method=row.method, title=board.title, label=board.label, rank=board.rank,
        not_ranked=board.reasons, signature=board.signature, backbone=board.filters.backbone,
        views=board.filters.views, text=board.filters.text, init=board.filters.init, status=board.filters.status,
        params=board.filters.params,
        cells={column: _measured_cell(cell, cell.cell) for column, cell in board.cells.items() if cell.cell},
        params_trained=row.params_trained, marks=tuple(mark.text for mark in row.marks),
        records=tuple(entry.name for entry in row.entries), embedded=row.embedded, time=row.newest.time,
        harness=row.record.environment.harness, row=row.key,
        group=row.group, superseded=tuple(JsonSuperseded(record.name, record.reason) for record in row.superseded),
        command=board.command.text if board.command else "",
        command_notes=board.command.notes if board.command else (),
    )  # fmt: skip


def _published(board: BoardRow) -> JsonPublishedRow:
    # The numbers of a published row come from one table of one source.
    number = board.numbers[0]
    printed = {column: cell.number for column, cell in board.cells.items()}
    return JsonPublishedRow(
        id=board.anchor, method=number.method, title=board.title, label=board.label, rank=board.rank,
        not_ranked=board.reasons, signature=board.signature, backbone=board.filters.backbone,
        views=board.filters.views, text=board.filters.text, init=board.filters.init, status=board.filters.status,
        params=board.filters.params,
        cells={column: JsonPrintedCell(n.value, n.std, n.notes) for column, n in printed.items() if n},
        source=source_of(number).url, measured_by=number.setting.measured_by,
    )  # fmt: skip


def _measured_cell(cell: BoardCell, ours: Cell) -> JsonMeasuredCell:
    found = ours.statistics
    return JsonMeasuredCell(
        mean=ours.mean, spread=ours.spread, n=ours.n, kind=ours.kind, interval=ours.interval,
        interval_plain=found.plain if found else None, interval_again=found.again if found else None,
        no_interval=ours.no_interval, fits=len(ours.fits), V=found.variance if found else None,
        F=found.fit_variance if found else None, df=found.df if found else None,
        G_eff=found.sources if found else None, design_effect=found.design_effect if found else None,
        clusters_known=found.known if found else None, again=cell.again,
        rank=cell.rank, not_ranked=cell.reason, harmonic_of=ours.harmonic_of,
        repeats=tuple(_repeat(score) for score in ours.repeats),
    )  # fmt: skip


def _repeat(score: RepeatScore) -> JsonRepeat:
    evaluation = score.entry.measurement.evaluation
    return JsonRepeat(
        index=score.index, value=score.value, interval=score.interval,
        cell=score.entry.record.key, record=score.entry.name, evaluated=evaluation.evaluated,
        expected=evaluation.list.n,
    )  # fmt: skip


FIELDS = (
    "protocol", "dataset", "group", "method", "title", "label", "column", "value", "spread", "n", "repeat_kind", "ddof",
    "low", "high", "again_low", "again_high", "fits", "clusters_known", "rank", "again",
    "not_ranked", *(name for name, _ in FILTERS[2:]), "params_trained", "signature",
    "measured_by", "source", "records", "marks", "superseded", "time",
    "harness",
)  # fmt: skip


def board_csv(groups: Sequence[Group]) -> str:
    """One line for each cell of the board."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, FIELDS, lineterminator="\n")
    writer.writeheader()
    for group in groups:
        for row in group.rows:
            shared = _shared(group, row)
            for cell in row.cells.values():
                writer.writerow({name: safe_value(value) for name, value in {**shared, **_line(row, cell)}.items()})
    return buffer.getvalue()


def _shared(group: Group, row: BoardRow) -> dict[str, CsvValue]:
    """The fields that all cells of a row share."""
    line: dict[str, CsvValue] = {
        **{name: text for name, text in row.filters.items() if name in FIELDS},
        "protocol": group.protocol, "dataset": group.dataset, "group": group.anchor, "title": row.title,
        "label": row.label, "signature": row.signature,
    }  # fmt: skip
    if row.row:
        line |= {
            "method": row.row.method, "params_trained": row.row.params_trained, "time": row.row.newest.time,
            "harness": row.row.record.environment.harness,
            "marks": "; ".join(mark.text for mark in row.row.marks),
            "superseded": row.row.superseded_text,
        }  # fmt: skip
    return line


def _line(row: BoardRow, cell: BoardCell) -> dict[str, CsvValue]:
    """The fields of one cell."""
    # The reason of the primary column is already among the reasons of the row.
    reasons = [*row.reasons, cell.reason] if cell.reason not in "; ".join(row.reasons) else row.reasons
    line: dict[str, CsvValue] = {"column": cell.column, "rank": cell.rank, "not_ranked": "; ".join(reasons)}
    if cell.number:
        line |= {"method": cell.number.method, "value": cell.number.value, "spread": cell.number.std,
                 "measured_by": cell.number.setting.measured_by, "source": source_of(cell.number).url}  # fmt: skip
    elif cell.cell:
        ours = cell.cell
        line |= {
            "value": ours.mean, "spread": ours.spread, "n": ours.n, "repeat_kind": ours.kind,
            "ddof": DDOF if ours.spread is not None else None, "fits": len(ours.fits), "again": cell.again,
            **bounds_of(ours),
            "records": " ".join(score.entry.name for score in ours.repeats),
        }  # fmt: skip
    return line
