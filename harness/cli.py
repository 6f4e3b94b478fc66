"""The command line: verbs and exit codes. Each verb is a module of `harness/commands/`; torch is imported late."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import sys
from collections.abc import Sequence

from harness import __version__
from harness.base.errors import EXIT_INTERRUPTED, UserError, machine_error
from harness.commands._parser import Parser, parse
from harness.engine.compute.processes import rank_of_process, size_of_world

VERBS = (
    "list", "show", "check", "data", "plan", "run", "status", "score", "compare", "power", "report", "curve",
    "predict", "attention", "features", "profile", "export", "new", "submit",
)  # fmt: skip

DESCRIPTION = """\
Benchmark harness for adapting CLIP to video action recognition.

Every number is measured the same way for every method: one command runs a method under a protocol, writes one record
and one prediction file per evaluated list, and renders tables and a leaderboard from them. The same command again
resumes; finished cells are reused.
"""

EPILOG = """\
first steps:
  python -m harness run --method vificlip --protocol b2n     the main job, embedded benchmark without data
  python -m harness list methods                             the available methods
  python -m harness check env                                compare this installation with the tested one

exit codes: 0 done, 1 a cell or a check failed, 2 bad usage, 130 interrupted
"""


def build_parser() -> Parser:
    """The argument parser with all verbs."""
    parser = Parser(prog="python -m harness", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name in VERBS:
        importlib.import_module(f"harness.commands.{name}").add_parser(verbs)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code."""
    # Idle OpenMP threads would spin and slow the decode workers: on two busy cores a training step took two to six
    # times as long. The variable has to be set before torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # NumPy multiplies small matrices only, for which the threads of OpenBLAS cost a sixth of the time of a board.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    process = f" (process {os.environ['RANK']})" if size_of_world() > 1 else ""
    if process:
        # torch's C++ core warns in each process about an intended use of DistributedDataParallel.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    logging.basicConfig(level=logging.WARNING, format=f"%(levelname)s{process}: %(message)s", stream=sys.stderr)
    with contextlib.redirect_stderr(io.StringIO() if rank_of_process() else sys.stderr):  # usage errors appear once
        arguments = parse(build_parser(), argv)
    if process and arguments.verb != "run" and rank_of_process():
        return 0  # the processes share fits and evals only; the first process runs the other verbs
    try:
        return int(importlib.import_module(f"harness.commands.{arguments.verb}").run(arguments))
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command resumes\n")
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of stdout, such as `head`, has ended
        sys.stderr.close()
        return 0
    except OSError as error:  # a full disk, a folder without permission, a file that vanished
        # A note names the plugin that raised the error: its author needs the traceback.
        if os.environ.get("HARNESS_TRACEBACK") or getattr(error, "__notes__", None):
            raise
        known = machine_error(error)
        sys.stderr.write(f"error: {known}\n")
        return known.exit_code
