"""The arguments of `run`, which `plan` takes too, and the run that they describe."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from harness.base.errors import UserError
from harness.commands._arguments import (
    add_compute_options,
    add_executor,
    add_folders,
    add_request,
    compute_options_of,
    request_of,
    settings_of,
)

if TYPE_CHECKING:
    from harness.machine.settings import Settings
    from harness.running.run_request import RunRequest


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `run`, which `plan` takes too so that a command line can be planned as it is."""
    add_request(parser)
    add_compute_options(parser)
    add_folders(parser)
    add_executor(parser)
    parser.add_argument(
        "--request",
        metavar="FILE",
        help="request file of a job, in the folder of its log; replaces the options that it states",
    )
    parser.add_argument("--keep-going", action="store_true", help="go on with other cells after a failure")
    parser.add_argument("--force", action="store_true", help="compute finished cells anew")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop, as `plan` does")
    parser.add_argument(
        "--track", action="store_true",
        help="write TensorBoard events and JSON lines into the folders of fits; needs the extra `track`",
    )  # fmt: skip
    parser.add_argument(
        "--keep-epochs", default="none", metavar="EPOCHS",
        help="keep the weights of these epochs of fits: all, 5, 2-22, 5,10; `--recipe selection=epoch:N` and "
        "`--recipe average=2-22` then need no training (none)",
    )  # fmt: skip
    parser.add_argument("--no-report", action="store_true", help="do not render the report")
    parser.add_argument("--report", metavar="DIR", help="folder of the board (RUNS/board)")


def described_run(arguments: argparse.Namespace) -> tuple[RunRequest, Settings]:
    """The run that a request file or the flags describe; the values of all flags are checked."""
    run_request, settings = _request_file(arguments) if arguments.request else _command_line(arguments)
    from harness.executor.options import executor_options

    executor_options(settings.executor)
    return run_request, settings


def _command_line(arguments: argparse.Namespace) -> tuple[RunRequest, Settings]:
    """The run that the flags describe."""
    settings, request = settings_of(arguments), request_of(arguments)
    # After the names are checked: its modules take a third of the time until a misspelt name is reported.
    from harness.running.run_request import Folders, RunRequest

    run_request = RunRequest(
        request=request,
        compute=compute_options_of(arguments),
        folders=Folders.of(settings),
        plugins=tuple(arguments.plugin),
        keep_going=arguments.keep_going,
    )
    return run_request, settings


def _request_file(arguments: argparse.Namespace) -> tuple[RunRequest, Settings]:
    """The run that a request file describes; its settings name no executor.

    Raises:
        UserError: The file is not a request file, or flags describe another request.
    """
    from harness.plugins.loose_files import load_or_warn
    from harness.running.run_request import read_run_request

    if arguments.method or arguments.protocol:
        raise UserError("--request is given together with --method or --protocol.", "Leave one of them out.")
    run_request = read_run_request(Path(arguments.request))
    for file in run_request.plugins:
        load_or_warn(Path(file))
    return run_request, run_request.folders.settings(arguments.request)
