"""`run`: compute the fits and evals of a request, reuse finished cells, and render the report."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.base.errors import EXIT_DONE, EXIT_FAILED, UserError
from harness.commands._output import put, put_json, say
from harness.commands._parser import Verbs, verb_parser
from harness.commands._run_arguments import add_run_arguments, described_run

if TYPE_CHECKING:
    from harness.cells.cell import Cells
    from harness.engine.compute.processes import Processes
    from harness.machine.settings import Settings
    from harness.running.run_request import RunRequest, RunSummary

MOST_NAMED = 5
"""Number of damaged records that are named one by one."""


@dataclass(frozen=True)
class _Score:
    """The metrics of one record in the output of `--json`, with the reasons why the record is incomplete."""

    signature: str
    key: str
    top1: float
    top5: float
    mean_class: float
    incomplete: tuple[str, ...]


def add_parser(verbs: Verbs) -> None:
    """Arguments of `run`."""
    parser = verb_parser(
        verbs, "run", "measure methods under protocols",
        "Fit and evaluate methods under protocols, then render the report. Finished cells are reused: the same\n"
        "command resumes after any interruption. Without configured data the embedded benchmark is used.",
        "examples:\n"
        "  python -m harness run --method vificlip --protocol b2n\n"
        "  python -m harness run --method vanilla_clip image_ft text_ft vificlip --protocol b2n --dataset ucf101\n"
        "  python -m harness run --method vificlip --protocol b2n --dataset my_videos/ --arch mini-clip\n"
        "  torchrun --nproc_per_node=4 -m harness run --method vificlip --protocol b2n --dataset ucf101\n",
    )  # fmt: skip
    add_run_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the scores as data on stdout")


def run(arguments: argparse.Namespace) -> int:
    """Compute the cells of a request; 1 if a cell failed."""
    if arguments.dry_run:
        from harness.commands.plan import run as print_plan

        return print_plan(arguments)
    run_request, settings = described_run(arguments)
    from harness.engine.compute.launch import joined

    with joined(run_request.compute.device) as processes:
        return _run(run_request, settings, arguments, processes)


def _run(run_request: RunRequest, settings: Settings, arguments: argparse.Namespace, processes: Processes) -> int:
    """Compute a request with all processes of the run; the leading process writes files and messages."""
    from harness.cells.from_request import expand
    from harness.cells.plan import select
    from harness.running.incomplete import incomplete_videos

    started = time.monotonic()
    with processes.in_turn():  # looking for videos writes an index into the cache
        cells = expand(run_request.request, settings)
    if run_request.cells:
        cells = select(cells, frozenset(run_request.cells))
    if cells.embedded:
        say(
            "No dataset is configured: using the embedded benchmark. "
            "Its numbers show that the pipeline works and say nothing about CLIP."
        )
    for name in cells.missing_datasets:
        say(f"left out, not configured: {name} (give its videos with --data {name}=DIR)")
    for name, reason in cells.left_out:
        say(f"left out: {name}: {reason}")
    for note in cells.notes:
        say(f"note: {note}")
    for warning in cells.warnings:
        say(f"warning: {warning}")
    summary = _compute(run_request, settings, cells, arguments, processes)
    if summary is None:
        return EXIT_DONE
    if not processes.is_leader:  # every process ends with the exit code that torchrun reports
        return EXIT_FAILED if summary.failures else EXIT_DONE
    say(
        f"{summary.fits} fits and {summary.evals} evals done, {summary.reused} cells reused, "
        f"{time.monotonic() - started:.1f} s"
    )
    if lacking := incomplete_videos(cells).text():
        say(lacking)
    for name, reason in summary.left_out:
        say(f"left out: {name}: {reason}")
    for name, error in summary.failures:
        say(f"failed: {name}: {error}")
    damaged = _show(summary.records, settings.runs.path, arguments)
    _say_optional(cells)
    if summary.failures:
        say(f"to retry the failed cells: python -m harness {shlex.join(arguments.typed)}")
    return EXIT_FAILED if summary.failures or damaged else EXIT_DONE


def _compute(
    run_request: RunRequest, settings: Settings, cells: Cells, arguments: argparse.Namespace, processes: Processes
) -> RunSummary | None:
    """Compute cells in this process or as jobs; None after `--detach`.

    Raises:
        UserError: `--detach` without an executor, or an executor together with torchrun.
    """
    from harness.executor.options import executor_options

    options = executor_options(settings.executor)
    if options.kind == "inline":
        if arguments.detach:
            raise UserError("--detach needs an executor.", "Add --executor slurm or --executor local.")
        from harness.running.run import execute, plan_cells

        plan = plan_cells(cells, settings, frozenset(run_request.cells), processes)
        return execute(plan, settings, run_request.compute, run_request.keep_going, arguments.force, processes)
    if processes.size > 1:
        raise UserError(
            f"--executor {options.kind} submits jobs, and each of the {processes.size} processes would submit them.",
            "Start the command without torchrun; --gpus N starts N processes in each job.",
        )
    from harness.commands._jobs import JobRun, run_jobs

    return run_jobs(JobRun(cells, run_request, settings, options, arguments.typed, arguments.force, arguments.detach))


def _show(records: Sequence[Path], runs: Path, arguments: argparse.Namespace) -> bool:
    """Print the scores and build the board; True if damaged records were left out, each of them named."""
    left_out: dict[str, str] = {}
    if arguments.json:
        put_json(_scores(records))
    elif records:
        from reports.console import summary

        scores = summary(records, runs)
        put(scores.text)
        left_out |= {damaged.name: str(damaged) for damaged in scores.damaged}
    if records and not arguments.no_report:
        from reports.site import build_report
        from results.record import BOARD

        built = build_report(runs, Path(arguments.report) if arguments.report else runs / BOARD)
        say(f"report: {built.index}")
        left_out |= {damaged.name: str(damaged) for damaged in built.damaged}
    for text in list(left_out.values())[:MOST_NAMED]:
        say(text)
    if len(left_out) > MOST_NAMED:
        say(f"left out: {len(left_out) - MOST_NAMED} more files; the board names all of them")
    return bool(left_out)


def _say_optional(cells: Cells) -> None:
    """Write the scores of evals that no column of a table holds, such as the source's list in `zero_shot`."""
    from results.record import read_record

    for cell in cells.evals:
        if cell.eval.optional and cell.record.is_file():
            record = read_record(cell.record)
            metrics = record.metrics
            say(f"without column: {cell.name}: top-1 {metrics.top1:.1f}, top-5 {metrics.top5:.1f}{record.mark}")


def _scores(records: Sequence[Path]) -> list[_Score]:
    from results.measurement_words import mean_lacks
    from results.record import read_record

    read = [read_record(path) for path in records]
    return [
        _Score(
            r.signature, r.key, r.metrics.top1, r.metrics.top5, r.metrics.mean_class, mean_lacks(r.measurement)
        )
        for r in read
    ]  # fmt: skip
