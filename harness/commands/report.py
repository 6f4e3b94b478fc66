"""`report`: the board as one HTML file, or one table in a chosen format."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.base.atomic import write_bytes
from harness.base.errors import EXIT_DONE, EXIT_FAILED
from harness.commands._arguments import add_places, put, say, settings_of, verb_parser

if TYPE_CHECKING:
    from reports.entries import Damaged

MOST_NAMED = 100
"""Damaged files that are named on stderr."""
TABLES = ("zero_shot", "b2n", "few_shot", "supervised", "compute", "bridge_prompt", "all")


def add_parser(verbs: Any) -> None:
    """Arguments of `report`."""
    parser = verb_parser(
        verbs, "report", "the board, or a paper table beside the published values",
        "Without --table: build the board, one self-contained HTML file with leaderboard.json and CSV beside it.\n"
        "With --table: print one of the paper's tables, with the published values and verdicts if --against paper.",
        "examples:\n"
        "  python -m harness report\n"
        "  python -m harness report --table b2n --against paper --format latex\n",
    )  # fmt: skip
    parser.add_argument("--table", choices=TABLES, help="print this table instead of building the board")
    parser.add_argument("--against", choices=("paper", "nothing"), default="paper", help="published values beside ours")
    parser.add_argument("--format", choices=("html", "md", "latex", "csv"), default="md", help="format of --table")
    parser.add_argument("--out", metavar="PATH", help="folder of the board (RUNS/board), or file of the table (stdout)")
    add_places(parser)


def run(arguments: argparse.Namespace) -> int:
    """Build the board or print the table."""
    runs = settings_of(arguments).runs.path
    if arguments.table is None:
        from reports.site import build_report
        from results.record import BOARD

        built = build_report(runs, Path(arguments.out) if arguments.out else runs / BOARD)
        say(f"report: {built.index}")
        return _name(built.damaged)
    from reports.export import render_table

    against = arguments.against == "paper"
    table = render_table(arguments.table, runs if runs.is_dir() else None, against, arguments.format)
    if arguments.out:
        write_bytes(Path(arguments.out), table.text.encode())
        say(f"table: {arguments.out}")
    else:
        put(table.text)
    return _name(table.damaged)


def _name(damaged: Sequence[Damaged]) -> int:
    """Name the files that were left out; the exit code, 1 if there are any."""
    for one in damaged[:MOST_NAMED]:
        say(str(one))
    if len(damaged) > MOST_NAMED:
        say(f"left out: {len(damaged) - MOST_NAMED} more files; the board names all of them")
    return EXIT_FAILED if damaged else EXIT_DONE
