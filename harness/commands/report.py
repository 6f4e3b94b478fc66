"""`report`: build the board as one HTML file, or print one table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.base.atomic import write_bytes
from harness.base.errors import EXIT_DONE, EXIT_FAILED
from harness.commands._arguments import add_folders, run_folders_of
from harness.commands._output import put, say
from harness.commands._parser import Verbs, verb_parser
from reports.layout import TABLE_NAMES

if TYPE_CHECKING:
    from reports.entries import Damaged

MOST_NAMED = 100
"""Number of damaged files that are named one by one on stderr."""


def add_parser(verbs: Verbs) -> None:
    """Arguments of `report`."""
    parser = verb_parser(
        verbs, "report", "build the board, or print a table with published values",
        "Without --table: build the board, one self-contained HTML file, with leaderboard.json and CSV files in the\n"
        "same folder. With --table: print one table, with published values and verdicts unless --against nothing.",
        "examples:\n"
        "  python -m harness report\n"
        "  python -m harness report --table b2n --against paper --format latex\n"
        "  python -m harness report --runs runs_of_machine_a/ runs_of_machine_b/ --out board/\n",
    )  # fmt: skip
    parser.add_argument("--table", choices=TABLE_NAMES, help="print this table instead of building the board")
    parser.add_argument(
        "--against", choices=("paper", "nothing"), default="paper", help="compare with published values (paper)"
    )
    parser.add_argument("--format", choices=("html", "md", "latex", "csv"), default="md", help="format of --table (md)")
    parser.add_argument(
        "--out",
        metavar="PATH",
        help="folder of the board (board/ in the first run folder), or file of the table (stdout)",
    )
    add_folders(parser, several_runs=True)


def run(arguments: argparse.Namespace) -> int:
    """Build the board or print the table."""
    runs = run_folders_of(arguments)
    if arguments.table is None:
        from reports.site import build_report
        from results.record import BOARD

        built = build_report(runs, Path(arguments.out) if arguments.out else runs[0] / BOARD)
        say(f"report: {built.index}")
        return _report_damaged(built.damaged)
    from reports.export import render_table

    against = arguments.against == "paper"
    # Without any run folder the table has the published values alone.
    measured = runs if len(runs) > 1 or runs[0].is_dir() else None
    table = render_table(arguments.table, measured, against, arguments.format)
    if arguments.out:
        write_bytes(Path(arguments.out), table.text.encode())
        say(f"table: {arguments.out}")
    else:
        put(table.text)
    return _report_damaged(table.damaged)


def _report_damaged(damaged: Sequence[Damaged]) -> int:
    """Print the files that were left out; returns the exit code, 1 if there are any."""
    for file in damaged[:MOST_NAMED]:
        say(str(file))
    if len(damaged) > MOST_NAMED:
        say(f"left out: {len(damaged) - MOST_NAMED} more files; the board names all of them")
    return EXIT_FAILED if damaged else EXIT_DONE
