"""`plan`: the fits and evals that a request needs, and which are done; computes nothing."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.base.errors import EXIT_DONE, EXIT_FAILED
from harness.commands._arguments import add_json
from harness.commands._output import put, put_json, say, table
from harness.commands._parser import Verbs, verb_parser
from harness.commands._run_arguments import add_run_arguments, described_run

if TYPE_CHECKING:
    from harness.cells.cell import Cells
    from harness.cells.plan import Plan


@dataclass(frozen=True)
class _Row:
    """One cell in the output of `plan`."""

    kind: str
    cell: str
    state: str
    key: str
    job: str
    reason: str
    refused: str


def add_parser(verbs: Verbs) -> None:
    """Arguments of `plan`."""
    parser = verb_parser(
        verbs, "plan", "the cells that a run would compute, and why",
        "Print every fit and eval of a request as done, missing or stale, with the reason. Computes nothing.\n"
        "Cells that `run` would refuse are named with the reason, and the exit code is 1. The estimate of hours and\n"
        "disk space is based on finished cells of the run folder, a first estimate on multiply-adds. Takes all\n"
        "arguments of `run`.",
        "example:\n  python -m harness plan --method vificlip --protocol b2n few_shot --dataset ucf101\n",
    )  # fmt: skip
    add_run_arguments(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the plan; 1 if `run` would refuse a cell."""
    from harness.cells.backbone_text import input_lines
    from harness.cells.from_request import expand
    from harness.cells.plan import make_plan, select
    from harness.cells.refusals import findings
    from harness.cells.scored_together import check_scored_together
    from harness.commands._jobs import jobs_of
    from harness.executor.states import failures
    from harness.weights.index import WeightsIndex

    run_request, settings = described_run(arguments)
    cells = expand(run_request.request, settings)
    if run_request.cells:
        cells = select(cells, frozenset(run_request.cells))
    check_scored_together(cells.evals, run_request.compute)
    index = WeightsIndex(settings.cache.path, settings.weights.path)
    plan = make_plan(cells, tensors_of=index.of)
    runs = settings.runs.path
    states = (*plan.fits, *plan.evals)
    jobs = {key: job for key, job in jobs_of(cells, runs).items() if key in {s.cell.key for s in states if s.open}}
    labels = {key: f"{job.state} ({job.label})" for key, job in jobs.items()}
    found = findings(plan, settings, run_request.compute.allow_missing)
    # Reversed, so that the first reason of a cell is the one that stays.
    refused = {cell: finding.message for finding in reversed(found) if finding.refused for cell in finding.cells}
    code = EXIT_FAILED if refused else EXIT_DONE
    rows = [
        _Row(
            s.kind, s.cell.name, s.state, s.cell.key, labels.get(s.cell.key, ""), s.reason,
            refused.get(f"{s.kind} {s.cell.name}", ""),
        )
        for s in states
    ]  # fmt: skip
    if arguments.json:
        put_json(rows)
        return code
    columns = [name for name in ("kind", "cell", "state", "key", "job", "reason") if name != "job" or jobs]
    put(table([[getattr(row, name) for name in columns] for row in rows], [name.upper() for name in columns]))
    for text in failures(jobs.values(), runs):
        say(text)
    _say_cells(cells, plan)
    for line in input_lines((*cells.fits, *cells.evals)):
        say(line)
    # The index notes in `unread` the models of which it is asked and does not know the tensors.
    for model in {cell.measurement.model for cell in cells.evals}:
        index.of(model)
    for name in sorted(index.unread):
        say(f"weights not read yet: {name}; `run` reads them and computes cells again that used other tensors")
    for finding in found:
        say(str(finding))
    if arguments.force:
        say("note: --force: `run` computes the finished cells again, too")
    _say_hours(plan, runs)
    return code


def _say_cells(cells: Cells, plan: Plan) -> None:
    """Write the combinations that are left out, and the number of open cells."""
    for name in cells.missing_datasets:
        say(f"not configured: {name} (give its videos with --data {name}=DIR)")
    for name, reason in cells.left_out:
        say(f"left out: {name}: {reason}")
    for note in cells.notes:
        say(f"note: {note}")
    for warning in cells.warnings:
        say(f"warning: {warning}")
    say(
        f"to do: {len(plan.open_fits())} fits, {len(plan.open_evals())} evals of {len(plan.fits)} and {len(plan.evals)}"
    )


def _say_hours(plan: Plan, runs: Path) -> None:
    """Write the estimate from finished cells, and a first estimate where no cell has finished."""
    from harness.cells.estimate import estimate
    from harness.cells.first_estimate import first_estimate

    budget = estimate(plan, runs)
    say(str(budget))
    first = first_estimate(plan.open_fits(), plan.open_evals())
    if first and (budget.fit_hours is None or budget.eval_hours is None):
        say(first)
