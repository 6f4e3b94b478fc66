"""`status`: running, waiting and finished cells of a run folder, from any terminal."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.base.errors import EXIT_DONE
from harness.commands._arguments import add_folders, add_json, settings_of
from harness.commands._output import put, put_json, say, table
from harness.commands._parser import Verbs, verb_parser


def add_parser(verbs: Verbs) -> None:
    """Arguments of `status`."""
    parser = verb_parser(
        verbs, "status", "running, waiting and finished cells of a run folder",
        "Print the cells that commands and jobs compute in a run folder at present, those that wait, those that were\n"
        "interrupted, and those that are done. Reads files only, so that it can be called from another terminal or\n"
        "another machine while a run goes on.",
        "examples:\n  python -m harness status\n  python -m harness status /scratch/runs --json\n",
    )  # fmt: skip
    parser.add_argument("folder", nargs="?", metavar="RUNS", help="run folder (default: the configured one)")
    add_folders(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the states of all cells."""
    from harness.executor.ledger import ENDED
    from harness.executor.states import current_jobs, failures
    from harness.running.status import ORDER, folder_status

    runs = Path(arguments.folder) if arguments.folder else settings_of(arguments).runs.path
    cells = folder_status(runs)
    if arguments.json:
        put_json(cells)
        return EXIT_DONE
    if cells:
        rows = [[cell.kind, cell.cell, cell.state, cell.detail] for cell in cells]
        put(table(rows, ["KIND", "CELL", "STATE", "DETAIL"]))
    jobs = current_jobs(runs)
    for job in jobs:
        if job.state not in ENDED:
            say(f"job {job.label}: {job.state}: {job.title}")
    for text in failures(jobs, runs):
        say(text)
    counts = {state: sum(cell.state == state for cell in cells) for state in ORDER}
    say(f"{runs}: " + (", ".join(f"{n} {state}" for state, n in counts.items() if n) or "no cells"))
    return EXIT_DONE
