"""Writing the exports of a board."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness.base.atomic import write_bytes
from harness.base.errors import UserError
from reports.aggregate import rows_of
from reports.board import groups_of
from reports.board_rows import BoardRow, Group
from reports.entries import Damaged, Entry, read_entries
from reports.exports.croissant import croissant
from reports.exports.every_eval import ExportedFile, every_eval
from reports.exports.hugging_face import hugging_face
from reports.probes import without_probes
from reports.ranks import analyse
from reports.row import Row

CROISSANT = "croissant"
OF_ROWS: dict[str, Callable[[Group, BoardRow, Row], Iterator[ExportedFile]]] = {
    "every-eval-ever": every_eval,
    "hugging-face": hugging_face,
}


def write_export(name: str, runs: Path | Sequence[Path], out: Path) -> tuple[list[Path], list[Damaged]]:
    """Write all measured rows of run folders in a format to the folder `out`.

    Args:
        name: A name of `OF_ROWS`, or `croissant`.
        runs: Run folders.
        out: Folder of the export.

    Returns:
        (files, damaged): The files that were written, and the records that are left out.

    Raises:
        UserError: A run folder is missing or contains no record.
    """
    read = read_entries(runs)
    analysis = analyse(without_probes(rows_of(read.entries))[0])
    damaged, files = list(read.damaged), []
    if name == CROISSANT:
        readable = [row for row in analysis.rows if row.key not in analysis.ranks.reasons]
        entries = [entry for row in readable for entry in row.entries]
        files = list(croissant(entries))
        damaged += [
            _left_out(row.newest, UserError(analysis.ranks.reasons[row.key]))
            for row in analysis.rows
            if row.key in analysis.ranks.reasons
        ]
    else:
        for group in groups_of(analysis.rows, analysis.ranks):
            for board in group.rows:
                if board.row is None:
                    continue
                try:
                    files += list(OF_ROWS[name](group, board, board.row))
                except UserError as error:
                    damaged.append(_left_out(board.row.newest, error))
    for file in files:
        write_bytes(out / file.path, file.data)
    return [out / file.path for file in files], damaged


def _left_out(entry: Entry, error: UserError) -> Damaged:
    return Damaged(entry.name, entry.without_paths(error.message), error.hint)
