"""Changes of a board since an earlier `leaderboard.json`: rows added, measured again, with another rank, withdrawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from harness.base.errors import EXIT_FAILED, UserError
from reports.board_rows import BoardRow, Group
from reports.labels import named
from reports.layout import dataset_title, protocol_title
from reports.row import Row

ADDED, AGAIN, RANK, WITHDRAWN = "added", "measured again", "changed rank", "withdrawn"
KINDS = (ADDED, AGAIN, RANK, WITHDRAWN)
_OLDEST_SCHEMA = 3
_HINT = "Name the leaderboard.json of an earlier board, written by `python -m harness report`."


@dataclass(frozen=True)
class Change:
    """A row that changed.

    Args:
        kind: One of `KINDS`.
        table: Protocol and dataset.
        name: Name of the row.
        text: Details: values, ranks, dates.
        anchor: Id of the row on the new board; empty for a withdrawn row.
    """

    kind: str
    table: str
    name: str
    text: str
    anchor: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}, {self.table}{': ' if self.text else ''}{self.text}"


@dataclass(frozen=True)
class Changes:
    """All changes since an earlier board.

    Args:
        since: UTC time of the newest record of the earlier board; empty if it is not known.
        changes: The changes, by kind and in the order of the board.
    """

    since: str
    changes: tuple[Change, ...]

    def of(self, kind: str) -> list[Change]:
        """The changes of a kind."""
        return [change for change in self.changes if change.kind == kind]

    @property
    def title(self) -> str:
        """Heading, with the date of the earlier board if it is known."""
        return f"Changes since {self.since[:10]}" if self.since else "Changes since the earlier board"

    @property
    def counts(self) -> str:
        """The numbers of changes, e.g. `4 added, 1 changed rank`."""
        return ", ".join(f"{len(self.of(kind))} {kind}" for kind in KINDS if self.of(kind)) or "none"


@dataclass(frozen=True)
class _OldCell:
    mean: float = 0.0


@dataclass(frozen=True)
class _OldRow:
    """The fields of a row that a comparison needs; published rows lack some of them."""

    title: str
    label: str
    rank: int | None
    signature: str
    row: str = ""
    time: str = ""
    cells: dict[str, _OldCell] = field(default_factory=dict)

    @property
    def settings(self) -> str:
        """The signature without the row key, which generations of a row share."""
        return self.signature.rpartition("|row:")[0]


@dataclass(frozen=True)
class _OldGroup:
    protocol: str
    dataset: str
    primary: str
    published: bool
    rows: tuple[_OldRow, ...]


@dataclass(frozen=True)
class _OldBoard:
    schema: int
    groups: tuple[_OldGroup, ...]


def changes_since(path: Path, groups: Sequence[Group]) -> Changes:
    """The changes of the measured rows of a board since the board of a `leaderboard.json`.

    A row of the earlier board is found again by its row key, or by its table and settings if the lists, the code or the
    engine changed since.

    Raises:
        UserError: The file is missing or is not a `leaderboard.json`.
    """
    old = [(group, row) for group in _read(path).groups if not group.published for row in group.rows]
    left = {row.row: (group, row) for group, row in old}
    by_settings = {(group.protocol, group.dataset, row.settings): row.row for group, row in old}
    found: list[Change] = []
    for group, board, row in _measured(groups):
        key = row.key if row.key in left else by_settings.get((group.protocol, group.dataset, _settings(board)), "")
        table = _table(group.protocol, group.dataset)
        if key not in left:
            found.append(Change(ADDED, table, board.name, _value(group, board), board.anchor))
            continue
        # Taken out: the rows that remain in `left` are withdrawn.
        before, past = left.pop(key)
        if row.newest.time != past.time or row.key != past.row:
            was = past.cells.get(before.primary)
            text = f"{_value(group, board)}, was {was.mean:.1f}" if was else _value(group, board)
            found.append(Change(AGAIN, table, board.name, text, board.anchor))
        if board.rank != past.rank:
            found.append(Change(RANK, table, board.name, f"{_rank(past.rank)} to {_rank(board.rank)}", board.anchor))
    found += [
        Change(WITHDRAWN, _table(group.protocol, group.dataset), named(row.title, row.label), "")
        for group, row in left.values()
    ]
    ordered = sorted(found, key=lambda change: KINDS.index(change.kind))
    return Changes(max((row.time for _, row in old), default=""), tuple(ordered))


def _measured(groups: Sequence[Group]) -> list[tuple[Group, BoardRow, Row]]:
    return [(group, board, board.row) for group in groups for board in group.rows if board.row is not None]


def _settings(board: BoardRow) -> str:
    return board.signature.rpartition("|row:")[0]


def _table(protocol: str, dataset: str) -> str:
    return f"{protocol_title(protocol)} on {dataset_title(dataset)}"


def _value(group: Group, board: BoardRow) -> str:
    cell = board.cells.get(group.primary)
    return f"{cell.value:.1f}" if cell else ""


def _rank(rank: int | None) -> str:
    return "no rank" if rank is None else f"rank {rank}"


def _read(path: Path) -> _OldBoard:
    try:
        board = msgspec.json.decode(path.read_bytes(), type=_OldBoard)
    except FileNotFoundError:
        raise UserError(f"{path} is missing, expected the leaderboard.json of an earlier board.", _HINT) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.", _HINT, EXIT_FAILED) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a leaderboard.json: {error}.", _HINT) from None
    if board.schema < _OLDEST_SCHEMA:
        raise UserError(f"{path}: schema is {board.schema}, expected {_OLDEST_SCHEMA} or later.", _HINT)
    return board
