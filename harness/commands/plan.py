"""`plan`: which fits and evals a request needs, and which are done; runs nothing."""

from __future__ import annotations

import argparse
from typing import Any

from harness.commands._arguments import add_places, add_request, put, request_of, say, settings_of, table, verb_parser
from harness.errors import EXIT_DONE


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
    from harness.budget import estimate
    from harness.cells import expand
    from harness.plan import make_plan

    settings = settings_of(arguments)
    cells = expand(request_of(arguments), settings)
    plan = make_plan(cells)
    rows = [
        {"kind": s.kind, "cell": s.cell.name, "state": s.state, "key": s.cell.key, "reason": s.reason}
        for s in (*plan.fits, *plan.evals)
    ]
    if arguments.json:
        put(rows)
        return EXIT_DONE
    put(table([list(row.values()) for row in rows], [key.upper() for key in rows[0]]))
    for name in cells.missing_datasets:
        say(f"not configured: {name} (give its videos with --data {name}=DIR)")
    for name, reason in cells.left_out:
        say(f"left out: {name}: {reason}")
    say(
        f"to do: {len(plan.open_fits())} fits, {len(plan.open_evals())} evals of {len(plan.fits)} and {len(plan.evals)}"
    )
    say(str(estimate(plan, settings.runs.path)))
    return EXIT_DONE
