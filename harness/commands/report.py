"""`report`: build the board as one HTML file, or print one table."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.base.atomic import write_bytes
from harness.base.errors import EXIT_DONE, EXIT_FAILED, UserError
from harness.commands._arguments import add_folders, run_folders_of, settings_of
from harness.commands._output import put, say
from harness.commands._parser import Verbs, verb_parser
from reports.anchors import slug
from reports.layout import ALL_TABLES, TABLE_NAMES

if TYPE_CHECKING:
    from reports.board_rows import Group
    from reports.entries import Damaged

MOST_NAMED = 100
"""Number of damaged files that are named one by one on stderr."""
EXPORTS = ("every-eval-ever", "hugging-face", "croissant")
_SUFFIXES = {"html": "html", "md": "md", "latex": "tex", "csv": "csv"}


def add_parser(verbs: Verbs) -> None:
    """Arguments of `report`."""
    parser = verb_parser(
        verbs, "report", "build the board, or print a table with published values",
        "Without --table: build the board, one self-contained HTML file, with leaderboard.json and CSV files in the\n"
        "same folder. With --out, the folder also holds the records, and can be served without the run folder.\n"
        "With --table: print one table, with published values and verdicts unless --against nothing.\n"
        "With --figures: write the figures of the board as PDF and PNG for a paper.",
        "examples:\n"
        "  python -m harness report\n"
        "  python -m harness report --out site --since old/leaderboard.json\n"
        "  python -m harness report --table b2n --against paper --format latex\n"
        "  python -m harness report --export every-eval-ever --out export/\n"
        "  python -m harness report --figures figures/ --width column\n"
        "  python -m harness report --table all --format csv --out tables/\n"
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
        help="folder of the board (board/ in the first run folder), file of the table (stdout), or with --table all a "
        "folder with one file for each table",
    )
    parser.add_argument(
        "--records-url", metavar="URL",
        help="address of a published copy of the run folder: links to records lead there, and none is copied to --out",
    )  # fmt: skip
    parser.add_argument(
        "--since", metavar="FILE", type=Path,
        help="leaderboard.json of an earlier board: list the rows that were added, measured again, changed rank or "
        "were withdrawn",
    )  # fmt: skip
    parser.add_argument(
        "--samples", action="store_true",
        help="also write pages of videos that the two best rows of a table decide differently, and of confused classes",
    )  # fmt: skip
    parser.add_argument(
        "--export", choices=EXPORTS,
        help="write all measured rows to the folder --out in the format of another collection of results",
    )  # fmt: skip
    parser.add_argument(
        "--figures", metavar="DIR", type=Path,
        help="write the figures of the board to this folder as PDF and PNG, with their captions in captions.md",
    )  # fmt: skip
    parser.add_argument(
        "--width", choices=("column", "page"),
        help="width of --figures: one column (3.4 inches) or both columns of a page (6.9 inches) (column)",
    )  # fmt: skip
    add_folders(parser, several_runs=True)


def run(arguments: argparse.Namespace) -> int:
    """Build the board or print the table."""
    runs = run_folders_of(arguments)
    if arguments.width and not arguments.figures:
        raise UserError("--width belongs to --figures, which was not given.", "Add --figures DIR.")
    if arguments.figures:
        return _figures(arguments, runs)
    if arguments.export:
        return _export(arguments, runs)
    if arguments.table is None:
        return _board(arguments, runs)
    if wrong := [flag for flag, value in _of_board(arguments) if value]:
        raise UserError(f"{wrong[0]} belongs to the board, found with --table.", f"Leave out {wrong[0]} or --table.")
    from reports.export import render_table

    against = arguments.against == "paper"
    # Without any run folder the table has the published values alone.
    measured = runs if len(runs) > 1 or runs[0].is_dir() else None
    table = render_table(arguments.table, measured, against, arguments.format)
    if arguments.out is None:
        put(table.text)
    elif _is_folder(arguments.table, arguments.out):
        for name, text in table.parts.items():
            write_bytes(Path(arguments.out) / f"{slug(name)}.{_SUFFIXES[arguments.format]}", text.encode())
        say(f"tables: {len(table.parts)} files in {arguments.out}")
    else:
        write_bytes(Path(arguments.out), table.text.encode())
        say(f"table: {arguments.out}")
    return _report_damaged(table.damaged)


def _board(arguments: argparse.Namespace, runs: Sequence[Path]) -> int:
    """Build the board, and print the changes since an earlier board."""
    from reports.publish import Publishing
    from reports.site import build_report
    from results.record import BOARD

    # Only a folder that the user names is made for publication, with a copy of the records.
    publishing = Publishing(arguments.out is not None, arguments.records_url or "", arguments.since, arguments.samples)
    out = Path(arguments.out) if arguments.out else runs[0] / BOARD
    built = build_report(runs, out, publishing)
    say(f"report: {built.index}")
    if arguments.samples:
        _samples(arguments, built.groups, out)
    if built.changes:
        put("\n".join(map(str, built.changes.changes)) or "nothing changed")
    return _report_damaged(built.damaged)


def _export(arguments: argparse.Namespace, runs: Sequence[Path]) -> int:
    """Write the rows in the format of another collection of results."""
    given = [("--table", arguments.table), *_of_board(arguments)]
    if wrong := [flag for flag, value in given if value]:
        raise UserError(f"--export writes no board and no table, found {wrong[0]}.", f"Leave out {wrong[0]}.")
    if arguments.out is None:
        raise UserError("--export needs --out, the folder of its files; found none.", "Example: --out export/")
    from reports.exports.write import write_export

    files, damaged = write_export(arguments.export, runs, Path(arguments.out))
    say(f"export: {len(files)} files in {arguments.out}")
    return _report_damaged(damaged)


def _figures(arguments: argparse.Namespace, runs: Sequence[Path]) -> int:
    """Write the figures of the board for a paper."""
    given = [
        ("--table", arguments.table), ("--export", arguments.export), ("--out", arguments.out), *_of_board(arguments)
    ]  # fmt: skip
    if wrong := [flag for flag, value in given if value]:
        raise UserError(f"--figures writes only figures, found {wrong[0]}.", f"Leave out {wrong[0]} or --figures.")
    from reports.figure_files import write_figures

    files, damaged = write_figures(runs, arguments.figures, arguments.width or "column")
    say(f"figures: {len(files)} files in {arguments.figures}")
    return _report_damaged(damaged)


def _is_folder(table: str, out: str) -> bool:
    """Whether the tables are written to one file each: into a folder, or for all tables to a name without a suffix."""
    return Path(out).is_dir() or out.endswith(os.sep) or (table == ALL_TABLES and not Path(out).suffix)


def _samples(arguments: argparse.Namespace, groups: Sequence[Group], out: Path) -> None:
    """Write the pages of samples, and name the tables whose videos are not on this machine."""
    from harness.machine.compute_options import ComputeOptions
    from harness.running.sample_frames import SampleFrames
    from reports.sample_pages import SAMPLES, write_samples

    # The run folders are read already, and the settings name only one.
    settings = settings_of(argparse.Namespace(**{**vars(arguments), "runs": None}))
    pages = write_samples(groups, out / SAMPLES, SampleFrames(settings, ComputeOptions(quiet=True)))
    for page in pages:
        if page.problem:
            say(f"samples of {page.title}: {page.problem}")
    say(f"samples: {len(pages)} pages in {out / SAMPLES}")


def _of_board(arguments: argparse.Namespace) -> list[tuple[str, str | Path | bool | None]]:
    """The options of the board, with their values."""
    return [
        ("--records-url", arguments.records_url), ("--since", arguments.since), ("--samples", arguments.samples)
    ]  # fmt: skip


def _report_damaged(damaged: Sequence[Damaged]) -> int:
    """Print the files that were left out; returns the exit code, 1 if there are any."""
    for file in damaged[:MOST_NAMED]:
        say(str(file))
    if len(damaged) > MOST_NAMED:
        say(f"left out: {len(damaged) - MOST_NAMED} more files; the board names all of them")
    return EXIT_FAILED if damaged else EXIT_DONE
