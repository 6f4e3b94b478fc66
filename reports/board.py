"""The leaderboard as data: groups of rows measured the same way, each followed by published numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, groupby, pairwise

from reports.anchors import slug
from reports.board_rows import BoardCell, BoardRow, Group, RowFilters
from reports.columns import primary_column, rules_of, shots_of
from reports.command import run_command
from reports.labels import labels_of
from reports.layout import PROTOCOL_ORDER, column_title
from reports.page.beside import beside
from reports.ranks import ColumnTests, Ranks
from reports.reported import reported_columns, reported_group
from reports.row import Row, harmonic_columns
from results.measurement_names import names_of
from results.measurement_words import division, model_text, open_reasons
from results.published_numbers import DATASETS
from results.row_statistics import PairStatistics

ALL_PAIRS = 40
"""Number of rows of a table up to which `leaderboard.json` holds the tests of all pairs."""


def groups_of(rows: Sequence[Row], ranks: Ranks) -> list[Group]:
    """All groups by protocol and dataset; the measured groups come before the group of published numbers."""
    groups: list[Group] = []
    by_column: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        by_column[row.protocol, row.dataset].append(row)
    protocols = {protocol for protocol, _ in by_column}

    # Measured protocols and datasets come before those that only papers report, because the reader has just run them.
    def order(key: tuple[str, str]) -> tuple[bool, int, str, bool, tuple[int, str, bool, int, str]]:
        return key[0] not in protocols, *_order(key)[:2], key not in by_column, _order(key)

    for protocol, dataset in sorted({*by_column, *reported_columns()}, key=order):
        rows_here = sorted(by_column.get((protocol, dataset), ()), key=lambda row: row.group)
        measured = [list(members) for _, members in groupby(rows_here, lambda row: row.group)]
        # The largest group comes first, because the overview and most readers use it.
        measured.sort(key=lambda members: (-len(members), members[0].group))
        captions = _captions([members[0] for members in measured])
        tables = [
            _measured(members, ranks, slug("t", protocol, dataset, str(number)), caption)
            for number, (members, caption) in enumerate(zip(measured, captions, strict=True))
        ]
        ways = [table.measured_as for table in tables]
        # Backbone and views are the heading of a table, unless another table shares both.
        groups += [replace(t, short_caption=t.caption) if ways.count(t.measured_as) > 1 else t for t in tables]
        reported = reported_group(protocol, dataset)
        if reported:
            groups.append(reported)
    return groups


def _order(key: tuple[str, str]) -> tuple[int, str, bool, int, str]:
    protocol, dataset = key
    position = PROTOCOL_ORDER.index(protocol) if protocol in PROTOCOL_ORDER else len(PROTOCOL_ORDER)
    known = list(DATASETS.values())
    return position, protocol, dataset in known, known.index(dataset) if dataset in known else 0, dataset


def _measured(rows: Sequence[Row], ranks: Ranks, anchor: str, caption: str) -> Group:
    named = tuple(dict.fromkeys(column for row in rows for column in row.columns))
    measured = {column for row in rows for column in row.cells}
    shots = {column: number for column, number in shots_of(rows).items() if column in measured}
    primary = primary_column(named, harmonic_columns(rules_of(rows)), shots)
    # A column that no row has measured would be a column of dashes.
    columns = tuple(column for column in named if column == primary or column in measured)
    labels = labels_of(rows)
    board_rows = [_row(row, label, ranks, primary) for row, label in zip(rows, labels, strict=True)]
    # Rows that cannot be ranked are below the ranked rows, and between each other by value.
    ranked = any(row.rank for row in board_rows)
    board_rows.sort(key=lambda row: (ranked and bool(row.reasons), -_value(row, primary), row.title, row.label))
    return Group(
        anchor=anchor, protocol=rows[0].protocol, dataset=rows[0].dataset, caption=caption, primary=primary,
        rows=tuple(board_rows), published=False, embedded=any(row.embedded for row in rows), columns=columns,
        pairs={
            column: _pairs(tests) for column in columns if (tests := ranks.tests.get((rows[0].group, column)))
        },
    )  # fmt: skip


def _pairs(tests: ColumnTests) -> tuple[PairStatistics, ...]:
    """The tests of a column: all pairs, or in a long table those of each row with the best row and the next row."""
    anchors = [slug("r", key) for key in tests.keys]
    order = sorted(range(len(tests.keys)), key=lambda i: tests.ranking.ranks[i])
    if len(order) <= ALL_PAIRS:
        chosen = list(combinations(order, 2))
    else:
        chosen = sorted({*((order[0], i) for i in order[1:]), *pairwise(order)})
    return tuple(tests.pair(i, j, anchors) for i, j in chosen)


def _value(row: BoardRow, column: str) -> float:
    return row.cells[column].value if column in row.cells else -1.0  # below every accuracy


def _row(row: Row, label: str, ranks: Ranks, primary: str) -> BoardRow:
    cells, published = {}, beside(row)
    for column, cell in row.cells.items():
        cells[column] = BoardCell(
            column, cell.mean, cell, rank=ranks.of(row, column),
            reason=cell.lacks or ranks.lists.get((row.key, column), ""), again=ranks.again.get((row.key, column), ""),
            gap=ranks.gaps.get((row.key, column), ""),
            beside=published.get(column),
        )  # fmt: skip
    reasons = list(row.reasons)
    if row.key in ranks.reasons:
        reasons.append(ranks.reasons[row.key])
    if primary not in row.cells:
        reasons.append(f"{column_title(primary)} is not measured")
    elif cells[primary].reason:
        reasons.append(f"{column_title(primary)}: {cells[primary].reason}")
    return BoardRow(
        anchor=slug("r", row.key), title=row.title, label=label, cells=cells, row=row, numbers=(),
        filters=filters_of(row), rank=None if reasons else ranks.of(row, primary), reasons=tuple(reasons),
        again="" if reasons else ranks.again.get((row.key, primary), ""),
        command=run_command(row), signature=row.signature,
    )  # fmt: skip


def filters_of(row: Row) -> RowFilters:
    """The values by which a measured row can be filtered."""
    return RowFilters(
        protocol=row.protocol,
        dataset=row.dataset,
        backbone=row.backbone,
        views=row.views,
        text=row.text,
        init=row.start,
        status=" ".join(row.statuses),
        params=_params_class(row.params_trained),
    )


PARAMS_CLASSES = ((0, "none"), (1_000_000, "up to 1 M"), (50_000_000, "1 to 50 M"), (100_000_000, "50 to 100 M"))


def _params_class(count: int) -> str:
    return next((name for limit, name in PARAMS_CLASSES if count <= limit), "over 100 M")


def _captions(rows: Sequence[Row]) -> list[str]:
    """The captions of the groups of one protocol and dataset, all different.

    Args:
        rows: One row of each group.
    """
    captions = [_caption(row) for row in rows]
    for caption in {text for text in captions if captions.count(text) > 1}:
        indices = [i for i, text in enumerate(captions) if text == caption]
        names = names_of([rows[i].measurement for i in indices])
        for i, name in zip(indices, names, strict=True):
            # A name is empty if the groups differ only in records other than the newest: the group key replaces it.
            captions[i] = f"{caption}, {name or f'table {rows[i].group[:8]}'}"
    return captions


def _caption(row: Row) -> str:
    """The settings that all rows of a group share."""
    m = row.measurement
    start = row.start
    parts = [
        f"views {row.views}",
        f"{model_text(m.model)} at {m.model.image_size} px",
        f"{m.evaluation.list.label_variant} class names" if m.evaluation.list.label_variant != "published" else "",
        f"init {start}" if start != "clip" else "",
        f"{m.evaluation.list.origin} lists",
        f"checkpoint {m.fitted.recipe.evaluated}" if m.fitted else "",
        f"protocol version {m.protocol.version}, {division(m)}",
        *open_reasons(m),
    ]
    return ", ".join(part for part in parts if part)
