"""`run`: fit and evaluate what a request needs, reuse what is done, and render the report."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.base.errors import EXIT_DONE, EXIT_FAILED, UserError
from harness.commands._arguments import (
    add_compute_options,
    add_executor,
    add_places,
    add_request,
    compute_options_of,
    put,
    request_of,
    say,
    settings_of,
    verb_parser,
)

if TYPE_CHECKING:
    from harness.cells.cell import Cells
    from harness.engine.compute.processes import Processes
    from harness.machine.compute_options import ComputeOptions
    from harness.machine.settings import Settings
    from harness.running.summary import Outcome


MOST_NAMED = 5
"""Damaged records that are named one by one."""


def add_parser(verbs: Any) -> None:
    """Arguments of `run`."""
    parser = verb_parser(
        verbs, "run", "measure methods under protocols",
        "Fit and evaluate methods under protocols, then render the report. Finished cells are reused: the same\n"
        "command again resumes, whatever interrupted it. Without configured data the embedded benchmark is used.",
        "examples:\n"
        "  python -m harness run --method vificlip --protocol b2n\n"
        "  python -m harness run --method vanilla_clip image_ft text_ft vificlip --protocol b2n --dataset ucf101\n"
        "  python -m harness run --method vificlip --protocol b2n --dataset my_videos/ --arch mini-clip\n"
        "  torchrun --nproc_per_node=4 -m harness run --method vificlip --protocol b2n --dataset ucf101\n",
    )  # fmt: skip
    add_request(parser)
    add_compute_options(parser)
    add_places(parser)
    add_executor(parser)
    parser.set_defaults(parser=parser)
    parser.add_argument("--keep-going", action="store_true", help="go on with other cells after a failure")
    parser.add_argument("--force", action="store_true", help="compute finished cells anew")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop, as `plan` does")
    parser.add_argument("--no-report", action="store_true", help="leave the report as it is")
    parser.add_argument("--report", metavar="DIR", help="folder of the board (RUNS/board)")
    parser.add_argument("--json", action="store_true", help="print the scores as data on stdout")


def run(arguments: argparse.Namespace) -> int:
    """Carry out a request; 1 if a cell failed."""
    if arguments.dry_run:
        from harness.commands.plan import run as print_plan

        return print_plan(arguments)
    from harness.engine.compute.launch import joined

    with joined(arguments.device) as processes:
        return _run(arguments, processes)


def _run(arguments: argparse.Namespace, processes: Processes) -> int:
    """Carry out a request together with the other processes of the run; the leading one writes and speaks."""
    from harness.cells.from_request import expand
    from harness.cells.plan import select

    started = time.monotonic()
    settings, compute = settings_of(arguments), compute_options_of(arguments)
    with processes.in_turn():  # looking for videos leaves an index in the cache
        cells = expand(request_of(arguments), settings)
    if wanted := _wanted(arguments):
        cells = select(cells, wanted)
    if cells.embedded:
        say(
            "No dataset is configured: using the embedded benchmark. "
            "Its numbers say that the pipeline works, and nothing about CLIP."
        )
    for name in cells.missing_datasets:
        say(f"left out, not configured: {name} (give its videos with --data {name}=DIR)")
    for name, reason in cells.left_out:
        say(f"left out: {name}: {reason}")
    outcome = _outcome(arguments, cells, settings, compute, processes)
    if outcome is None:
        return EXIT_DONE
    if not processes.is_leader:
        return EXIT_FAILED if outcome.failures else EXIT_DONE
    say(
        f"{outcome.fits} fits and {outcome.evals} evals done, {outcome.reused} cells reused, "
        f"{time.monotonic() - started:.1f} s"
    )
    for name, error in outcome.failures:
        say(f"failed: {name}: {error}")
    damaged = _show(arguments, cells, settings.runs.path)
    if outcome.failures:
        say(f"to retry what failed: python -m harness {shlex.join(sys.argv[1:])}")
    return EXIT_FAILED if outcome.failures or damaged else EXIT_DONE


def _show(arguments: argparse.Namespace, cells: Cells, runs: Path) -> bool:
    """Print the scores and build the board; True if damaged records were left out, each named."""
    records = [cell.record for cell in cells.evals if cell.record.is_file()]
    left_out: dict[str, str] = {}
    if arguments.json:
        put(_scores(records))
    elif records:
        from reports.console import summary

        found = summary(records, runs)
        put(found.text)
        left_out |= {one.name: str(one) for one in found.damaged}
    if records and not arguments.no_report:
        from reports.site import build_report
        from results.record import BOARD

        built = build_report(runs, Path(arguments.report) if arguments.report else runs / BOARD)
        say(f"report: {built.index}")
        left_out |= {one.name: str(one) for one in built.damaged}
    for text in list(left_out.values())[:MOST_NAMED]:
        say(text)
    if len(left_out) > MOST_NAMED:
        say(f"left out: {len(left_out) - MOST_NAMED} more files; the board names all of them")
    return bool(left_out)


def _wanted(arguments: argparse.Namespace) -> frozenset[str]:
    """Keys of the cells that a job was given; empty for all."""
    return frozenset(arguments.cells.split(",")) if arguments.cells else frozenset()


def _outcome(
    arguments: argparse.Namespace, cells: Cells, settings: Settings, compute: ComputeOptions, processes: Processes
) -> Outcome | None:
    """What became of the cells, computed here or as jobs; None where nobody waits for the jobs."""
    from harness.cells.plan import make_plan
    from harness.executor.options import executor_options

    options = executor_options(settings.executor)
    if options.kind == "inline":
        if arguments.detach:
            raise UserError("--detach needs jobs.", "Add --executor slurm or --executor local.")
        from harness.machine.weights_index import WeightsIndex
        from harness.running.build import read_unknown_weights
        from harness.running.run import execute

        index = WeightsIndex(settings.cache.path, settings.weights.path)
        with processes.together():
            read_unknown_weights(cells, index, settings)
        plan = make_plan(cells, _wanted(arguments), index.of)
        return execute(plan, settings, compute, arguments.keep_going, arguments.force, processes)
    if processes.size > 1:
        raise UserError(
            f"--executor {options.kind} submits jobs, and {processes.size} processes would submit each of them.",
            "Start it without torchrun, and let each job start its processes: --gpus N.",
        )
    from harness.commands._jobs import run_jobs

    return run_jobs(arguments, cells, settings, options)


def _scores(records: list[Path]) -> list[dict[str, Any]]:
    from results.record import read_record

    found = [read_record(path) for path in records]
    return [{"signature": r.signature, "key": r.key, **vars(r.metrics)} for r in found]
