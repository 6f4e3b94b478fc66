"""`plan`: which fits and evals a request needs, and which are done; runs nothing."""

from __future__ import annotations

import argparse
from typing import Any

from harness.base.errors import EXIT_DONE
from harness.commands._arguments import add_places, add_request, put, request_of, say, settings_of, table, verb_parser


def add_parser(verbs: Any) -> None:
    """Arguments of `plan`."""
    parser = verb_parser(
        verbs, "plan", "what a run would do, and why",
        "Print every fit and eval of a request as done, missing or stale, with the reason. Runs nothing.\n"
        "The estimate rests on what finished in the run folder. Takes the arguments of `run`.",
    )  # fmt: skip
    add_request(parser)
    add_places(parser)
    parser.add_argument("--json", action="store_true", help="print data on stdout")


def run(arguments: argparse.Namespace) -> int:
    """Print the plan."""
    from harness.cells.estimate import estimate
    from harness.cells.from_request import expand
    from harness.cells.plan import make_plan
    from harness.commands._jobs import jobs_of, troubles
    from harness.machine.weights_index import WeightsIndex

    settings = settings_of(arguments)
    cells = expand(request_of(arguments), settings)
    index = WeightsIndex(settings.cache.path, settings.weights.path)
    plan = make_plan(cells, tensors_of=index.of)
    runs = settings.runs.path
    states = (*plan.fits, *plan.evals)
    jobs = {key: job for key, job in jobs_of(cells, runs).items() if key in {s.cell.key for s in states if s.open}}
    rows = [
        {
            "kind": s.kind, "cell": s.cell.name, "state": s.state, "key": s.cell.key,
            "job": f"{job.state} ({job.label})" if (job := jobs.get(s.cell.key)) else "", "reason": s.reason,
        }
        for s in states
    ]  # fmt: skip
    if arguments.json:
        put(rows)
        return EXIT_DONE
    columns = [name for name in rows[0] if name != "job" or jobs]
    put(table([[row[name] for name in columns] for row in rows], [name.upper() for name in columns]))
    for text in troubles(jobs.values(), runs):
        say(text)
    for name in cells.missing_datasets:
        say(f"not configured: {name} (give its videos with --data {name}=DIR)")
    for name, reason in cells.left_out:
        say(f"left out: {name}: {reason}")
    say(
        f"to do: {len(plan.open_fits())} fits, {len(plan.open_evals())} evals of {len(plan.fits)} and {len(plan.evals)}"
    )
    for model in {cell.measurement.model for cell in cells.evals}:
        index.of(model)
    for name in sorted(index.unread):
        say(f"weights not read yet: {name}; whether finished cells were computed with other tensors shows in `run`")
    say(str(estimate(plan, runs)))
    return EXIT_DONE
