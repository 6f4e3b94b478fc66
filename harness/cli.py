"""The command line: verbs, common arguments, exit codes. Each verb lives in `harness/commands/` and imports lazily."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import logging
import os
import sys
from collections.abc import Sequence

from harness import __version__
from harness.base.errors import EXIT_INTERRUPTED, EXIT_USAGE, UserError, machine_error
from harness.engine.compute.processes import rank_of_process, size_of_world

VERBS = (
    "list", "show", "check", "data", "plan", "run", "score", "compare", "report", "predict",
    "attention", "features", "profile", "export", "new", "submit",
)  # fmt: skip

DESCRIPTION = """\
Benchmark harness for adapting CLIP to video action recognition.

Every number is measured the same way for every method: one command runs a method under a protocol, leaves one record
and one prediction file per evaluated list, and renders tables and a leaderboard from them. The same command again
resumes; finished cells are reused.
"""

EPILOG = """\
first steps:
  python -m harness run --method vificlip --protocol b2n     the main job, embedded benchmark without data
  python -m harness list methods                             what there is
  python -m harness check env                                is this installation the known-good one?

exit codes: 0 done, 1 a cell or a check failed, 2 bad usage, 130 interrupted
"""


class _Parser(argparse.ArgumentParser):
    """argparse with this project's error style and exit code."""

    def error(self, message: str) -> None:  # type: ignore[override]
        self.print_usage(sys.stderr)
        self.exit(EXIT_USAGE, f"error: {message}\n  See: {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    """The argument parser with all verbs."""
    parser = _Parser(
        prog="python -m harness",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=_Parser)
    for name in VERBS:
        importlib.import_module(f"harness.commands.{name}").add_parser(verbs)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code."""
    # Idle OpenMP threads would spin and starve the decode workers: on two busy cores a training step took two to six
    # times as long. Has to be set before torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    several = f" (process {os.environ['RANK']})" if size_of_world() > 1 else ""
    if several:  # torch's core warns, once a process, of what the fit's wrapper does on purpose
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    logging.basicConfig(level=logging.WARNING, format=f"%(levelname)s{several}: %(message)s", stream=sys.stderr)
    with contextlib.redirect_stderr(io.StringIO() if rank_of_process() else sys.stderr):  # one process says it
        arguments = build_parser().parse_args(argv)
    if several and arguments.verb != "run" and rank_of_process():
        return 0  # only fits and evals are shared; the first process does anything else alone
    try:
        return int(importlib.import_module(f"harness.commands.{arguments.verb}").run(arguments))
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on where it stopped\n")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except OSError as error:  # a full disk, a folder without permission, a file that vanished
        if os.environ.get("HARNESS_TRACEBACK"):
            raise
        known = machine_error(error)
        sys.stderr.write(f"error: {known}\n")
        return known.exit_code
